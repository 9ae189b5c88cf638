"""How many more runs, rows or tasks separate two methods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tunefront.reports.compare.uncertainty.crossed import Estimate, estimate
from tunefront.reports.compare.uncertainty.more_data import more_data


def known(*, run, row, difference, runs=9, rows=100, tasks=1, interaction=0.0):
    """Two methods whose difference has the variances `run` and `row`."""
    means = np.array([difference, 0.0])
    half = np.eye(2) / 2
    return Estimate(
        means=means,
        task_means=np.tile(means, (tasks, 1)),
        run=run * half,
        row=row * half,
        residual=interaction * half,
        run_df=tasks * (runs - 1),
        row_df=tasks * (rows - 1),
        runs=(runs,) * tasks,
        rows=(rows,) * tasks,
    )


def test_nothing_is_needed_if_the_interval_excludes_zero():
    found = more_data(known(run=1e-4, row=1e-4, difference=0.5), 0, 1)
    assert found.separated
    assert (found.more_runs, found.more_rows, found.more_tasks, found.pays_most) == (0, 0, 0, None)


def test_the_fewest_further_runs_are_those_whose_half_width_is_below_the_difference():
    found = more_data(known(run=9e-4, row=0.0, difference=0.04), 0, 1)
    widths = {runs: stats.t.ppf(0.975, runs - 1) * (9e-4 * 9 / runs) ** 0.5 for runs in range(9, 60)}
    assert found.half_width == pytest.approx(widths[9])
    assert found.more_runs == min(runs for runs, width in widths.items() if width < 0.04) - 9


def test_runs_pay_where_the_variance_comes_from_runs():
    found = more_data(known(run=9e-4, row=1e-6, difference=0.04), 0, 1)
    assert found.more_rows is None
    assert found.pays_most == "runs"


def test_rows_pay_where_the_variance_comes_from_rows():
    found = more_data(known(run=1e-6, row=9e-4, difference=0.04), 0, 1)
    assert found.more_runs is None
    assert found.pays_most == "rows"
    rows = 100 + found.more_rows
    assert 1.96 * (1e-6 + 9e-4 * 100 / rows) ** 0.5 == pytest.approx(0.04, rel=0.02)


def test_tasks_pay_where_neither_runs_nor_rows_are_enough():
    found = more_data(known(run=9e-4, row=9e-4, difference=0.04), 0, 1)
    assert (found.more_runs, found.more_rows) == (None, None)
    assert found.pays_most == "tasks"


def test_the_interaction_of_runs_and_rows_falls_with_rows():
    without = more_data(known(run=4e-4, row=1e-4, difference=0.045), 0, 1)
    with_it = more_data(known(run=4e-4, row=1e-4, difference=0.045, interaction=3e-4), 0, 1)
    assert without.more_rows is None
    assert with_it.more_rows is not None


def test_equal_means_are_never_separated():
    found = more_data(known(run=1e-4, row=1e-4, difference=0.0), 0, 1)
    assert not found.separated
    assert (found.more_runs, found.more_rows, found.more_tasks, found.pays_most) == (None, None, None, None)


def test_without_a_second_run_runs_come_first():
    scores = np.random.default_rng(0).random((2, 1, 50))
    found = more_data(estimate([scores]), 0, 1)
    assert found.pays_most == "runs"
    assert found.more_runs is None


def test_the_data_that_were_named_separate():
    """With as many runs as were named, and as many tasks, the half-width is below the difference."""
    now = known(run=4e-4, row=2e-4, difference=0.04, runs=4, tasks=2)
    found = more_data(now, 0, 1)
    assert found.more_runs is not None
    runs = 4 + found.more_runs
    later = known(run=4e-4 * 4 / runs, row=2e-4, difference=0.04, runs=runs, tasks=2)
    assert more_data(later, 0, 1).separated
    assert found.more_tasks is not None
    tasks = 2 + found.more_tasks
    assert more_data(known(run=8e-4 / tasks, row=4e-4 / tasks, difference=0.04, runs=4, tasks=tasks), 0, 1).separated
