"""Chances of being the best or on the Pareto front, expected rank and regret."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.reports.compare.uncertainty.worlds import comparisons
from tunefront.reports.compare.uncertainty.chances import chances, missing_runs
from tunefront.reports.compare.uncertainty.crossed import Estimate, estimate


def known(means, variance, run_df=8):
    means = np.asarray(means, dtype=float)
    run = np.eye(len(means)) * variance
    nothing = np.zeros_like(run)
    return Estimate(means, means[None], run, nothing, nothing, run_df, 99, (run_df + 1,), (100,))


def test_of_two_methods_the_chance_is_that_of_the_t_distribution():
    found = chances(known([0.6, 0.5], 0.005), [2.0, 1.0])
    expected = stats.t.cdf(0.1 / 0.01**0.5, 8)
    assert found.best == pytest.approx([expected, 1 - expected], abs=0.01)
    assert found.rank == pytest.approx([2 - expected, 1 + expected], abs=0.01)
    assert found.front == pytest.approx([expected, 1], abs=0.01)


def test_the_regret_is_the_expected_distance_from_the_best():
    """Of t with 8 degrees of freedom, scaled by 1/10, around 0: half of the mean absolute value."""
    found = chances(known([0.5, 0.5], 0.005))
    positive = stats.t.expect(lambda x: max(x, 0.0), args=(8,)) / 10
    assert found.regret == pytest.approx([positive, positive], rel=0.03)


def test_chances_of_the_best_sum_to_one_and_equal_methods_share_them():
    found = chances(known([0.5, 0.5, 0.5, 0.5], 0.0))
    assert found.best.tolist() == [0.25] * 4
    assert found.rank.tolist() == [2.5] * 4
    assert found.front is None


def test_the_cheapest_method_is_always_on_the_front():
    found = chances(known([0.2, 0.9, 0.9], 1e-6), [1.0, 2.0, 3.0])
    assert found.front[0] == 1
    assert found.front[1] == 1
    assert 0.4 < found.front[2] < 0.6


def test_of_equal_costs_only_the_better_is_on_the_front():
    assert chances(known([0.2, 0.9], 1e-6), [1.0, 1.0]).front.tolist() == [0, 1]


def test_a_method_without_a_cost_has_no_chance_and_takes_none():
    found = chances(known([0.9, 0.2], 1e-6), [None, 1.0])
    assert np.isnan(found.front[0])
    assert found.front[1] == 1


@pytest.mark.parametrize(("tasks", "runs", "missing"), [(1, 1, 8), (1, 3, 6), (2, 2, 3), (5, 2, 1), (4, 3, 0)])
def test_below_eight_degrees_of_freedom_it_says_how_many_runs_are_missing(tasks, runs, missing):
    one = estimate([np.random.default_rng(seed).random((2, runs, 20)) for seed in range(tasks)])
    assert missing_runs(one) == missing
    found = chances(one)
    assert found.missing_runs == missing
    assert (found.best is None) is (missing > 0)
    enough = estimate([np.random.default_rng(seed).random((2, runs + missing, 20)) for seed in range(tasks)])
    assert missing_runs(enough) == 0


def test_a_number_of_costs_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="3 costs"):
        chances(known([0.1, 0.2], 1.0), [1.0, 2.0, 3.0])


def test_chances_are_calibrated_from_eight_degrees_of_freedom_on():
    """Six methods whose true means are drawn, 5 tasks and 3 runs, 250 repetitions: in each third of what was said, the
    share that was true is near. The standard error of a share is at most .03."""
    generator, said, true = np.random.default_rng(1), [], []
    said_best, true_best = [], []
    costs = np.arange(6.0)
    for repetition in range(250):
        means = 0.02 * generator.standard_normal(6)
        (tasks,) = comparisons(1, (5, 3), (0.05,) * 6, rows=200, means=means, seed=repetition)
        found = chances(estimate(tasks), costs.tolist(), draws=1000)
        said.append(found.front)
        true.append([all(means[other] < means[method] for other in range(method)) for method in range(6)])
        said_best.append(found.best.max())
        true_best.append(means.argmax() == found.best.argmax())
    said, true = np.array(said)[:, 1:].ravel(), np.array(true)[:, 1:].ravel()  # the cheapest is always on the front
    for low, high in ((0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1)):
        inside = (said >= low) & (said <= high)
        assert true[inside].mean() == pytest.approx(said[inside].mean(), abs=0.09)
    assert np.mean(true_best) == pytest.approx(np.mean(said_best), abs=0.12)
