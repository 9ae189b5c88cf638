"""Bounds for several differences at once, against the studentised range and by false alarms of identical methods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.reports.compare.uncertainty.worlds import UNSTABLE, comparisons
from tunefront.reports.compare.uncertainty import simultaneous
from tunefront.reports.compare.uncertainty.contrasts import all_pairs, interval, pair_weights
from tunefront.reports.compare.uncertainty.crossed import Estimate, estimate
from tunefront.reports.compare.uncertainty.simultaneous import (
    against_reference,
    critical_values,
    holm,
    multivariate_t_quantiles,
    tied_set,
)


def known(means, run, row, run_df, row_df=1000):
    means = np.asarray(means, dtype=float)
    runs = None if run is None else np.eye(len(means)) * run
    rows = np.eye(len(means)) * row
    return Estimate(means, means[None], runs, rows, 0 * rows, run_df, row_df, (run_df + 1,), (row_df + 1,))


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(simultaneous, "TIGHTER", 1.0)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("methods", [3, 6, 10])
def test_without_runs_the_bound_of_all_pairs_is_the_studentised_range(methods):
    found = critical_values(known([0.0] * methods, None, 1.0, 0), pair_weights(methods, all_pairs(methods)))
    assert found == pytest.approx(stats.studentized_range.ppf(0.95, methods, 1000) / 2**0.5, rel=0.02)


@pytest.mark.usefixtures("exact")
def test_the_bound_against_a_reference_is_dunnett_s():
    """Three groups and a control, infinite degrees of freedom: 2.35 (Dunnett 1955, table 2b)."""
    found = critical_values(known([0.0] * 4, None, 1.0, 0, 10**6), pair_weights(4, [(1, 0), (2, 0), (3, 0)]))
    assert found == pytest.approx(2.35, abs=0.05)


@pytest.mark.usefixtures("exact")
def test_each_contrast_has_the_multivariate_t_of_its_own_degrees_of_freedom():
    """Dunnett's table: 2.76 with 10 and 2.61 with 15, 3 groups; the draws of one largest |z| serve both."""
    z = np.random.default_rng(0).multivariate_normal(np.zeros(3), (np.ones((3, 3)) + np.eye(3)) / 2, 40_000)
    found = multivariate_t_quantiles(np.abs(z).max(1), np.array([10.0, 15.0, 10.0]), 0.95)
    assert found == pytest.approx([2.76, 2.61, 2.76], abs=0.05)


def test_one_contrast_has_its_own_t_quantile():
    one = known([0.1, 0.0], 1.0, 0.0, 8)
    assert critical_values(one, pair_weights(2, [(0, 1)])) == pytest.approx([stats.t.ppf(0.975, 8)])
    (found, itself) = against_reference(one, 1)
    assert itself is None
    assert found.low == pytest.approx(interval(one, 0, 1).low)


def test_a_seed_gives_the_same_bounds():
    tasks = next(comparisons(1, (2, 3), UNSTABLE))
    assert tied_set(estimate(tasks), seed=3) == tied_set(estimate(tasks), seed=3)


def test_the_intervals_at_once_are_wider_than_each_alone():
    one = estimate(next(comparisons(1, (5, 3), UNSTABLE)))
    for method, found in enumerate(against_reference(one, 0)):
        if method:
            alone = interval(one, method, 0)
            assert found.low < alone.low
            assert found.difference == pytest.approx(alone.difference)


def test_a_method_that_is_far_behind_is_not_tied():
    found = tied_set(known([0.9, 0.895, 0.2], 1e-5, 1e-5, 10))
    assert (found.best, found.tied) == (0, (0, 1))
    assert found.t[2] > found.critical[2]


def test_methods_with_the_same_scores_are_tied():
    scores = np.tile(np.random.default_rng(0).random((1, 3, 20)), (3, 1, 1))
    assert tied_set(estimate([scores, scores])).tied == (0, 1, 2)


def test_a_method_that_is_there_twice_does_not_move_the_bounds():
    """The variance of its difference is 0 but for rounding."""
    tasks = next(comparisons(1, (5, 1), (0.05,) * 4))
    twice = [np.concatenate([scores, scores[:1]]) for scores in tasks]
    bounds = [max(tied_set(estimate(given)).critical) for given in (tasks, twice)]
    assert bounds[1] == pytest.approx(bounds[0], rel=0.02)


def test_a_single_method_is_the_best():
    one = estimate([np.random.default_rng(0).random((1, 3, 20))])
    assert tied_set(one).tied == (0,)
    assert against_reference(one, 0) == [None]


def test_a_reference_that_is_no_method_is_refused():
    with pytest.raises(IndexError, match="0 to 1"):
        against_reference(known([0.0, 0.0], 1.0, 1.0, 8), 2)


def test_holm_s_textbook_case():
    """The p values .01, .04, .03, .005 of four tests (Wikipedia, Holm-Bonferroni method): at .05 the first and last
    are significant."""
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(("methods", "design"), [(6, (5, 3)), (10, (5, 3)), (6, (2, 2)), (10, (1, 3))])
def test_identical_methods_are_rarely_called_different(methods, design):
    """At most 6 %; 100 repetitions have a standard error of .024, so that 13 % would be three of them more."""
    alarms = [
        len(tied_set(estimate(tasks), draws=500, seed=seed).tied) < methods
        for seed, tasks in enumerate(comparisons(100, design, (0.05,) * methods, rows=200))
    ]
    assert np.mean(alarms) <= 0.13


def test_an_unstable_method_is_rarely_called_different():
    alarms = [
        len(tied_set(estimate(tasks), draws=500, seed=seed).tied) < 6
        for seed, tasks in enumerate(comparisons(100, (2, 2), UNSTABLE, rows=200))
    ]
    assert np.mean(alarms) <= 0.13


def test_intervals_against_a_reference_hold_at_once():
    missed = [
        any(found.separates for found in against_reference(estimate(tasks), 0, draws=500, seed=seed) if found)
        for seed, tasks in enumerate(comparisons(100, (5, 3), (0.05,) * 6, rows=200))
    ]
    assert np.mean(missed) <= 0.13


@pytest.mark.parametrize("df", [2, 4, 30])
def test_drawn_covariances_have_the_mean_and_variance_of_wishart(df):
    factors = simultaneous._wishart(np.random.default_rng(0), 20_000, df, 4)
    drawn = np.swapaxes(factors, 1, 2) @ factors
    assert drawn.mean(0) == pytest.approx(df * np.eye(4), abs=0.06 * df)
    assert drawn.var(0) == pytest.approx(df * (1 + np.eye(4)), rel=0.15)


@pytest.mark.parametrize("methods", [1, 2, 5, 40])
def test_quadratic_forms_of_pairs_are_those_of_any_contrasts(methods):
    generator = np.random.default_rng(0)
    factors = generator.standard_normal((7, 3, methods))
    pairs = pair_weights(methods, [(a, b) for a in range(methods) for b in range(methods)])
    mixed = generator.standard_normal((4, methods))
    for weights in (pairs, np.eye(methods), -2 * np.eye(methods), mixed, np.vstack([pairs, mixed])):
        expected = np.einsum("dkm,cm->dkc", factors, weights) ** 2
        np.testing.assert_allclose(simultaneous._quadratic(factors, weights), expected.sum(1), atol=1e-9)
        np.testing.assert_allclose(simultaneous._products(factors[:, 0], weights), factors[:, 0] @ weights.T, atol=1e-9)
