"""How sure the differences between the methods of a panel are, computed from the stored predictions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tunefront.reports.compare import row_scores
from tunefront.reports.compare.row_scores import EVERY, Gathered, TaskAnswers, runs_of, shared_cells
from tunefront.reports.compare.uncertainty.chances import Chances, chances, front_chances
from tunefront.reports.compare.uncertainty.checkpoints import CheckpointTest, compare_checkpoints
from tunefront.reports.compare.uncertainty.contrasts import (
    Interval,
    contrasts,
    interval,
    intervals,
    mean_intervals,
    new_tasks,
    pair_weights,
)
from tunefront.reports.compare.uncertainty.metrics import accuracy
from tunefront.reports.compare.uncertainty.more_data import Separation, more_data
from tunefront.reports.compare.uncertainty.ranks import Ranks, rank
from tunefront.reports.compare.uncertainty.resampled import Predicted, affordable_resamples, estimate_metric
from tunefront.reports.compare.uncertainty.runs import Comparison, Unit, compare_runs
from tunefront.reports.compare.uncertainty.simultaneous import TiedSet, against_reference, tied_set

if TYPE_CHECKING:
    from tunefront.bench.records.answers import AnswerFiles
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.uncertainty.crossed import Estimate
    from tunefront.reports.compare.uncertainty.metrics import Metric

POINTS = 100.0
"""Scores are given in points: 100 times the metric."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The estimate for the methods of a panel, in points, and what follows from it.

    `labels`: the methods compared, in the panel's order; `tasks`: the tasks that the means are over. `reference`: the
    index of the reference, None without. `costs`: what the Pareto front is of, per method. `missing`: other methods of
    the panel -> why they are not compared. `left_out`: runs of each method that the others lack and that do not count;
    `unread`: those without stored predictions. `checkpoints`: McNemar's test of each method's checkpoint against the
    reference's, where there is one task and one run of each, else empty. `unit`: what an independent run is.
    `rows_alone`: no method used training rows, so that only test rows vary.
    """

    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    estimate: Estimate
    unit: Unit
    left_out: tuple[int, ...]
    reference: int | None
    costs: tuple[float | None, ...]
    missing: Mapping[str, str]
    unread: tuple[int, ...] = ()
    checkpoints: tuple[CheckpointTest | None, ...] = ()
    rows_alone: bool = False

    @cached_property
    def against(self) -> tuple[Interval | None, ...]:
        """Each method minus the reference, with intervals that hold at once; None for the reference, or without one.

        The pair of the reference and the best has the wider bound of `tied`, so that the two never disagree.
        """
        if self.reference is None:
            return (None,) * len(self.labels)
        found: list[Interval | None] = list(against_reference(self.estimate, self.reference))
        for method, bound in enumerate(self.behind):
            if bound is not None and self.reference in (method, self.tied.best):
                place = method if self.reference == self.tied.best else self.tied.best
                found[place] = bound if place == method else _reversed(bound)
        return tuple(found)

    @cached_property
    def means(self) -> tuple[Interval, ...]:
        """Each method's mean, with an interval of its own."""
        return tuple(mean_intervals(self.estimate))

    @cached_property
    def tied(self) -> TiedSet:
        """The methods that cannot be distinguished from the one with the highest mean."""
        return tied_set(self.estimate)

    @cached_property
    def behind(self) -> tuple[Interval | None, ...]:
        """Each method minus the one with the highest mean, None for itself; the bounds are those of `tied`."""
        methods, best = len(self.labels), self.tied.best
        known = contrasts(self.estimate, pair_weights(methods, [(method, best) for method in range(methods)]))
        found = intervals(known, critical=np.array(self.tied.critical))
        return tuple(None if method == best else one for method, one in enumerate(found))

    @cached_property
    def chances(self) -> Chances:
        """Chances to be the best and on the front of score and trained parameters."""
        return chances(self.estimate, self.costs)

    def fronts(self, costs: Sequence[Sequence[float | None]]) -> list[tuple[float | None, ...]]:
        """For each kind of cost, the probability of each method to be on the Pareto front of score and this cost; None
        where its cost or the probability is not known."""
        found = front_chances(self.estimate, costs)
        if found is None:
            return [(None,) * len(self.labels) for _ in costs]
        return [tuple(None if np.isnan(share) else float(share) for share in shares) for shares in found]

    @cached_property
    def ranks(self) -> Ranks | None:
        """Ranks over tasks; None for too few tasks."""
        return rank(self.estimate.task_means, self.reference)

    def on_new_tasks(self, first: str, second: str) -> Interval | None:
        """The difference on tasks like these that were not tried; None for too few tasks.

        The intervals of all methods against one of them hold at once with 95 % (Bonferroni).
        """
        level = 1 - 0.05 / max(1, len(self.labels) - 1)
        return new_tasks(self.estimate, self.labels.index(first), self.labels.index(second), level=level)

    def among(self, labels: Sequence[str]) -> Evidence:
        """The evidence of some of the methods alone, in the panel's order: bounds and chances are of these."""
        places = [place for place, label in enumerate(self.labels) if label in labels]
        base = None if self.reference is None or self.reference not in places else places.index(self.reference)
        return replace(
            self,
            labels=tuple(self.labels[place] for place in places),
            estimate=self.estimate.of(places),
            left_out=tuple(self.left_out[place] for place in places),
            reference=base,
            costs=tuple(self.costs[place] for place in places),
            unread=tuple(self.unread[place] for place in places) if self.unread else (),
            checkpoints=tuple(self.checkpoints[place] for place in places)
            if self.checkpoints and base is not None
            else (),
        )

    def cheapest(self, labels: Sequence[str]) -> str:
        """Of these methods the one with the lowest cost, and of equal costs the highest mean; unknown costs last."""

        def rank(label: str) -> tuple[float, float]:
            place = self.labels.index(label)
            cost = self.costs[place]
            return (math.inf if cost is None else cost, -float(self.estimate.means[place]))

        return min(labels, key=rank)

    def index(self, label: str) -> int | None:
        """The place of a method, None if it is not compared."""
        return self.labels.index(label) if label in self.labels else None

    def interval(self, label: str) -> Interval | None:
        """A method minus the reference, as in `against`."""
        place = self.index(label)
        return None if place is None else self.against[place]

    def pair(self, first: str, second: str) -> Interval:
        """The difference of two methods, with an interval of its own."""
        return interval(self.estimate, self.labels.index(first), self.labels.index(second))

    def more(self, label: str) -> Separation:
        """How much more data would distinguish a method from the one with the highest mean, by the bound of `tied`.

        The bound of a single pair is smaller: it would advise too little, or call a tied method separated.
        """
        place, best = self.labels.index(label), self.tied.best
        pair = contrasts(self.estimate, pair_weights(len(self.labels), [(best, place)]))
        level = 1 - 2 * float(stats.t.sf(self.tied.critical[place], pair.df[0]))
        return more_data(self.estimate, best, place, level=level)

    def task_gains(self, first: str, second: str) -> dict[str, float]:
        """Task -> difference of two methods in points."""
        means = self.estimate.task_means
        gains = means[:, self.labels.index(first)] - means[:, self.labels.index(second)]
        return dict(zip(self.tasks, map(float, gains), strict=True))

    @property
    def best(self) -> str:
        """The method with the highest mean."""
        return self.labels[self.tied.best]

    @property
    def tied_labels(self) -> tuple[str, ...]:
        """The methods of the tied set, in the panel's order."""
        return tuple(self.labels[place] for place in self.tied.tied)


