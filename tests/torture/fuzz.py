"""Odd inputs of every kind, given to the command: it may work, or say in words what is wrong, and nothing else.

Each input has a folder of its own with the files and a `command.txt`; that of an input at which something went wrong
is kept.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.torture import forked
from tests.torture.figures import Figures
from tests.torture.odd_inputs import KINDS, Inputs
from tests.torture.world import Share, World

PART = "fuzz"
LIMIT_SECONDS = 60.0
"""After which an input hangs: hundreds of times what one takes."""
EXIT_CODES = (0, 1, 2)


def drive(world: World, share: Share) -> Figures:
    """Inputs one after another, each in a fork with a time limit."""
    generator, figures = random.Random(share.seed), Figures()
    made = Inputs(world, generator, stored(world, share.folder))
    number = 0
    while share.goes_on(number):
        (kind,) = generator.choices(list(KINDS), [weight for weight, _ in KINDS.values()])
        files, words = KINDS[kind][1](made)
        folder = share.folder / "inputs" / str(number)
        number += 1
        if not _write(folder, files, words):
            continue
        with forked.stopping(forked.start(words, folder)) as running:
            ended = running.end(LIMIT_SECONDS)
        sound = figures.judge(PART, kind, ended)
        where = f"in {folder}: {shlex.join(['tunefront', *words])[:300]}"
        if ended.code not in EXIT_CODES and not ended.hung:
            figures.fault(PART, kind, "codes", f"exit code {ended.code} {where}: {ended.said[-500:]}")
            sound = False
        if (wrong := wording(ended)) is not None:
            figures.fault(PART, kind, "words", f"{wrong} {where}: {ended.stderr[:500]!r}")
            sound = False
        if not sound:
            figures.faults.append(f"  {where}")
        figures.add(PART, kind, tried=1, **{f"ended with {ended.code}": 1})
        if sound:
            shutil.rmtree(folder, ignore_errors=True)
    return figures


def stored(world: World, folder: Path) -> Path:
    """A results folder with records, predictions, checkpoints and plans."""
    out = folder / "stored"
    words = ["run", str(world.suite("few")), "--out", str(out), "--workers", "1", "--plan", "--keep", "checkpoints"]
    ended = forked.run(words, folder / "printed")
    if ended.code != 0:
        raise RuntimeError(ended.said)
    return out


def wording(ended: forked.Ended) -> str | None:
    """What is wrong with what a command printed, None if nothing is."""
    if ended.hung:
        return None
    if odd := {ascii(letter) for letter in ended.said if letter not in "\n\t" and unicodedata.category(letter) == "Cc"}:
        return f"it prints {', '.join(sorted(odd))}"
    errors = [line for line in ended.stderr.splitlines() if line.startswith(("error: ", "Error: "))]
    if ended.code == 2 and len(errors) != 1:
        return f"{len(errors)} errors"
    if ended.code == 0 and errors:
        return "an error, and exit code 0"
    return None


def _write(folder: Path, files: Mapping[str, bytes], words: Sequence[str]) -> bool:
    """Writes an input; False if no shell could give its words."""
    try:
        for word in words:
            os.fsencode(word)
    except UnicodeEncodeError:
        return False
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "command.txt").write_text(shlex.join(["tunefront", *words]), encoding="utf-8")
    return True
