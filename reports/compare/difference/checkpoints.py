"""Each pair of checkpoints, old and new of the same run: whether these very files differ on their test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunefront.reports.compare.row_scores import EVERY
from tunefront.reports.compare.uncertainty.changes import level_of_each
from tunefront.reports.compare.uncertainty.checkpoints import compare_checkpoints
from tunefront.reports.compare.uncertainty.contrasts import interval
from tunefront.reports.compare.uncertainty.crossed import estimate
from tunefront.reports.compare.uncertainty.simultaneous import holm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.reports.compare.difference.pairs import Pair
    from tunefront.reports.compare.difference.runs import TaskRuns
    from tunefront.reports.compare.row_scores import Cell, Values


@dataclass(frozen=True)
class Checkpoint:
    """An old and a new checkpoint of the same run on the same rows.

    `change`: in points of accuracy. `low`, `high`: its interval over test rows; those of all checkpoints hold at once.
    `p`: Holm's p-value of McNemar's exact test over all checkpoints. `only_old`, `only_new`: rows that one alone has
    right. It says nothing about the method: trained again with another seed, it gives other checkpoints.
    """

    label: str
    backbone: str
    shots: int | None
    task: str
    run: str
    change: float
    low: float
    high: float
    p: float
    only_old: int
    only_new: int
    rows: int
    verdict: Literal["worse", "tolerated", "better", "no change seen", "same"]


def compare_all(pairs: Sequence[tuple[Pair, Mapping[str, TaskRuns]]], tolerance: float) -> list[Checkpoint]:
    """All checkpoints with predictions.

    A checkpoint is worse if McNemar's test says so and its interval is below -tolerance (points): the test alone knows
    no tolerance, and the interval alone is too short where few rows differ.
    """
    known = [
        (one, task, cell, old, new)
        for one, by_task in pairs
        for task, runs in by_task.items()
        for cell, (old, new) in runs.checkpoints.items()
        if len(old) > 1
    ]
    tests = [compare_checkpoints(new, old, np.ones(len(old))) for *_, old, new in known]
    adjusted = holm(np.array([test.p for test in tests]))
    level = level_of_each(sum(test.only_first + test.only_second > 0 for test in tests))
    found = []
    for (one, task, cell, old, new), test, p in zip(known, tests, adjusted, strict=True):
        low, high = _interval(old, new, level)
        verdict = _verdict(test.only_first + test.only_second, float(p), test.difference, high, tolerance)
        place = (one.label, *one.place, task, describe(cell))
        amounts = (float(p), test.only_second, test.only_first, test.rows)
        found.append(Checkpoint(*place, 100 * test.difference, low, high, *amounts, verdict))
    return found


def describe(cell: Cell) -> str:
    """A run in words.

    >>> describe((None, ("", 0), 2)), describe(("a", EVERY, EVERY))
    ('draw 0, seed 2', 'template a')
    """
    template, draw, seed = cell
    parts = [] if template is None else [f"template {template}"]
    if draw != EVERY:
        parts += [f"draw {draw[1] if isinstance(draw, tuple) else draw}", f"seed {seed}"]
    return ", ".join(parts) or "every run"


def _interval(old: Values, new: Values, level: float) -> tuple[float, float]:
    found = interval(estimate([np.stack([old, new])[:, None]]), 1, 0, level=level)
    return 100 * found.low, 100 * found.high


def _verdict(
    differing: int, p: float, change: float, high: float, tolerance: float
) -> Literal["worse", "tolerated", "better", "no change seen", "same"]:
    if not differing:
        return "same"
    if p > 0.05:
        return "no change seen"
    return "better" if change > 0 else "worse" if high < -tolerance else "tolerated"
