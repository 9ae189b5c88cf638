"""Runs that methods share, Welch's comparison where they share none, and seeds averaged in their draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.reports.compare.uncertainty.worlds import EQUAL, comparisons
from tunefront.reports.compare.uncertainty.chances import chances
from tunefront.reports.compare.uncertainty.contrasts import all_pairs, contrasts, interval, pair_weights
from tunefront.reports.compare.uncertainty.crossed import estimate
from tunefront.reports.compare.uncertainty.runs import average_seeds, compare_runs, separate_runs


def scores(methods=2, runs=5, rows=30, seed=0):
    return np.random.default_rng(seed).random((methods, runs, rows))


def by_draw(runs, draws=None):
    return {(draw, 0): row_scores for draw, row_scores in zip(draws or range(len(runs)), runs, strict=True)}


def test_runs_that_all_methods_have_are_crossed():
    first, second = scores()
    found = compare_runs([[by_draw(first), by_draw(second)]])
    assert found.estimate.shared_runs
    assert found.estimate.run == pytest.approx(estimate([np.stack([first, second])]).run)
    assert (found.unit, found.left_out) == ("draw", (0, 0))


def test_only_shared_runs_are_compared_and_the_others_are_counted():
    first, second = scores()
    found = compare_runs([[by_draw(first), by_draw(second[1:4], [1, 2, 3])]])
    assert found.estimate.shared_runs
    assert found.estimate.means == pytest.approx([first[1:4].mean(), second[1:4].mean()])
    assert found.left_out == (2, 0)


def test_the_order_of_runs_does_not_matter():
    first, second = scores()
    turned = dict(reversed(by_draw(second).items()))
    assert compare_runs([[by_draw(first), turned]]).estimate.run == pytest.approx(
        compare_runs([[by_draw(first), by_draw(second)]]).estimate.run
    )


def test_methods_without_shared_runs_are_compared_by_welch():
    first, second = scores(runs=9)
    found = compare_runs([[by_draw(first), by_draw(second[:5], range(20, 25))]])
    assert not found.estimate.shared_runs
    assert found.left_out == (0, 0)
    assert found.estimate.run == pytest.approx(
        np.diag([first.mean(1).var(ddof=1) / 9, second[:5].mean(1).var(ddof=1) / 5])
    )


def test_without_a_row_part_the_comparison_is_welch_s_t_test():
    """Rows that are all equal inside a run have no part of their own."""
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=10), 3 * generator.normal(size=12) + 1
    known = separate_runs([[np.tile(one[:, None], (1, 20)) for one in (first, second)]])
    gain = interval(known, 0, 1)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert (gain.p, gain.df) == pytest.approx((expected.pvalue, expected.df))


def test_rows_stay_paired_without_shared_runs():
    """An ease of rows that all methods share cancels, although no run is shared."""
    ease = np.random.default_rng(1).normal(size=(2, 1, 200))
    runs, shared = scores(rows=200) + ease, 10 * np.random.default_rng(2).normal(size=200)
    plain, easy = (contrasts(separate_runs([list(one)]), np.array([[1.0, -1.0]])) for one in (runs, runs + shared))
    assert easy.row == pytest.approx(plain.row)


def test_a_method_with_one_run_is_given_the_run_variance_of_the_others():
    first, second = scores(runs=9)
    known = separate_runs([[first, second[:1]]])
    assert known.run is not None
    assert known.run[1, 1] == pytest.approx(first.mean(1).var(ddof=1))
    assert (known.run_df, known.own_run_df.tolist()) == (8, [8, 8])


def test_a_run_variance_that_is_assumed_is_approximate_and_gives_no_chances():
    first, second = scores(runs=9)
    known = separate_runs([[first, second[:1]]])
    assert known.assumed == (1,)
    assert known.approximate
    assert (chances(known).best, chances(known).missing_runs) == (None, 8)
    assert not separate_runs([[first, second]]).assumed


def test_seeds_are_averaged_in_their_draws():
    runs = {(draw, seed): np.full(4, 10 * draw + seed, dtype=float) for draw in range(3) for seed in range(2)}
    assert average_seeds(runs).mean(1).tolist() == [0.5, 10.5, 20.5]


def test_seeds_of_a_single_draw_are_the_runs():
    runs = {(7, seed): np.full(4, float(seed)) for seed in range(3)}
    assert average_seeds(runs).mean(1).tolist() == [0, 1, 2]
    assert compare_runs([[runs, runs]]).unit == "seed"


def test_seeds_of_draws_count_once():
    runs = {(draw, seed): scores(1, 1)[0, 0] + draw + seed for draw in range(4) for seed in range(3)}
    assert compare_runs([[runs, runs]]).estimate.run_df == 3


@pytest.mark.parametrize("tasks", [[], [[]], [[{}]], [[{(0, 0): np.ones(3)}, {}]]])
def test_a_method_without_runs_is_refused(tasks):
    with pytest.raises(ValueError, match="at least one run"):
        compare_runs(tasks)


def test_tasks_with_other_methods_are_refused():
    runs = {(0, 0): np.arange(3.0)}
    with pytest.raises(ValueError, match="2, 1 methods"):
        compare_runs([[runs, runs], [runs]])


def test_runs_on_other_rows_are_refused():
    with pytest.raises(ValueError, match="same rows"):
        average_seeds({(0, 0): np.ones(3), (1, 0): np.ones(4)})
    with pytest.raises(ValueError, match="same rows"):
        separate_runs([[np.ones((2, 3)), np.ones((2, 4))]])


@pytest.mark.parametrize("runs", [(3, 3, 3), (9, 4, 6)])
def test_intervals_of_methods_with_runs_of_their_own_cover(runs):
    """200 repetitions of 3 pairs, with different numbers of runs on the same rows of two tasks."""
    weights, held = pair_weights(3, all_pairs(3)), []
    for tasks in comparisons(200, (2, 9), EQUAL[:3], rows=150):
        known = separate_runs([[method[:number] for method, number in zip(task, runs, strict=True)] for task in tasks])
        found = contrasts(known, weights)
        held.append(np.abs(found.t) <= stats.t.ppf(0.975, found.df))
    assert np.mean(held) > 0.91


def test_seeds_of_one_draw_for_each_method_are_no_draws():
    rows = np.random.default_rng(0).integers(2, size=(2, 3, 20)).astype(float)
    one, two = ({(draw, seed): rows[draw, seed] for seed in range(3)} for draw in (0, 1))
    found = compare_runs([[one, two]])
    assert not found.estimate.shared_runs
    assert found.unit == "seed"