def weigh(
    entries: Sequence[Entry],
    tasks: Sequence[str],
    reference: Entry | None,
    costs: Mapping[str, float | None],
    answers: AnswerFiles,
) -> Evidence | str:
    """The evidence of a panel's methods on these tasks, or in words why there is none.

    Entries without a score on every task, or without stored predictions, are left out and named.
    """
    gathered = _gather(entries, tasks, answers)
    return gathered if isinstance(gathered, str) else _evidence(gathered, gathered.tasks, reference, costs)


def weigh_each(
    entries: Sequence[Entry],
    tasks: Sequence[str],
    reference: Entry | None,
    costs: Mapping[str, float | None],
    answers: AnswerFiles,
) -> tuple[Evidence | str, dict[str, Evidence]]:
    """The same, and the evidence on each task alone, where there is any."""
    gathered = _gather(entries, tasks, answers)
    if isinstance(gathered, str):
        return gathered, {}
    whole = _evidence(gathered, gathered.tasks, reference, costs)
    if len(gathered.tasks) == 1:
        return whole, {} if isinstance(whole, str) else dict.fromkeys(gathered.tasks, whole)
    each = {name: _evidence(gathered, {name: task}, reference, costs) for name, task in gathered.tasks.items()}
    return whole, {name: known for name, known in each.items() if not isinstance(known, str)}


