"""Ranks over tasks against scipy, a published table and a textbook example."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tunefront.reports.compare.uncertainty import ranks
from tunefront.reports.compare.uncertainty.ranks import FEWEST_TASKS, rank

DEMSAR = np.array(
    # Demsar 2006, table 6: AUC of C4.5 with its parameters m, cf, neither and both fitted, on 14 data sets.
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_mean_ranks_and_the_critical_difference_are_those_of_the_paper():
    found = rank(DEMSAR)
    assert found is not None
    assert found.mean.round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)


def test_friedman_is_scipys():
    found = rank(DEMSAR)
    assert found is not None
    assert found.p == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).pvalue)


def test_wilcoxon_against_a_reference_is_scipys_with_holm():
    found = rank(DEMSAR, reference=0)
    assert found is not None
    assert found.wilcoxon is not None
    single = [stats.wilcoxon(DEMSAR[:, k] - DEMSAR[:, 0], zero_method="zsplit").pvalue for k in (1, 2, 3)]
    assert math.isnan(found.wilcoxon[0])
    assert found.wilcoxon[1:].min() == pytest.approx(min(1, 3 * min(single)))


@pytest.mark.parametrize("digits", [0, 1, 5])
@pytest.mark.parametrize("tasks", [8, 11, 20])
def test_signed_ranks_are_scipys_with_ties_and_zeros(tasks, digits):
    differences = np.random.default_rng(tasks).normal(0.5, 1, tasks).round(digits)
    method = "auto" if tasks <= ranks.MOST_EXACT else "approx"
    expected = stats.wilcoxon(differences, zero_method="zsplit", method=method).pvalue
    assert ranks._signed_rank(differences) == pytest.approx(expected)


def test_few_tasks_cannot_rank():
    assert rank(DEMSAR[: FEWEST_TASKS - 1]) is None
    assert rank(DEMSAR[:FEWEST_TASKS]) is not None


def test_tied_methods_have_equal_ranks_and_no_difference():
    found = rank(np.ones((9, 3)), reference=1)
    assert found is not None
    assert found.mean.tolist() == [2.0, 2.0, 2.0]
    assert found.p == 1.0
    assert found.wilcoxon is not None
    assert found.wilcoxon[[0, 2]].tolist() == [1.0, 1.0]


def test_two_methods_have_no_friedman_test():
    found = rank(DEMSAR[:, :2])
    assert found is not None
    assert found.p is None
