"""Metrics that are no means over rows: their estimate against that of means, and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.reports.compare.uncertainty.worlds import probabilities
from tunefront.reports.compare.uncertainty.contrasts import all_pairs, contrasts, pair_weights
from tunefront.reports.compare.uncertainty.crossed import estimate
from tunefront.reports.compare.uncertainty.metrics import accuracy, macro_f1, spearman
from tunefront.reports.compare.uncertainty.resampled import Predicted, estimate_metric
from tunefront.reports.compare.uncertainty.runs import average_seeds


def task(seed=0, *, runs=3, rows=200, deviations=(0.05, 0.05, 0.05)):
    """Predictions of two classes."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(rows) < 0.35).astype(np.int64)
    chances = probabilities(generator, deviations, runs, rows)
    right = generator.random(chances.shape) < chances
    return Predicted(np.where(right, labels, 1 - labels), labels)


def test_for_accuracy_the_estimate_is_that_of_means_over_rows():
    tasks = [task(0), task(1)]
    known = estimate_metric(tasks, accuracy, resamples=4000)
    expected = estimate([(one.predictions == one.labels).astype(float) for one in tasks])
    assert known.means == pytest.approx(expected.means)
    assert known.run == pytest.approx(expected.run)
    assert np.diag(known.row) == pytest.approx(np.diag(expected.row), rel=0.1)
    assert np.diag(known.residual) == pytest.approx(np.diag(expected.residual), rel=0.1)
    assert (known.run_df, known.row_df) == (expected.run_df, expected.row_df)


def test_the_run_part_is_that_of_the_scores_of_runs():
    one = task()
    known = estimate_metric([one], macro_f1, resamples=20)
    scores = [macro_f1(method, np.tile(one.labels, (3, 1))) for method in one.predictions]
    assert known.run == pytest.approx(np.cov(scores) / 3)
    assert known.means == pytest.approx(np.mean(scores, axis=1))


def test_a_seed_gives_the_same_estimate_whatever_fits_into_a_block(monkeypatch):
    known = estimate_metric([task()], macro_f1, resamples=30, seed=1)
    monkeypatch.setattr("tunefront.reports.compare.uncertainty.resampled.NUMBERS", 1000)
    assert estimate_metric([task()], macro_f1, resamples=30, seed=1).row == pytest.approx(known.row)
    assert estimate_metric([task()], macro_f1, resamples=30, seed=2).row != pytest.approx(known.row)


def test_equal_predictions_differ_neither_by_runs_nor_by_rows():
    """The samples of rows are common to all methods."""
    one = task()
    same = Predicted(np.stack([one.predictions[0], one.predictions[0]]), one.labels)
    (gain,) = contrasts(estimate_metric([same], macro_f1, resamples=30), np.array([[1.0, -1.0]])).standard_errors
    assert gain == pytest.approx(0, abs=1e-9)


def test_seeds_of_a_draw_are_averaged():
    one = task(runs=4)
    draws = (0, 0, 1, 1)
    known = estimate_metric([Predicted(one.predictions, one.labels, draws)], accuracy, resamples=30)
    right = (one.predictions == one.labels).astype(float)
    runs = [average_seeds({(draw, run): method[run] for run, draw in enumerate(draws)}) for method in right]
    expected = np.cov(np.mean(runs, axis=2)) / 2
    alone = estimate_metric([Predicted(one.predictions, one.labels, draws)] * 2, accuracy, resamples=30)
    assert known.checkpoints_only  # one task with two draws
    assert alone.run == pytest.approx(expected / 2)


def test_with_one_run_the_rows_alone_are_resampled():
    known = estimate_metric([task(runs=1)], macro_f1, resamples=50)
    assert known.run is None
    assert (np.diag(known.row) > 0).all()


def test_a_run_without_a_score_is_refused():
    constant = Predicted(np.ones((2, 2, 10)), np.arange(10.0))
    with pytest.raises(ValueError, match="undefined for a run"):
        estimate_metric([constant], spearman)


def test_too_few_samples_with_a_score_are_refused():
    def metric(predictions, labels):  # undefined where a row is drawn twice
        return np.array([1.0 if len(np.unique(sample)) == len(sample) else np.nan for sample in labels])

    with pytest.raises(ValueError, match="undefined in"):
        estimate_metric([Predicted(np.ones((2, 2, 10)), np.arange(10.0))], metric, resamples=20)


@pytest.mark.parametrize(
    "wrong",
    [Predicted(np.ones((2, 3)), np.ones(3)), Predicted(np.ones((2, 3, 4)), np.ones(5))],
)
def test_predictions_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="shape"):
        estimate_metric([wrong], accuracy)


@pytest.mark.parametrize("metric", [macro_f1, spearman])
def test_intervals_of_such_a_metric_cover(metric):
    """Nine runs of one task; 60 repetitions of 3 pairs."""
    weights = pair_weights(3, all_pairs(3))
    held = []
    for seed in range(60):
        found = contrasts(estimate_metric([task(seed, runs=9, rows=100)], metric, resamples=60), weights)
        held.append(np.abs(found.t) <= stats.t.ppf(0.975, found.df))
    assert np.mean(held) > 0.87