def _gather(entries: Sequence[Entry], tasks: Sequence[str], answers: AnswerFiles) -> Gathered | str:
    """The stored answers of the methods; in words why they cannot be compared."""
    if len(entries) < 2:
        return "there is one method only"
    gathered = row_scores.gather(entries, tasks, answers)
    if len(gathered.entries) < 2:
        reasons = list(dict.fromkeys(gathered.missing.values()))
        return f"fewer than two methods can be compared row by row ({'; '.join(reasons)})"
    if any(len(next(iter(task.right[0].values()))[0]) < 2 for task in gathered.tasks.values()):
        return "a task has fewer than two test rows"
    return gathered


def _evidence(
    gathered: Gathered, tasks: Mapping[str, TaskAnswers], reference: Entry | None, costs: Mapping[str, float | None]
) -> Evidence | str:
    """The evidence on some of the tasks; in words why there is none."""
    metric = row_scores.metric_of(next(iter(gathered.entries[0].all)))
    known = list(tasks.values())
    assert metric is not None  # answers are kept only if they give the recorded score
    made = _by_rows(known) if metric is accuracy else _resampled(known, metric)
    if isinstance(made, str):
        return made
    labels = tuple(entry.label for entry in gathered.entries)
    place = labels.index(reference.label) if reference is not None and reference.label in labels else None
    return Evidence(
        labels,
        tuple(tasks),
        _in_points(made.estimate),
        made.unit,
        made.left_out,
        place,
        tuple(costs.get(label) for label in labels),
        gathered.missing,
        tuple(gathered.unread[label] for label in labels),
        _checkpoints(known, place) if metric is accuracy and place is not None else (),
        all(draw == EVERY for task in known for method in task.right for _, draw, _ in method),
    )


def _by_rows(tasks: Sequence[TaskAnswers]) -> Comparison | str:
    """The comparison for a mean over rows; in words why there is none."""
    runs = [runs_of(task.right) for task in tasks]
    if not all(own for task in runs for own in task):
        return "the methods share no template with the same draw and seed"
    return compare_runs(runs)


def _checkpoints(tasks: Sequence[TaskAnswers], reference: int) -> tuple[CheckpointTest | None, ...]:
    """McNemar's test of each checkpoint against the reference's; empty if there are several of a method."""
    runs = [list(runs.values()) for task in tasks for runs in runs_of(task.right)]
    if len(tasks) > 1 or any(len(values) > 1 or not np.isin(values[0], (0, 1)).all() for values in runs):
        return ()
    right = [values[0] for values in runs]
    base = right[reference]
    return tuple(
        None if place == reference else compare_checkpoints(own, base, np.ones(len(own)))
        for place, own in enumerate(right)
    )


def _reversed(found: Interval) -> Interval:
    """The same of second minus first."""
    return replace(found, difference=-found.difference, low=-found.high, high=-found.low)


def _in_points(known: Estimate) -> Estimate:
    """An estimate of scores from 0 to 1 in points: 100 times the score."""
    return replace(
        known,
        means=POINTS * known.means,
        task_means=POINTS * known.task_means,
        run=None if known.run is None else POINTS**2 * known.run,
        row=POINTS**2 * known.row,
        residual=POINTS**2 * known.residual,
    )


def _resampled(tasks: Sequence[TaskAnswers], metric: Metric) -> Comparison | str:
    """The comparison for a metric that is no mean over rows, on the draws and seeds that all methods have; in words why
    there is none."""
    made, left_out, several_draws = [], [0] * len(tasks[0].cells), False
    for task in tasks:
        shared, values = shared_cells(task.cells)
        if task.labels is None:
            return "the labels of the same row differ between runs, and the metric is no mean over rows"
        if not shared:
            return "the methods share no draw and seed"
        draws = [draw for _, draw, _ in shared]
        several_draws |= len(set(draws)) > 1
        runs = [(draw, seed) for _, draw, seed in shared]
        groups: Sequence[Hashable] = draws if len(set(draws)) > 1 else runs
        predictions = np.stack([[method[cell] for cell in shared] for method in values])
        made.append(Predicted(predictions, task.labels, groups))
        left_out = [lost + len(method) - len(shared) for lost, method in zip(left_out, values, strict=True)]
    try:
        known = estimate_metric(made, metric, resamples=affordable_resamples(made))
    except ValueError as error:
        return str(error)
    return Comparison(known, "draw" if several_draws else "seed", tuple(left_out))
