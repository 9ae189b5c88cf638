"""Differences between methods: the textbook case of two tests and five readers, and moderated variances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.reports.compare.uncertainty.worlds import DESIGNS, EQUAL, UNSTABLE, comparisons
from tunefront.reports.compare.uncertainty.contrasts import (
    Contrasts,
    all_pairs,
    contrasts,
    interval,
    intervals,
    mean_of_pairs,
    new_tasks,
    pair_weights,
)
from tunefront.reports.compare.uncertainty.crossed import Estimate, estimate


def made(run, row, run_df, *, means=None, row_df=10**9, own=None, tasks=1):
    run, row = np.asarray(run, dtype=float), np.asarray(row, dtype=float)
    means = np.zeros(len(run)) if means is None else np.asarray(means, dtype=float)
    runs = (1 + run_df // tasks,) * tasks
    return Estimate(
        means, np.tile(means, (tasks, 1)), run, row, np.zeros_like(row), run_df, row_df, runs, (100,) * tasks, own
    )


def test_the_textbook_case_of_two_tests_and_five_readers():
    """Van Dyke's data (1993): spin echo and cine MRI, five readers. MS(TR), Cov2 and Cov3 as published; Hillis' degrees
    of freedom are 15.26, the standard error .0207, p .0517 (Chakraborty 2017, Observer performance methods, chapter
    10)."""
    interaction, same, different = 0.00055103, 0.00034407, 0.00023903
    known = made(np.eye(2) * interaction / 5, np.eye(2) * (same - different), 4, means=(0.94083736, 0.89703704))
    gain = interval(known, 0, 1)
    assert gain.standard_error == pytest.approx(0.02074862, rel=1e-3)
    assert gain.df == pytest.approx(15.26, abs=0.01)
    assert gain.p == pytest.approx(0.0517, abs=1e-3)


def test_a_pair_of_rows_alone_has_the_paired_t_interval():
    scores = np.random.default_rng(0).random((2, 1, 30))
    gain = interval(estimate([scores]), 0, 1)
    expected = stats.ttest_rel(scores[0, 0], scores[1, 0])
    low, high = expected.confidence_interval(0.95)
    assert (gain.low, gain.high, gain.p) == pytest.approx((low, high, expected.pvalue))


def test_from_eight_degrees_of_freedom_on_each_pair_has_its_own_run_variance():
    known = contrasts(made(np.diag([1.0, 1.0, 16.0]), np.zeros((3, 3)), 8), pair_weights(3, all_pairs(3)))
    assert known.run.tolist() == [2.0, 17.0, 17.0]
    assert known.df == pytest.approx(np.full(3, 8.0))


def test_below_eight_a_run_variance_is_the_larger_of_its_own_and_the_moderated_one():
    known = contrasts(made(np.diag([1.0, 1.0, 16.0]), np.zeros((3, 3)), 4), pair_weights(3, all_pairs(3)))
    assert known.run == pytest.approx([(4 * 2 + 4 * 12) / 8, 17, 17])
    assert known.df == pytest.approx([8, 4, 4])


def test_two_methods_gain_no_degrees_of_freedom_from_each_other():
    known = contrasts(made(np.eye(2), np.zeros((2, 2)), 2), pair_weights(2, [(0, 1)]))
    assert known.df == pytest.approx([2.0])


def test_welch_has_its_own_degrees_of_freedom():
    first, second = np.random.default_rng(0).normal(size=9), 3 * np.random.default_rng(1).normal(size=12)
    variances = np.diag([first.var(ddof=1) / 9, second.var(ddof=1) / 12])
    means = (first.mean(), second.mean())
    gain = interval(made(variances, np.zeros((2, 2)), 8, means=means, own=np.array([8, 11])), 0, 1)
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert (gain.df, gain.p) == pytest.approx((expected.df, expected.pvalue))


def test_the_mean_of_pairs_is_the_mean_over_all_differences():
    root = np.random.default_rng(0).normal(size=(5, 5))
    matrix = root @ root.T
    pairs = [matrix[i, i] + matrix[j, j] - 2 * matrix[i, j] for i, j in all_pairs(5)]
    assert mean_of_pairs(matrix) == pytest.approx(np.mean(pairs))


def test_methods_that_never_differ_have_a_difference_of_zero_and_no_alarm():
    scores = np.tile(np.random.default_rng(0).random((1, 3, 20)), (2, 1, 1))
    gain = interval(estimate([scores, scores]), 0, 1)
    assert (gain.difference, gain.low, gain.high, gain.p) == pytest.approx((0, 0, 0, 1))
    assert not gain.separates


def test_a_difference_without_any_variance_separates():
    (gain,) = intervals(Contrasts(np.array([0.5]), np.zeros(1), np.zeros(1), np.array([np.inf])))
    assert gain.separates
    assert gain.p == 0


def test_weights_that_are_no_contrast_are_refused():
    with pytest.raises(ValueError, match="sum to 0"):
        contrasts(made(np.eye(2), np.eye(2), 8), np.array([[1.0, 0.0]]))


def test_new_tasks_are_a_t_test_over_six_tasks_or_more():
    tasks = [np.random.default_rng(seed).random((2, 3, 20)) for seed in range(6)]
    gains = [scores[0].mean() - scores[1].mean() for scores in tasks]
    found = new_tasks(estimate(tasks), 0, 1)
    assert found is not None
    assert found.p == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)
    assert new_tasks(estimate(tasks[:5]), 0, 1) is None


def coverage(design, deviations, repetitions, methods=6):
    """(pairs with the last method, other pairs): shares of intervals that contain the true difference, 0."""
    pairs = all_pairs(methods)
    weights, with_last = pair_weights(methods, pairs), np.array([second == methods - 1 for _, second in pairs])
    held = []
    for tasks in comparisons(repetitions, design, deviations[-methods:]):
        found = contrasts(estimate(tasks), weights)
        held.append(np.abs(found.t) <= stats.t.ppf(0.975, found.df))
    shares = np.mean(held, axis=0)
    return shares[with_last].mean(), (shares[~with_last].mean() if not with_last.all() else None)


@pytest.mark.parametrize("design", DESIGNS)
def test_intervals_of_equally_stable_methods_cover(design):
    """Standard error of a share of 150 repetitions: .018 for one pair; the mean over 15 correlated pairs has less."""
    odd, others = coverage(design, EQUAL, 150)
    assert odd > 0.91
    assert others > 0.92


@pytest.mark.parametrize("design", DESIGNS)
def test_intervals_cover_nearly_as_often_if_one_method_is_unstable(design):
    odd, others = coverage(design, UNSTABLE, 150)
    assert odd > 0.87
    assert others > 0.92


@pytest.mark.parametrize("design", [(1, 3), (2, 2)])
def test_intervals_of_two_methods_cover(design):
    share, _ = coverage(design, EQUAL, 200, methods=2)
    assert share > 0.90
