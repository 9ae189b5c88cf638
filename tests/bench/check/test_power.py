"""Rows that a difference takes, against simulations with wide margins."""

from __future__ import annotations

import numpy as np
import pytest

from tests.toys import toy_task
from tunefront.bench.check.findings import Baseline
from tunefront.bench.check.power import power, rows_for_accuracy, rows_for_pearson, visible_difference


@pytest.mark.parametrize(("difference", "disagreement"), [(0.05, 0.1), (0.05, 0.3), (0.1, 0.2)])
def test_as_many_rows_show_the_difference_in_four_of_five_cases(difference: float, disagreement: float) -> None:
    rows = rows_for_accuracy(difference, disagreement)
    assert rows is not None
    draws = np.random.default_rng(0).multinomial(
        rows, [(disagreement + difference) / 2, (disagreement - difference) / 2, 1 - disagreement], size=4000
    )
    better, worse = draws[:, 0], draws[:, 1]
    seen = np.abs(better - worse) > 1.96 * np.sqrt(np.maximum(better + worse, 1))  # McNemar's test
    assert 0.75 < seen.mean() < 0.85


@pytest.mark.parametrize("correlation", [0.5, 0.8])
def test_as_many_rows_show_a_difference_of_correlations(correlation: float) -> None:
    difference = 0.05
    rows = rows_for_pearson(difference, correlation)
    first, second = correlation + difference / 2, correlation - difference / 2
    between = (1 + correlation**2) / 2
    root = np.linalg.cholesky(np.array([[1, first, second], [first, 1, between], [second, between, 1]]))
    generator = np.random.default_rng(0)
    found = []
    for _ in range(1500):
        table = np.corrcoef((generator.standard_normal((rows, 3)) @ root.T).T)
        found.append(table[0, 1] - table[0, 2])
    seen = np.abs(found) > 1.96 * np.std(found)
    assert 0.7 < seen.mean() < 0.9


def test_a_published_example() -> None:
    """Of calculators that cite Connor: one alone is right in 45 and in 5 % of the pairs."""
    assert rows_for_accuracy(0.4, 0.5) == 23


def test_fewer_disagreements_take_fewer_rows() -> None:
    assert (rows_for_accuracy(0.02, 0.05) or 0) < (rows_for_accuracy(0.02, 0.2) or 0)


def test_models_that_disagree_on_fewer_rows_than_the_difference_cannot_differ_so_much() -> None:
    assert rows_for_accuracy(0.02, 0.01) is None


@pytest.mark.parametrize("rows", [100, 1000, 100_000])
def test_the_visible_difference_is_the_one_that_takes_these_rows(rows: int) -> None:
    visible = visible_difference(rows, 0.2)
    assert visible is not None
    assert rows_for_accuracy(visible, 0.2) == pytest.approx(rows, rel=0.02)


def test_a_few_rows_show_nothing() -> None:
    assert visible_difference(10, 0.1) is None


def test_a_better_baseline_means_that_fewer_rows_are_enough() -> None:
    task = toy_task()
    rows = [power(task, Baseline("accuracy", 0.5, each, accuracy=each)).rows or 0 for each in (0.9, 0.75)]
    assert rows[0] < rows[1]
