"""The covariance of methods' means against the Obuchowski-Rockette formulas, written down a second time here."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.reports.compare.uncertainty.worlds import comparisons
from tunefront.reports.compare.uncertainty.crossed import estimate


def obuchowski_rockette(scores):
    """(run part, row part) of the difference of two methods: 2 MS(TR) / J and 2 (Cov2 - Cov3), by their definitions."""
    _, runs, rows = scores.shape
    accuracy = [[sum(run) / rows for run in method] for method in scores]
    of_method = [sum(method) / runs for method in accuracy]
    of_run = [sum(method[run] for method in accuracy) / 2 for run in range(runs)]
    grand = sum(of_method) / 2
    interaction = sum(
        (accuracy[method][run] - of_method[method] - of_run[run] + grand) ** 2
        for method in range(2)
        for run in range(runs)
    ) / (runs - 1)

    def mean_covariance(pairs):
        found = [
            sum((scores[i][run] - accuracy[i][run]) * (scores[j][other] - accuracy[j][other])) / (rows - 1) / rows
            for (i, j) in pairs
            for run, other in itertools.permutations(range(runs), 2)
        ]
        return sum(found) / len(found)

    same, different = mean_covariance([(0, 0), (1, 1)]), mean_covariance([(0, 1), (1, 0)])
    return 2 * interaction / runs, 2 * (same - different)


def dependent_rows(seed=0, runs=4, rows=40):
    """Scores of two methods whose row part is positive: rows are easy for one method and hard for the other."""
    generator = np.random.default_rng(seed)
    ease = generator.normal(size=(2, 1, rows))
    return ease + 0.2 * generator.normal(size=(2, runs, 1)) + 0.3 * generator.normal(size=(2, runs, rows))


def test_both_parts_of_a_difference_are_those_of_obuchowski_and_rockette():
    scores = dependent_rows()
    known, contrast = estimate([scores]), np.array([1.0, -1.0])
    expected = obuchowski_rockette(scores)
    assert contrast @ known.run @ contrast == pytest.approx(expected[0])
    assert contrast @ known.row @ contrast == pytest.approx(expected[1])


def test_the_parts_of_several_tasks_add_up_over_the_square_of_their_number():
    tasks = [dependent_rows(0, rows=40), dependent_rows(1, rows=25), dependent_rows(2, rows=60)]
    known, alone = estimate(tasks), [estimate([scores]) for scores in tasks]
    assert known.run == pytest.approx(sum(part.run for part in alone) / 9)
    assert known.row == pytest.approx(sum(part.row for part in alone) / 9)
    assert known.means == pytest.approx(np.mean([scores.mean((1, 2)) for scores in tasks], axis=0))


def test_degrees_of_freedom_add_up_over_tasks_of_different_sizes():
    known = estimate([dependent_rows(runs=4, rows=40), dependent_rows(runs=3, rows=25)])
    assert (known.run_df, known.row_df) == (3 + 2, 39 + 24)
    assert (known.runs, known.rows) == ((4, 3), (40, 25))


def test_two_rows_and_two_runs_by_hand():
    """The first method has rows 1 and 0 in both runs, the second both right in one run and none in the other."""
    scores = np.array([[[1, 0], [1, 0]], [[1, 1], [0, 0]]], dtype=float)
    known = estimate([scores, scores])
    assert known.means.tolist() == [0.5, 0.5]
    # Scores of runs (1/2, 1/2) and (1, 0), variances 0 and 1/2 of one run; over 2 runs, and 2 tasks of weight 1/4.
    assert known.run == pytest.approx(np.diag([0, 1 / 2]) / 2 * 2 / 4)
    # Rows of different runs: variance 1/2 for the first method, nothing for the second; over 2 rows.
    assert known.row == pytest.approx(np.diag([1 / 2, 0]) / 2 * 2 / 4)


def test_with_one_run_the_rows_still_give_a_variance():
    scores = dependent_rows(runs=1)
    known = estimate([scores])
    assert known.run is None
    assert known.run_df == 0
    assert known.covariance == pytest.approx(np.cov(scores[:, 0]) / 40)


def test_one_task_with_two_runs_is_about_checkpoints_only():
    scores = dependent_rows(runs=2)
    known = estimate([scores])
    assert known.run_df == 1
    assert known.checkpoints_only
    assert known.covariance == pytest.approx(np.cov(scores.mean(1)) / 40)


@pytest.mark.parametrize(("tasks", "runs", "approximate"), [(1, 3, True), (2, 4, True), (4, 3, False), (1, 9, False)])
def test_an_estimate_is_approximate_below_eight_degrees_of_freedom(tasks, runs, approximate):
    known = estimate([dependent_rows(seed, runs=runs) for seed in range(tasks)])
    assert known.approximate is approximate
    assert not known.checkpoints_only


def test_a_task_with_one_run_is_given_the_run_variance_of_the_others():
    several = [dependent_rows(seed) for seed in range(2)]
    alone = [estimate([scores]).run for scores in several]
    known = estimate([*several, dependent_rows(2, runs=1)])
    one_run = sum(4 * part for part in alone) / 2
    assert known.run == pytest.approx((sum(alone) + one_run) / 9)


def test_both_parts_are_unbiased():
    """Run variance 4, row variance 9, interaction 1 in each method, independent: 3 runs, 20 rows."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(1000):
        scores = 3 * generator.normal(size=(3, 1, 20)) + 2 * generator.normal(size=(3, 3, 1))
        known = estimate([scores + generator.normal(size=(3, 3, 20))])
        found.append((np.trace(known.run) / 3, np.trace(known.row) / 3))
    run, row = np.mean(found, axis=0)
    assert run == pytest.approx((4 + 1 / 20) / 3, rel=0.1)
    assert row == pytest.approx(9 / 20, rel=0.05)


def test_the_row_part_is_positive_semidefinite():
    tasks = next(comparisons(1, (1, 3), (0.05,) * 6, rows=10))
    assert np.linalg.eigvalsh(estimate(tasks).row).min() > -1e-12


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        ([], "no task"),
        ([np.ones((2, 3))], "shape"),
        ([np.ones((2, 3, 1))], "two rows"),
        ([np.ones((2, 0, 5))], "one run"),
        ([np.full((2, 2, 5), np.nan)], "finite"),
        ([np.ones((2, 3, 5)), np.ones((3, 3, 5))], "2, 3 methods"),
    ],
)
def test_scores_that_do_not_fit_are_refused(tasks, problem):
    with pytest.raises(ValueError, match=problem):
        estimate(tasks)
