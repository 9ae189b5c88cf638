"""`tunefront submit`: packs the cells of a suite into the jobs of one Slurm array."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.cli import options
from tunefront.bench.cli.console import (
    Console,
    announce,
    handle_errors,
    print_plain,
    print_raw,
    quiet_libraries,
    warnings_on,
)
from tunefront.bench.cli.options import location
from tunefront.bench.cli.slurm import (
    CELL_SECONDS,
    MEMORY_FACTOR,
    PROCESS_BYTES,
    START_SECONDS,
    TIME_FACTOR,
    Needs,
    read_options,
    sbatch,
    script,
)
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.files import is_memory, local_folder, without_slash, writing
from tunefront.bench.records.urls import output_folder
from tunefront.bench.suites.overrides import OPTIONS, Overrides, Texts

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell
    from tunefront.bench.execution.identity import Identity
    from tunefront.bench.records import Record


@options.add_cell_options()
def submit(
    jobs: options.Jobs,
    texts: Texts,
    suite: options.Suite = None,
    slurm: options.Slurm = None,
    out: options.SubmitOut = "results",
    workers: options.JobWorkers = 1,
    keep: options.Kept = None,
    plan_first: options.JobsPlan = None,
    dry_run: options.ShowScript = False,
    debug: options.Debug = False,
) -> None:
    """Run what is not recorded yet as the jobs of one Slurm array.

    Packs the cells of SUITE that have no record in OUT into N jobs by their predicted seconds, so that the jobs end
    together, writes an array script and the list of each job's cells to OUT/jobs, and gives the script to sbatch. Each
    job is a `tunefront run` with the same options, in this folder, with this Python; it refuses to start if its code,
    data, weights or package versions are not those of this machine. Cores, memory and time are requested as predicted;
    --slurm replaces them. When all jobs have ended, `tunefront report OUT` draws the report. Exit code: 0; 2 for a
    mistake in the call, or if sbatch refuses the script, which is kept.
    """
    errors = Console(stderr=True)
    stopped = "Stopped; unless sbatch had the script already (see `squeue --me`), nothing was submitted."
    with handle_errors(errors, debug, stopped=stopped, prints=True), warnings_on(errors):
        quiet_libraries()
        out = location("--out", out)
        if is_memory(out):
            raise UserError(f"--out {out} is in this machine's memory; give a folder or URL that all machines see.")
        asked = read_options(slurm or ())
        plan = _plan(texts, suite, out, keep is not None, workers, jobs, errors)
        if plan is None:
            return
        own_options = _as_typed(texts, suite, out, workers, keep is not None, plan_first)
        made = _array(plan, own_options, out, asked)
        if dry_run:
            print_raw(made.script.rstrip("\n"))
            return
        made.write()
        print_plain(Console(), plan.summary)
        print_plain(Console(), f"script: {made.path}")
        print_plain(Console(), sbatch(made.path, Path.cwd(), asked))
        print_plain(Console(), f"when all jobs have ended: {_report_command(out)}")


@dataclass(frozen=True)
class Plan:
    """Cells in jobs: per job the identities and the predicted seconds, None with the reason if there are none; and what
    the largest job needs."""

    suite: str
    jobs: tuple[tuple[Identity, ...], ...]
    seconds: tuple[float, ...] | None
    needs: Needs
    why_untimed: str | None = None

    @property
    def summary(self) -> str:
        """How many cells and jobs there are, and how long they are predicted to take."""
        from tunefront.bench.cli.progress import format_duration, plural

        count = f"{plural(sum(map(len, self.jobs)), 'cell')} in {plural(len(self.jobs), 'job')}"
        if self.seconds is None:
            return f"{count}; seconds are not predicted: {self.why_untimed}"
        low, high = (format_duration(value) for value in (min(self.seconds), max(self.seconds)))
        return f"{count}, each predicted to take {low if low == high else f'{low} to {high}'} on this machine"


def _plan(
    texts: Texts, suite: str | None, out: str, keep: bool, workers: int, jobs: int, errors: Console
) -> Plan | None:
    """The cells that have no complete record, packed; None if there are none, which is said."""
    from tunefront.bench.cells import kept
    from tunefront.bench.cli.progress import Display, plural
    from tunefront.bench.execution.engines.claim import is_complete
    from tunefront.bench.execution.identity import Identity, Shared
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import expand
    from tunefront.bench.suites.optuna_search import check_all_known

    wrong = ErrorCollector()
    with Display(errors) as display:
        overrides = Overrides.from_texts(texts, wrong)
        expansion = expand(suite, overrides, on_status=display.preparing, wrong=wrong, elsewhere=True)
        for line in expansion.announcements:
            announce(errors, line)
        for warning in expansion.warnings:
            print_plain(errors, f"warning: {warning}", "yellow")
        cells = kept(expansion.cells) if keep else expansion.cells
        check_all_known(cells, "`tunefront submit`")
        display.preparing("looking for records")
        shared, store = Shared(), Store(out)
        identities = {identity.key: (cell, identity) for cell in cells for identity in [Identity.of(cell, shared)]}
        known = store.read_all(identities)
        missing = [
            (cell, identity)
            for key, (cell, identity) in identities.items()
            if not is_complete(known.get(key), cell, store)
        ]
        if not missing:
            text = f"{plural(len(identities), 'cell')}: all are recorded in {out}, so nothing is submitted."
            print_plain(Console(), f"{text} The report: {_report_command(out)}")
            return None
        return _packed(missing, expansion.suite, workers, jobs, display.preparing)


def _packed(
    missing: Sequence[tuple[Cell, Identity]],
    suite: str,
    workers: int,
    jobs: int,
    on_status: Callable[[str], None],
) -> Plan:
    """Packs these cells by predicted seconds; where these cannot be predicted, by FLOPs, else by number."""
    from tunefront.bench.cli.outlook import seconds_of
    from tunefront.bench.execution.packing import pack
    from tunefront.bench.forecast.forecast import predictions
    from tunefront.bench.suites.validate import check_device

    cells = [cell for cell, _ in missing]
    why_untimed: str | None = None
    records: list[Record] = []
    try:
        for device in {cell.config.device for cell in cells}:
            check_device(device)
    except UserError as error:
        why_untimed = str(error)
    try:
        records = [record for _, record in predictions(cells, workers, on_status, why_untimed is None)]
    except UserError as error:
        why_untimed = str(error)
    if not records:
        weights = [1.0] * len(cells)
    else:
        weights = [_flops(record) if why_untimed else seconds_of(record) for record in records]
    packed = pack(weights, [cell.backbone for cell in cells], jobs)
    ends = [_end([weights[place] for place in job], workers) for job in packed]
    longest = max(
        TIME_FACTOR * end + START_SECONDS + CELL_SECONDS * math.ceil(len(job) / workers)
        for end, job in zip(ends, packed, strict=True)
    )
    peaks = [
        sorted((records[place].peak_memory_bytes or 0 for place in job), reverse=True) for job in packed if records
    ]
    memory = max((MEMORY_FACTOR * sum(job[:workers]) + PROCESS_BYTES * workers for job in peaks), default=None)
    needs = Needs(
        cores=workers * max(cell.config.threads for cell in cells),
        seconds=None if why_untimed else longest,
        memory_bytes=memory,
        gpus=max(_gpus(cell.config.device) for cell in cells),
    )
    return Plan(
        suite=suite,
        jobs=tuple(tuple(missing[place][1] for place in job) for job in packed),
        seconds=None if why_untimed else tuple(ends),
        needs=needs,
        why_untimed=why_untimed,
    )


def _flops(record: Record) -> float:
    """Predicted FLOPs of training and of scoring the test and selection rows; at least 1: every cell takes time."""
    scored = (record.data.n_test or 0) + (record.data.n_selection or 0)
    return max(1.0, (record.flops.train or 0) + scored * (record.flops.inference_per_example or 0.0))


def _gpus(device: str) -> int:
    """How many accelerators a job must have to have this one.

    >>> _gpus("cpu"), _gpus("cuda"), _gpus("cuda:1")
    (0, 1, 2)
    """
    kind, _, number = device.partition(":")
    return int(number or 0) + 1 if kind == "cuda" else 0


def _end(seconds: Sequence[float], workers: int) -> float:
    """When cells of these seconds have ended, if so many run at a time."""
    from tunefront.bench.execution.packing import pack

    return max(sum(seconds[place] for place in slot) for slot in pack(seconds, [""] * len(seconds), workers))


def _as_typed(
    texts: Texts, suite: str | None, out: str, workers: int, keep: bool, plan_first: bool | None
) -> list[str]:
    """The arguments of `tunefront run` for the same cells."""
    arguments = ["run"]
    if suite is not None:
        arguments.append(f"./{suite}" if suite.startswith("-") else suite)
    for name, option in OPTIONS.items():
        given = texts.get(name)
        for value in [given] if isinstance(given, str) else given or ():
            arguments += [f"--{option.name}={value}"] if value.startswith("-") else [f"--{option.name}", value]
    arguments += ["--keep", "checkpoints"] if keep else []
    arguments += [] if plan_first is None else ["--plan" if plan_first else "--no-plan"]
    return [*arguments, "--out", out, "--workers", str(workers)]


def _report_command(out: str) -> str:
    return shlex.join(["tunefront", "report", out])


def _program() -> list[str]:
    """How this very tunefront is called: a job has neither this shell's PATH nor its environment for sure."""
    beside = Path(sys.executable).with_name("tunefront")
    return [str(beside)] if beside.is_file() else [sys.executable, "-P", "-m", "tunefront"]


