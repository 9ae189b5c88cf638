"""McNemar's exact test of two checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.reports.compare.uncertainty.worlds import comparisons
from tunefront.reports.compare.uncertainty.checkpoints import compare_checkpoints


def test_the_p_value_is_the_exact_binomial_one():
    """Six rows against one: 2 (1 + 7) / 2^7."""
    first = np.array([1] * 6 + [0] + [1] * 5)
    second = np.array([0] * 6 + [1] + [1] * 5)
    found = compare_checkpoints(first, second, np.ones(12, dtype=int))
    assert (found.only_first, found.only_second, found.rows) == (6, 1, 12)
    assert found.p == pytest.approx(16 / 128)
    assert found.difference == pytest.approx(5 / 12)


def test_agresti_s_approval_ratings():
    """86 and 150 of 1,600 people changed their mind (Agresti 2002, Categorical data analysis, table 10.1): the exact p
    value is that of the binomial test, near that of McNemar's statistic 17.36."""
    first = np.array([1] * 150 + [0] * 86 + [1] * 794 + [0] * 570)
    second = np.array([0] * 150 + [1] * 86 + [1] * 794 + [0] * 570)
    found = compare_checkpoints(first, second, np.ones(1600, dtype=int))
    assert found.p == pytest.approx(2 * stats.binom.cdf(86, 236, 0.5))
    assert found.p == pytest.approx(stats.chi2.sf(17.36, 1), rel=0.4)


def test_checkpoints_with_the_same_errors_do_not_differ():
    found = compare_checkpoints(["a", "b"], ["a", "b"], ["a", "a"])
    assert (found.p, found.difference) == (1.0, 0.0)


def test_identical_methods_give_checkpoints_that_differ():
    """Why it is no test of methods: with 5 points between seeds it finds far more than 5 % differences."""
    alarms = [
        compare_checkpoints(scores[0, 0], scores[1, 0], np.ones(1000)).p < 0.05
        for (scores,) in comparisons(100, (1, 1), (0.05, 0.05), rows=1000)
    ]
    assert np.mean(alarms) > 0.3


@pytest.mark.parametrize(("first", "labels"), [([1, 0], [1, 0, 1]), ([], []), ([[1]], [[1]])])
def test_vectors_that_do_not_fit_are_refused(first, labels):
    with pytest.raises(ValueError, match="rows"):
        compare_checkpoints(first, first, labels)
