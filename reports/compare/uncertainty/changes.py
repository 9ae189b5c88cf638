"""How much methods changed from one set of results to another: an interval for each, and all of them at once.

A method's old and new scores are two samples of runs on the same test rows. They are compared like two methods, with
these decisions:

- **Runs of the same draw (or seed, if there is one draw) are a pair**, as they share their training rows. The estimate
  is then that of the differences, so that what both have in common drops out. Else they are independent samples.
- **With few runs the variance between runs is moderated by that of the other methods' changes** (`contrasts`), not by
  that of all pairs of methods: an old and a new run of one method differ by less than two methods do.
- **The intervals hold at once by Bonferroni's bound.** The changes of different methods are nearly independent, so that
  the bound of the largest |t| would not be smaller, and it also holds across backbones and metrics, which have no
  common estimate. Holm's steps find more, but have no intervals: here an interval and what is said of it never differ.
- **Without a second run nothing is known of the variance between runs.** Old and new are two checkpoints then, which
  differ by a seed at least. From `FEWEST_TASKS` tasks on, the spread of the change over tasks contains it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tunefront.reports.compare.uncertainty.contrasts import (
    FEWEST_TASKS,
    Interval,
    contrasts,
    intervals,
    mean_intervals,
    over_tasks,
    pair_weights,
)
from tunefront.reports.compare.uncertainty.crossed import (
    ABOUT_METHODS,
    Estimate,
    Floats,
    TaskParts,
    combine,
    covariance,
    estimate,
)
from tunefront.reports.compare.uncertainty.metrics import Metric
from tunefront.reports.compare.uncertainty.resampled import RESAMPLES, Predicted, estimate_metric
from tunefront.reports.compare.uncertainty.runs import separate_runs
from tunefront.reports.compare.uncertainty.simultaneous import TIGHTER

Units = Mapping[Hashable, Floats]
"""Independent runs -> the scores of their rows (rows,)."""


@dataclass(frozen=True, eq=False)
class Changes:
    """The changes of several methods with the same tasks and runs.

    `estimate`: of the differences, new minus old, one per method, if `paired`; else of all old methods, then all new
    ones. `rows_known`: whether it contains the variance by test rows; if not, it is about these rows alone.
    """

    estimate: Estimate
    paired: bool
    rows_known: bool = True

    @property
    def methods(self) -> int:
        """The number of methods."""
        return len(self.estimate.means) // (1 if self.paired else 2)

    @property
    def differences(self) -> Floats:
        """New minus old mean of each method, (methods,)."""
        means = self.estimate.means
        return means if self.paired else means[self.methods :] - means[: self.methods]

    @property
    def over_tasks(self) -> bool:
        """Whether the intervals come from the spread over tasks, because no variance between runs is known."""
        return self.estimate.checkpoints_only and len(self.estimate.task_means) >= FEWEST_TASKS

    @property
    def about_methods(self) -> bool:
        """Whether intervals are about methods that are trained again."""
        return not self.estimate.checkpoints_only or self.over_tasks

    def intervals(self, level: float) -> list[Interval]:
        """The change of each method, each with an interval of this level.

        Of these very checkpoints if not `about_methods`.
        """
        if self.over_tasks:
            return self._over_tasks(level)
        if self.paired:
            return mean_intervals(self.estimate, level=level)
        pairs = [(self.methods + method, method) for method in range(self.methods)]
        return intervals(contrasts(self.estimate, pair_weights(2 * self.methods, pairs)), level=level)

    def _over_tasks(self, level: float) -> list[Interval]:
        by_task = self.estimate.task_means
        if not self.paired:
            by_task = by_task[:, self.methods :] - by_task[:, : self.methods]
        return over_tasks(by_task, level=level)


def changes(tasks: Sequence[Sequence[tuple[Units, Units]]]) -> Changes:
    """The changes from the scores of rows.

    Shapes: per task and method, the old and the new runs with their row scores (rows,). The methods of a task have the
    same old runs, and the same new ones.

    Errors: those of `crossed.estimate` and `runs.separate_runs`.
    """
    shared = [shared_units(*methods[0]) for methods in tasks]
    if pairs_enough([methods[0] for methods in tasks]):
        return Changes(
            estimate(
                [
                    np.stack([[new[unit] - old[unit] for unit in units] for old, new in methods])
                    for methods, units in zip(tasks, shared, strict=True)
                ]
            ),
            paired=True,
        )
    sides = [[*(old for old, _ in methods), *(new for _, new in methods)] for methods in tasks]
    return Changes(separate_runs([[np.stack(list(runs.values())) for runs in task] for task in sides]), paired=False)


def score_changes(tasks: Sequence[Sequence[tuple[Mapping[Hashable, float], Mapping[Hashable, float]]]]) -> Changes:
    """The changes from the scores of runs alone: as `changes`, with one number per run.

    Nothing is known of the variance by rows, so that the intervals are about these test rows. For a method that did not
    change this is no loss: its expected score on every row is the old one.
    """
    if pairs_enough([methods[0] for methods in tasks]):
        paired = []
        for methods in tasks:
            units = shared_units(*methods[0])
            paired.append(_of_scores([[new[unit] - old[unit] for unit in units] for old, new in methods]))
        return Changes(combine(paired), paired=True, rows_known=False)
    sides = [[*(old for old, _ in methods), *(new for _, new in methods)] for methods in tasks]
    parts = [_of_scores([list(runs.values()) for runs in methods], apart=True) for methods in sides]
    return Changes(combine(parts, shared_runs=False), paired=False, rows_known=False)


def metric_changes(tasks: Sequence[Predicted], metric: Metric, *, resamples: int = RESAMPLES) -> Changes:
    """The changes for a metric that is no mean over rows: as `changes`, for runs that old and new share.

    Shapes: predictions (2 methods, runs, rows), first all old methods, then all new ones.

    Errors: those of `resampled.estimate_metric`.
    """
    known = estimate_metric(tasks, metric, resamples=resamples)
    methods = len(known.means) // 2
    weights = np.hstack([-np.eye(methods), np.eye(methods)])

    def between(matrix: Floats) -> Floats:
        changed: Floats = weights @ matrix @ weights.T
        return changed

    return Changes(
        replace(
            known,
            means=weights @ known.means,
            task_means=known.task_means @ weights.T,
            run=None if known.run is None else between(known.run),
            row=between(known.row),
            residual=between(known.residual),
        ),
        paired=True,
    )


def level_of_each(compared: int, level: float = 0.95) -> float:
    """The level of each of several intervals, with which all hold at once with probability `level` at least.

    `TIGHTER` makes it a little higher: of a single method with 3 runs on a task of 100 rows, whose seed alone differs,
    6.4 % of intervals of the level .95 exclude 0, because Satterthwaite's degrees of freedom are estimated.

    >>> round(level_of_each(4), 3)
    0.99
    """
    return 1 - TIGHTER * (1 - level) / max(1, compared)


def shared_units(old: Mapping[Hashable, object], new: Mapping[Hashable, object]) -> list[Hashable]:
    """The runs that are in both."""
    return [unit for unit in old if unit in new]


def pairs_enough(tasks: Sequence[tuple[Mapping[Hashable, object], Mapping[Hashable, object]]]) -> bool:
    """Whether the runs that old and new share are compared: they are all there are, or give a variance."""
    shared = [len(shared_units(old, new)) for old, new in tasks]
    if not all(shared):
        return False
    nothing_left = all(len(old) == len(new) == both for (old, new), both in zip(tasks, shared, strict=True))
    return nothing_left or sum(both - 1 for both in shared) >= ABOUT_METHODS


def _of_scores(methods: Sequence[Sequence[float]], *, apart: bool = False) -> TaskParts:
    """The part of a task from scores of runs: of the same runs for all methods, or (`apart`) of other ones."""
    arrays = [np.asarray(scores, dtype=np.float64) for scores in methods]
    counts = np.array([len(scores) for scores in arrays])
    means = np.array([scores.mean() for scores in arrays])
    nothing = np.zeros((len(arrays), len(arrays)))
    if not (counts > 1).any():
        return TaskParts(means, None, None, nothing, nothing, counts, 2)
    if not apart:
        one_run = covariance(np.stack(arrays))
        return TaskParts(means, one_run, one_run / counts[0], nothing, nothing, counts, 2)
    own = np.array([scores.var(ddof=1) if len(scores) > 1 else np.nan for scores in arrays])
    own = np.where(counts > 1, own, np.nanmean(own))
    return TaskParts(means, np.diag(own), np.diag(own / counts), nothing, nothing, counts, 2)