@dataclass(frozen=True)
class Array:
    """An array script and the packing file that its jobs read, and where they are to be written."""

    script: str
    path: Path
    packing: bytes
    place: str

    def write(self) -> None:
        """Writes both; UserError or OSError if that fails."""
        from tunefront.bench.execution.packing import FILE

        with output_folder(self.place) as folder, writing(folder / FILE) as file:
            file.write(self.packing)
        with writing(self.path) as file:
            file.write(self.script.encode())


def _array(plan: Plan, arguments: Sequence[str], out: str, asked: dict[str, str | None]) -> Array:
    """The script of a plan. With a URL as OUT it is in the working directory, since sbatch takes files only."""
    from tunefront.bench.cli.progress import plural
    from tunefront.bench.execution.packing import FILE, Packing
    from tunefront.reports.units import si

    packing = Packing.of(plan.jobs).content()
    digest = hashlib.sha256(packing + json.dumps([arguments, asked]).encode()).hexdigest()[:12]
    place = f"{without_slash(out)}/jobs/{digest}"
    local = local_folder(place)
    beside = (Path("tunefront-jobs") / digest if local is None else local).absolute()
    comments = [f"{plan.summary.removesuffix('.')}."]
    if plan.needs.seconds is not None:
        start = f"{START_SECONDS // 60} minutes and {plural(CELL_SECONDS, 'second')} a cell"
        comments.append(f"--time is {TIME_FACTOR} times the predicted seconds of the longest job, and {start}.")
    if plan.needs.memory_bytes is not None:
        process = f"{si(PROCESS_BYTES, 'B')} for each process"
        comments.append(f"--mem is {MEMORY_FACTOR} times the predicted peak memory, and {process}.")
    text = script(
        [*_program(), *arguments, "--packed", f"{place}/{FILE}"],
        plan.needs,
        len(plan.jobs),
        asked,
        Path(plan.suite).stem,
        beside,
        Path.cwd(),
        [" ".join(line.split()) for line in comments],
    )
    return Array(text, beside / "array.sh", packing, place)
