"""The change of every method: those with the same tasks and runs share an estimate, and all intervals hold at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.difference.pairs import Pair
from tunefront.reports.compare.difference.runs import TaskRuns, independent_cells
from tunefront.reports.compare.evidence import POINTS
from tunefront.reports.compare.row_scores import metric_of
from tunefront.reports.compare.uncertainty.changes import (
    Changes,
    changes,
    level_of_each,
    metric_changes,
    pairs_enough,
    score_changes,
)
from tunefront.reports.compare.uncertainty.crossed import ABOUT_METHODS, ENOUGH
from tunefront.reports.compare.uncertainty.resampled import Predicted, affordable_resamples
from tunefront.reports.compare.uncertainty.simultaneous import TIGHTER

Read = tuple[Pair, dict[str, TaskRuns]]
"""A pair with its runs by task."""
Verdict = Literal["worse", "tolerated", "better", "no change seen", "same", "too few runs"]
Basis = Literal["rows and runs", "runs", "tasks", "checkpoints"]


@dataclass(frozen=True)
class MethodChange:
    """How the score of one method changed. Units: points, 100 times the metric; means are over `tasks`.

    `low`, `high`: the interval of `change`; the intervals of all methods of the difference hold at once, with
    probability .95. None if nothing varies, or with too few runs. `p`: Bonferroni's p-value of no change. `verdict`:
    "worse" if the interval is below -tolerance, "tolerated" if it is below 0 only, "better" if it is above 0, "same" if
    all answers are equal. `basis`: what the interval is computed from. `paired`: whether old and new runs share their
    draws or seeds. `runs`: old and new records; `left_out`: independent runs of each side that have no counterpart and
    do not count. `more_runs`: how many more runs each task needs to say anything about the method, or, where something
    is said, for intervals that are no approximation.
    """

    label: str
    backbone: str
    shots: int | None
    metric: str
    tasks: tuple[str, ...]
    old: float
    new: float
    change: float
    low: float | None
    high: float | None
    p: float | None
    verdict: Verdict
    basis: Basis
    paired: bool
    runs: tuple[int, int]
    left_out: tuple[int, int] = (0, 0)
    more_runs: int = 0


def judge(kept: Sequence[Read], tolerance: float) -> list[MethodChange]:
    """The change of every method, in order. The intervals of all that are estimated hold at once."""
    families = group_by([read for read in kept if not _is_same(read)], _family)
    estimates = [_estimate(group) for group in families.values()]
    compared = sum(
        len(group) for group, (known, _) in zip(families.values(), estimates, strict=True) if known.about_methods
    )
    found: dict[Hashable, MethodChange] = {}
    for group, (known, basis) in zip(families.values(), estimates, strict=True):
        results = known.intervals(level_of_each(compared)) if known.about_methods else [None] * len(group)
        for read, result in zip(group, results, strict=True):
            draft = _described(read, known, basis)
            if result is None:
                found[_name(read)] = replace(
                    draft, verdict="too few runs", more_runs=_runs_missing(known, ABOUT_METHODS)
                )
                continue
            low, high = POINTS * result.low, POINTS * result.high
            found[_name(read)] = replace(
                draft,
                change=POINTS * result.difference,
                low=low,
                high=high,
                p=min(1.0, compared * result.p / TIGHTER),
                verdict=_verdict(low, high, tolerance),
                more_runs=0 if basis == "tasks" else _runs_missing(known, ENOUGH),
            )
    return [found[_name(read)] if _name(read) in found else _unchanged(read) for read in kept]


def _name(read: Read) -> Hashable:
    return read[0].label, read[0].place, read[0].metric


def _verdict(low: float, high: float, tolerance: float) -> Verdict:
    if high < -tolerance:
        return "worse"
    return "tolerated" if high < 0 else "better" if low > 0 else "no change seen"


def _is_same(read: Read) -> bool:
    return all(runs.same for runs in read[1].values())


def _family(read: Read) -> Hashable:
    """What the methods of one estimate share: the tasks, the runs, and what is known of their rows."""
    one, by_task = read
    kind = _kind(one, by_task)
    if kind == "predictions":
        cells = tuple(tuple(independent_cells(runs.cells)[0]) for runs in by_task.values() if runs.cells is not None)
        return one.place, one.metric, one.tasks, kind, cells
    runs = tuple(tuple(tuple(sorted(map(repr, side))) for side in known.scores) for known in by_task.values())
    return one.place, one.metric, one.tasks, kind, runs


def _kind(one: Pair, by_task: Mapping[str, TaskRuns]) -> str:
    known = list(by_task.values())
    if all(runs.rows is not None and len(next(iter(runs.rows[0].values()))) > 1 for runs in known):
        return "rows"
    predicted = metric_of(next(iter(one.old.values()))[0]) is not None and all(
        runs.cells is not None and runs.cells.labels is not None and independent_cells(runs.cells)[0] for runs in known
    )
    return "predictions" if predicted and pairs_enough([runs.scores for runs in known]) else "scores"


def _estimate(group: Sequence[Read]) -> tuple[Changes, Basis]:
    kind = _kind(*group[0])
    tasks = group[0][0].tasks
    if kind == "predictions":
        try:
            return _with_basis(_metric_estimate(group, tasks))
        except ValueError:  # undefined for a run or for most samples of rows: the scores of runs are left
            pass
    if kind == "rows":
        rows = [[runs[task].rows for _, runs in group] for task in tasks]
        return _with_basis(changes([[one for one in task if one is not None] for task in rows]))
    return _with_basis(score_changes([[runs[task].scores for _, runs in group] for task in tasks]))


def _metric_estimate(group: Sequence[Read], tasks: Sequence[str]) -> Changes:
    metric = metric_of(next(iter(group[0][0].old.values()))[0])
    assert metric is not None
    made = []
    for task in tasks:
        known = [cells for _, runs in group if (cells := runs[task].cells) is not None]
        found = [independent_cells(cells) for cells in known]
        sides = [[values[side][cell] for cell in cells] for side in (0, 1) for cells, values, _ in found]
        made.append(Predicted(np.array(sides), np.asarray(known[0].labels), found[0][2]))
    return metric_changes(made, metric, resamples=affordable_resamples(made))


def _with_basis(known: Changes) -> tuple[Changes, Basis]:
    if known.over_tasks:
        return known, "tasks"
    if not known.about_methods:
        return known, "checkpoints"
    return known, "rows and runs" if known.rows_known else "runs"


def _described(read: Read, known: Changes, basis: Basis) -> MethodChange:
    return replace(_unchanged(read, known.paired), verdict="no change seen", basis=basis)


def _unchanged(read: Read, paired: bool = True) -> MethodChange:
    """A method's change without an interval: means over the runs that are compared."""
    one, by_task = read
    old, new = (
        POINTS * float(np.mean([np.mean(_compared(runs.scores, side, paired)) for runs in by_task.values()]))
        for side in (0, 1)
    )
    amounts = [sum(runs.runs[side] for runs in by_task.values()) for side in (0, 1)]
    backbone, shots = one.place
    return MethodChange(
        label=one.label,
        backbone=backbone,
        shots=shots,
        metric=one.metric,
        tasks=one.tasks,
        old=old,
        new=new,
        change=new - old,
        low=None,
        high=None,
        p=None,
        verdict="same",
        basis="rows and runs",
        paired=paired,
        runs=(amounts[0], amounts[1]),
        left_out=_left_out(by_task) if paired else (0, 0),
    )


def _left_out(by_task: Mapping[str, TaskRuns]) -> tuple[int, int]:
    """The independent runs of each side that the other lacks, over all tasks."""
    sides = [runs.scores for runs in by_task.values()]
    return sum(len(set(old) - set(new)) for old, new in sides), sum(len(set(new) - set(old)) for old, new in sides)


def _compared(scores: tuple[dict[Hashable, float], dict[Hashable, float]], side: int, paired: bool) -> list[float]:
    shared = set(scores[0]) & set(scores[1])
    return [value for run, value in scores[side].items() if not paired or run in shared]


def _runs_missing(known: Changes, enough: int) -> int:
    """How many more runs each task needs for `enough` degrees of freedom of the run variance."""
    tasks = len(known.estimate.runs)
    have = tasks * (min(known.estimate.runs) - 1)
    return max(0, -(-(enough - have) // tasks))
