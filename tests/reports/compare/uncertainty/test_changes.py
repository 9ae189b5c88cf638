"""The changes of methods between two sets of runs: false alarms where a seed alone differs, and real changes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reports.compare.uncertainty.worlds import UNSTABLE, comparisons
from tunefront.reports.compare.uncertainty.changes import (
    Changes,
    changes,
    level_of_each,
    metric_changes,
    score_changes,
)
from tunefront.reports.compare.uncertainty.contrasts import interval
from tunefront.reports.compare.uncertainty.crossed import estimate
from tunefront.reports.compare.uncertainty.metrics import accuracy
from tunefront.reports.compare.uncertainty.resampled import Predicted

REPETITIONS = 200
MOST = 0.05 + 3 * (0.05 * 0.95 / REPETITIONS) ** 0.5
"""The largest share of alarms that chance explains, with three standard errors."""


def before_and_after(tasks, runs, *, paired, loss=0.0):
    """The first `runs` runs of each method as the old ones and the rest as the new ones; the first method loses."""
    made = []
    for task in tasks:
        methods = []
        for place, scores in enumerate(task):
            old = dict(enumerate(scores[:runs]))
            new = {number + (0 if paired else runs): values for number, values in enumerate(scores[runs:])}
            if not place:
                new = {unit: np.clip(values - loss, 0, 1) for unit, values in new.items()}
            methods.append((old, new))
        made.append(methods)
    return made


def scores_of(tasks):
    return [
        [tuple({unit: values.mean() for unit, values in side.items()} for side in method) for method in task]
        for task in tasks
    ]


def worlds(design, deviations, *, paired, loss=0.0, rows=100):
    tasks, runs = design
    for found in comparisons(REPETITIONS, (tasks, 2 * runs), deviations, rows=rows):
        yield before_and_after(found, runs, paired=paired, loss=loss)


def intervals(known: Changes):
    return known.intervals(level_of_each(known.methods))


def alarmed(known: Changes) -> bool:
    return any(one.separates for one in intervals(known))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("design", [(1, 3), (2, 2), (5, 3), (5, 5), (8, 1)])
@pytest.mark.parametrize("deviations", [(0.05,), (0.05,) * 8, UNSTABLE])
def test_runs_that_differ_by_a_seed_alone_rarely_give_an_alarm(paired, design, deviations):
    """At most 5 % of comparisons of all methods together."""
    found = [changes(tasks) for tasks in worlds(design, deviations, paired=paired)]
    assert np.mean([alarmed(known) for known in found]) <= MOST


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("design", [(1, 3), (5, 3)])
def test_scores_alone_rarely_give_an_alarm(paired, design):
    found = [score_changes(scores_of(tasks)) for tasks in worlds(design, (0.05,) * 4, paired=paired)]
    assert np.mean([alarmed(known) for known in found]) <= MOST


def test_a_large_loss_is_found_and_no_other_method_is_blamed():
    found = [intervals(changes(tasks)) for tasks in worlds((5, 3), (0.02,) * 4, paired=True, loss=0.2)]
    assert np.mean([one[0].high < 0 for one in found]) > 0.99
    assert np.mean([any(rest.separates for rest in one[1:]) for one in found]) <= MOST


def test_pairs_drop_what_old_and_new_runs_share():
    """A draw that moves every method does not widen the interval of the change."""
    generator = np.random.default_rng(0)
    moved = (generator.random((4, 500)) < np.array([0.2, 0.4, 0.6, 0.8])[:, None]).astype(float)
    after = np.where(generator.random((4, 500)) < 0.02, 1 - moved, moved)
    old, new = dict(enumerate(moved)), dict(enumerate(after))
    (paired,) = intervals(changes([[(old, new)]]))
    (apart,) = intervals(changes([[(old, {unit + 10: values for unit, values in new.items()})]]))
    assert paired.difference == pytest.approx(apart.difference)
    assert paired.high - paired.low < 0.2 * (apart.high - apart.low)


def test_the_change_of_one_method_is_that_of_two_methods():
    """With enough runs, where nothing is moderated."""
    (tasks,) = comparisons(1, (5, 6), (0.05,), seed=3)
    made = before_and_after(tasks, 3, paired=True)
    (found,) = changes(made).intervals(0.95)
    both = [np.stack([task[0, 3:], task[0, :3]]) for task in tasks]
    expected = interval(estimate(both), 0, 1)
    assert found.difference == pytest.approx(expected.difference)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=0.05)  # other parts are made positive


@pytest.mark.parametrize("make", [changes, lambda tasks: score_changes(scores_of(tasks))])
@pytest.mark.parametrize(("design", "about"), [((1, 1), False), ((1, 2), False), ((3, 1), False), ((6, 1), True)])
def test_without_a_second_run_nothing_is_said_but_from_many_tasks(make, design, about):
    known = make(next(worlds(design, (0.05,) * 2, paired=False)))
    assert known.about_methods == about
    assert known.over_tasks == about


def test_no_change_at_all_has_an_interval_without_width():
    rows = {0: np.ones(20), 1: np.zeros(20), 2: np.ones(20)}
    (found,) = intervals(changes([[(rows, rows)]]))
    assert (found.low, found.difference, found.high, found.p) == (0, 0, 0, 1)


def test_a_single_new_run_is_compared_with_the_variance_of_the_old_ones():
    (tasks,) = comparisons(1, (1, 6), (0.05,) * 2)
    made = [[(dict(enumerate(scores[:5])), {9: scores[5]}) for scores in tasks[0]]]
    known = changes(made)
    assert not known.paired
    assert known.about_methods
    assert known.estimate.assumed == (2, 3)


def test_accuracy_as_a_metric_gives_what_its_rows_give():
    (tasks,) = comparisons(1, (3, 6), (0.05,) * 2)
    by_rows = changes(before_and_after(tasks, 3, paired=True)).intervals(0.95)
    predicted = [
        Predicted(np.concatenate([task[:, :3], task[:, 3:]]).astype(int), np.ones(task.shape[2], dtype=int))
        for task in tasks
    ]
    by_metric = metric_changes(predicted, accuracy).intervals(0.95)
    for one, two in zip(by_rows, by_metric, strict=True):
        assert one.difference == pytest.approx(two.difference)
        assert one.high == pytest.approx(two.high, abs=0.02)
