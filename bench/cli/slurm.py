"""An array script for Slurm: what it asks for, and how what a user typed is quoted in it."""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from tunefront.bench.errors import UserError, printable

TIME_FACTOR, START_SECONDS, CELL_SECONDS = 3, 600, 10
"""--time is so many times the predicted seconds, and these seconds for a job to start and for each of its cells: nodes
may be slower than this machine, and reading weights and rows, and timing single queries, are not predicted."""
MEMORY_FACTOR, PROCESS_BYTES = 1.5, 2 * 2**30
"""--mem is so many times the predicted peaks, and these bytes for each process that runs cells: the libraries take a
third of them, the rows and what the allocator does not give back the rest."""
OURS = {
    "array": "--jobs says how many jobs there are; `scontrol update JobId=N ArrayTaskThrottle=M` lets only M of array "
    "N run at a time",
    "chdir": "jobs start in this folder, so that relative paths stay right",
    "wrap": "the script is what runs",
    "output": "the packing file and the logs of its jobs belong together",
}
"""Options of sbatch that a call cannot set, with the reason."""
INSTEAD = {
    "cpus-per-task": ("cpus-per-task", "cpus-per-gpu"),
    "mem": ("mem", "mem-per-cpu", "mem-per-gpu"),
    "gres": ("gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task"),
}
"""An option that we set -> those of which any takes its place; by default only itself."""
_NAME = re.compile(r"[a-z][a-z0-9-]*")
LONGEST = 2_000
"""Characters of an option: sbatch reads lines of a limited length."""


@dataclass(frozen=True)
class Needs:
    """What the largest job of an array needs: cores, seconds and bytes of memory, where they are predicted; `gpus`,
    one more than the highest number of an accelerator that a cell names, 0 without one."""

    cores: int
    seconds: float | None
    memory_bytes: float | None
    gpus: int = 0

    @property
    def options(self) -> dict[str, str]:
        """These as options of sbatch."""
        options = {"cpus-per-task": str(self.cores)}
        if self.gpus:
            options["gres"] = "gpu:1"
        if self.memory_bytes is not None:
            options["mem"] = f"{math.ceil(self.memory_bytes / 2**20)}M"
        if self.seconds is not None:
            options["time"] = duration(self.seconds)
        return options


def duration(seconds: float) -> str:
    """Seconds as Slurm reads a duration, in whole minutes, rounded up.

    >>> duration(61), duration(90_000)
    ('00:02:00', '1-01:00:00')
    """
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02}:{minutes:02}:00"


def read_options(texts: Sequence[str]) -> dict[str, str | None]:
    """The options of sbatch that a call names, None for one without a value; a later one replaces an earlier one.
    UserError for a text that is none, and for an option that a call cannot set.

    >>> read_options(["partition=gpu", "exclusive"])
    {'partition': 'gpu', 'exclusive': None}
    """
    options: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip(" ").removeprefix("--")
        shown = printable(text[:80], single_line=True)
        if _NAME.fullmatch(name) is None or (equals and not value.strip()):
            raise UserError(
                f"--slurm needs NAME=VALUE with the long name of an option of sbatch, such as partition=gpu or "
                f"cpus-per-task=4; got {shown!r}."
            )
        # sbatch completes the start of a name
        ours = next((full for full in OURS if full.startswith(name) and len(name) > 1), None)
        if ours is not None:
            raise UserError(f"--slurm cannot set {ours}: {OURS[ours]}.")
        check_line(f"--slurm {name}", value)
        options[name] = value.strip(" ") if equals else None
    return options


def check_line(what: str, text: str) -> None:
    """UserError for a text that is no part of one line of a script: it has a line break or another control character,
    or is too long."""
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
        raise UserError(
            f"{what} has a line break or another control character ({printable(text[:80], single_line=True)}), which a "
            "line of a script cannot hold."
        )
    if len(text) > LONGEST:
        raise UserError(f"{what} has {len(text):,} characters; the limit is {LONGEST:,}.")


def script(
    command: Sequence[str],
    needs: Needs,
    jobs: int,
    asked: Mapping[str, str | None],
    name: str,
    logs: Path,
    folder: Path,
    comments: Sequence[str],
) -> str:
    """The array script: each of the `jobs` runs `command` with its own --shard, in `folder`, and logs into `logs`.

    `asked` are options of sbatch that replace ours; `name` is that of the array, `comments` are lines about it. Errors:
    UserError for a folder that a line cannot hold, for an argument that is not UTF-8, and for an accelerator that a job
    does not have.
    """
    for place in (folder, logs):
        check_line("the folder", str(place))
    if "\\" in str(logs):  # in --output it turns off %A and %a, and is left out
        raise UserError(f"the path of a log of Slurm cannot have a backslash ({logs}); choose another --out.")
    if needs.gpus > 1 and not set(INSTEAD["gres"]) & set(asked):
        raise UserError(
            f"--device cuda:{needs.gpus - 1}: a job has one accelerator, which is its cuda:0; give --device cuda, or "
            f"ask for more with --slurm gpus={needs.gpus}."
        )
    for word in command:
        if any(unicodedata.category(letter) == "Cs" for letter in word):
            raise UserError(f"{printable(word, single_line=True)} is not UTF-8, so no script can hold it; rename it.")
    own = {
        "job-name": re.sub(r"[^A-Za-z0-9._-]+", "-", f"tunefront-{name}")[:80],
        "array": f"1-{jobs}",
        "chdir": str(folder),
        "output": f"{str(logs).replace('%', '%%')}/%A_%a.log",
    }
    ours = {
        option: value for option, value in needs.options.items() if not set(INSTEAD.get(option, (option,))) & set(asked)
    }
    run = f'{shlex.join(command)} --shard "$SLURM_ARRAY_TASK_ID/{jobs}"'
    return "\n".join(
        [
            "#!/bin/bash",
            *(_directive(option, value) for option, value in {**own, **ours, **asked}.items()),
            *(f"# {line}" for line in comments),
            ': "${SLURM_ARRAY_TASK_ID:?give this script to sbatch}"',
            f"exec {run}",
            "",
        ]
    )


def _directive(name: str, value: str | None) -> str:
    """A line that sbatch reads: it takes quotes as a shell does, but a backslash escapes inside them too."""
    return f"#SBATCH --{name}" + ("" if value is None else f"={shlex.quote(value)}".replace("\\", "\\\\"))


def sbatch(path: Path, folder: Path, asked: Mapping[str, str | None]) -> str:
    """Submits a script; returns what sbatch prints. The options `asked` for are in its call too: there they count more
    than variables such as SBATCH_PARTITION. UserError if there is no sbatch, or if it refuses the script."""
    program = which("sbatch")
    again = f"The script is {path}; submit it from {folder} with: sbatch {shlex.quote(str(path))}"
    if program is None:
        raise UserError(f"there is no sbatch on this machine's PATH, so nothing was submitted. {again}")
    options = [f"--{name}" + ("" if value is None else f"={value}") for name, value in asked.items()]
    call = [program, *options, str(path)]
    try:
        done = subprocess.run(
            call, cwd=folder, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise UserError(f"{program} cannot be started ({error.strerror}). {again}") from error
    if done.returncode != 0:
        said = " ".join(f"{done.stderr}\n{done.stdout}".split()) or f"exit code {done.returncode}"
        advice = "Correct it with --slurm, or with fewer --jobs if arrays or jobs of a user are limited."
        raise UserError(f"sbatch refused the script: {said[:LONGEST]}. {advice} {again}")
    return f"{done.stderr.strip()}\n{done.stdout.strip()}".strip() or "sbatch took the script, and printed nothing"
