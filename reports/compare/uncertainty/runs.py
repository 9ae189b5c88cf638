"""Which runs of several methods can be compared: shared ones, or all of them by Welch's test; draws with seeds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tunefront.reports.compare.uncertainty.crossed import (
    ABOUT_METHODS,
    Estimate,
    Floats,
    TaskParts,
    combine,
    covariance,
    estimate,
)

Run = tuple[Hashable, Hashable]
"""(draw seed, training seed)."""
Unit = Literal["draw", "seed"]


@dataclass(frozen=True)
class Comparison:
    """An estimate, and which runs it is of.

    `unit`: what an independent run is. With a single draw of each method in every task it is a training seed, and
    nothing is known of other draws. `left_out` (methods,): how many runs of each method the others lack, and that were
    not used.
    """

    estimate: Estimate
    unit: Unit
    left_out: tuple[int, ...]


def compare_runs(tasks: Sequence[Sequence[Mapping[Run, Floats]]]) -> Comparison:
    """The estimate from runs that may differ between methods.

    Shapes: per task and method, the row scores (rows,) of each run. If several seeds were trained on each of several
    draws, the seeds of a draw are averaged: the draws are the independent unit.

    The runs that all methods of a task share are used where they give a run variance, or where they are all runs there
    are. Else all runs are used, as independent samples of each method (Welch's test): `estimate.shared_runs` is False.

    Errors: ValueError for no task, a method without runs, or numbers of methods or of a task's rows that differ.
    """
    if not tasks or any(not runs for methods in tasks for runs in methods) or not all(tasks):
        raise ValueError("each task needs at least one run of every method; leave out the methods that lack one")
    if len({len(methods) for methods in tasks}) != 1:
        raise ValueError(f"the tasks have {', '.join(str(len(methods)) for methods in tasks)} methods; give the same")
    shared = [[run for run in methods[0] if all(run in runs for runs in methods)] for methods in tasks]
    unit: Unit = "draw" if any(len({draw for draw, _ in runs}) > 1 for task in tasks for runs in task) else "seed"
    left_out = tuple(
        sum(len(task[method]) - len(runs) for task, runs in zip(tasks, shared, strict=True))
        for method in range(len(tasks[0]))
    )
    if all(shared):
        arrays = [
            np.stack([average_seeds({run: method[run] for run in runs}) for method in task])
            for task, runs in zip(tasks, shared, strict=True)
        ]
        if not any(left_out) or sum(array.shape[1] - 1 for array in arrays) >= ABOUT_METHODS:
            return Comparison(estimate(arrays), unit, left_out)
    return Comparison(
        separate_runs([[average_seeds(runs) for runs in methods] for methods in tasks]), unit, (0,) * len(left_out)
    )


def average_seeds(scores: Mapping[Run, Floats]) -> Floats:
    """The row scores of independent runs, (independent runs, rows), from those of every (draw, seed).

    The seeds of a draw are averaged if there are several draws and any has several seeds: they share their training
    rows, so that they are no independent runs. With one draw, or one seed per draw, every run is independent.

    >>> crossed = {(0, 0): [1.0, 0.0], (0, 1): [0.0, 0.0], (1, 0): [1.0, 1.0], (1, 1): [1.0, 0.0]}
    >>> average_seeds(crossed).tolist()
    [[0.5, 0.0], [1.0, 0.5]]
    """
    lengths = {len(row_scores) for row_scores in scores.values()}
    if len(lengths) != 1:
        raise ValueError(f"the runs were scored on {sorted(lengths)} rows; all must be scored on the same rows")
    by_draw: dict[Hashable, list[Floats]] = {}
    for (draw, _), row_scores in scores.items():
        by_draw.setdefault(draw, []).append(np.asarray(row_scores, dtype=np.float64))
    if len(by_draw) == 1:
        return np.stack(next(iter(by_draw.values())))
    return np.stack([np.mean(seeds, axis=0) for seeds in by_draw.values()])


def separate_runs(tasks: Sequence[Sequence[Floats]]) -> Estimate:
    """The estimate where methods have runs of their own: no covariance by runs, but one by rows, which they share.

    Shapes: per task, one array (runs, rows) per method; the numbers of runs may differ, the rows are the same.

    The run variance of a method with a single run is the mean of the methods with more, and `run_df` that of the method
    with the fewest runs above one; `assumed` names it. A contrast's run variance has Welch's degrees of freedom.

    Errors: ValueError for no task, other shapes, fewer than two rows, or values that are not finite.

    Source: Welch 1947, The generalization of Student's problem when several population variances are involved.
    """
    if not tasks:
        raise ValueError("no task is given; give the runs of at least one")
    return combine([_separate_parts(methods) for methods in tasks], shared_runs=False)


def _separate_parts(methods: Sequence[Floats]) -> TaskParts:
    arrays = [np.asarray(runs, dtype=np.float64) for runs in methods]
    rows = arrays[0].shape[-1]
    if rows < 2 or any(runs.ndim != 2 or not len(runs) or runs.shape[1] != rows for runs in arrays):
        raise ValueError(f"each method needs runs (runs, rows) on the same rows; got {[runs.shape for runs in arrays]}")
    if not all(np.isfinite(runs).all() for runs in arrays):
        raise ValueError("the row scores are not all finite; leave out the runs without scores")
    counts = np.array([len(runs) for runs in arrays])
    means = np.array([runs.mean() for runs in arrays])
    total = covariance(np.stack([runs.mean(0) for runs in arrays])) / rows
    several = counts > 1
    if not several.any():
        return TaskParts(means, None, None, total, np.zeros_like(total), counts, rows)
    one_run = np.array([runs.mean(1).var(ddof=1) if len(runs) > 1 else np.nan for runs in arrays])
    residual = np.array([_residual(runs) if len(runs) > 1 else np.nan for runs in arrays])
    one_run = np.where(several, one_run, np.nanmean(one_run))
    residual = np.where(several, residual, np.nanmean(residual))
    return TaskParts(
        means, np.diag(one_run), np.diag(one_run / counts), total, np.diag(residual / (counts * rows)), counts, rows
    )


def _residual(runs: Floats) -> float:
    """The mean square of the interaction of one method's runs with rows."""
    left = runs - runs.mean(1, keepdims=True) - runs.mean(0) + runs.mean()
    return float((left**2).sum() / ((len(runs) - 1) * (runs.shape[1] - 1)))
