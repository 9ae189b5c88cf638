"""The parts of the torture, and how each is spread over processes."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.torture import faults, forked, fuzz, kills, world, writers
from tests.torture.figures import Figures

PARTS: dict[str, tuple[Callable[[world.World, world.Share], Figures], int, tuple[str, ...]]] = {
    "kills": (kills.drive, 1000, ("encoder", "decoder", "own")),
    "writers": (writers.drive, 80, ("encoder",)),
    "faults": (faults.drive, 2 * len(faults.FAULTS), ("few",)),
    "fuzz": (fuzz.drive, 10_000, ("few",)),
}
"""What drives a part, how often it tries something by default, and the suites that it runs."""
NO_END = float("inf")


def suites(parts: Sequence[str]) -> list[str]:
    """The suites that these parts run."""
    return [suite for suite in world.SUITES if any(suite in PARTS[part][2] for part in parts)]


def run(
    part: str,
    made: world.World,
    folder: Path,
    seed: int,
    share: float = 1.0,
    seconds: float | None = None,
    engine: Sequence[str] = (),
    jobs: int = 1,
) -> Figures:
    """Runs a part in several processes at once, each with a seed and a share of its own: a share of the usual tries, or
    as many as so many seconds allow."""
    drive, usual, _ = PARTS[part]
    tries = sys.maxsize if seconds is not None else max(1, round(usual * share))
    until = NO_END if seconds is None else time.monotonic() + seconds
    generator = random.Random(f"{seed} {part}")
    jobs = min(jobs, tries)
    driven = []
    for number in range(jobs):
        own = tries // jobs + (number < tries % jobs)
        each = world.Share(generator.randrange(2**32), own, until, engine, folder / str(number), number, jobs)
        driven.append(partial(drive, made, each))
    return Figures().merge(forked.in_children(driven, jobs))
