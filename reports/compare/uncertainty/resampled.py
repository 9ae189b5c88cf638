"""The estimate for metrics that are no means over rows: the row part comes from a bootstrap of rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunefront.reports.compare.uncertainty.crossed import Estimate, Floats, TaskParts, combine, covariance
from tunefront.reports.compare.uncertainty.metrics import Metric, Values

RESAMPLES = 500
FEWEST_RESAMPLES = 100
WORK = 4e8
"""Values that the samples of a task look at, if there are at least `FEWEST_RESAMPLES`."""
NUMBERS = 2_000_000
"""Most rows of all resamples that are scored at once."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """The predictions of one task. Shapes: `predictions` (methods, runs, rows), `labels` (rows,).

    Run s is the same draw and seed for every method. `draws` (runs,): the draw of each run, if several seeds were
    trained on every draw: their scores are averaged, because only draws are independent then. None: runs are.
    """

    predictions: Values
    labels: Values
    draws: Sequence[Hashable] | None = None


def estimate_metric(
    tasks: Sequence[Predicted], metric: Metric, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Means over tasks and their covariance for any metric, like `crossed.estimate` for means over rows.

    The run part is the covariance of the runs' scores. The row part is the covariance of the scores over `resamples`
    bootstrap samples of rows, each the same for all methods and runs; the part of it in which runs differ is the
    interaction of runs and rows. For a mean over rows, both are those of `crossed.estimate` up to chance and a factor
    of (N - 1) / N. Samples in which the metric is undefined are left out.

    Errors: ValueError for no task, shapes that do not fit, numbers of methods that differ, a run whose score is
    undefined, or a metric that is undefined in more than half of the samples.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap; the paired samples are those of Gallas 2006,
    One-shot estimate of MRMC variance: AUC, with a bootstrap for the estimate.
    """
    if not tasks:
        raise ValueError("no task is given; give the predictions of at least one")
    generator = np.random.default_rng(seed)
    return combine([_parts(index, task, metric, resamples, generator) for index, task in enumerate(tasks)])


def affordable_resamples(tasks: Sequence[Predicted]) -> int:
    """The number of samples for tasks of this size: `RESAMPLES`, or fewer for large ones."""
    largest = max(task.predictions.size for task in tasks)
    return int(np.clip(WORK / largest, FEWEST_RESAMPLES, RESAMPLES))


def _parts(index: int, task: Predicted, metric: Metric, resamples: int, generator: np.random.Generator) -> TaskParts:
    predictions, labels = np.asarray(task.predictions), np.asarray(task.labels)
    if predictions.ndim != 3 or labels.shape != predictions.shape[2:] or min(predictions.shape[:2]) < 1:
        raise ValueError(
            f"the predictions of task {index} have shape {predictions.shape} and its labels {labels.shape}; they must "
            "be (methods, runs, rows) and (rows,)"
        )
    rows = len(labels)
    if rows < 2:
        raise ValueError(f"task {index} has fewer than two rows")
    groups = _groups(task.draws, predictions.shape[1])
    scores = _scores(predictions, labels, metric, np.arange(rows)[None, :], groups)[..., 0]
    if not np.isfinite(scores).all():
        raise ValueError(f"the metric is undefined for a run of task {index}; leave that run out for every method")
    at_once = max(1, NUMBERS // rows)
    blocks = [
        _scores(predictions, labels, metric, generator.integers(rows, size=(size, rows)), groups)
        for size in _sizes(resamples, at_once)
    ]
    sampled = np.concatenate(blocks, axis=2)
    sampled = sampled[..., np.isfinite(sampled).all((0, 1))]
    if sampled.shape[2] < max(2, resamples / 2):
        raise ValueError(
            f"the metric is undefined in {resamples - sampled.shape[2]} of {resamples} samples of the rows of task "
            f"{index}: its {rows} rows are too few, or a method gives nearly constant predictions"
        )
    methods, runs, samples = sampled.shape
    total, counts = covariance(sampled.mean(1)), np.full(methods, runs)
    if runs == 1:
        return TaskParts(scores.mean(1), None, None, total, np.zeros_like(total), counts, rows)
    moved = sampled - sampled.mean(2, keepdims=True)
    left = (moved - moved.mean(1, keepdims=True)).reshape(methods, runs * samples)
    residual = left @ left.T / ((runs - 1) * (samples - 1))
    one_run = covariance(scores)
    return TaskParts(scores.mean(1), one_run, one_run / runs, total, residual / runs, counts, rows)


def _scores(predictions: Values, labels: Values, metric: Metric, places: NDArray[np.int64], groups: Floats) -> Floats:
    """The scores (methods, independent runs, samples) of samples of rows (samples, rows)."""
    expected = labels[places]
    scores = np.stack([[metric(run[places], expected) for run in method] for method in predictions])
    averaged: Floats = np.einsum("gr,mrb->mgb", groups, scores)
    return averaged


def _groups(draws: Sequence[Hashable] | None, runs: int) -> Floats:
    """The weight of each run in each independent run, (independent runs, runs)."""
    if draws is None:
        return np.eye(runs)
    if len(draws) != runs:
        raise ValueError(f"{len(draws)} draws are given for {runs} runs")
    names = list(dict.fromkeys(draws))
    belongs = np.array([[draw == name for draw in draws] for name in names], dtype=np.float64)
    weights: Floats = belongs / belongs.sum(1, keepdims=True)
    return weights


def _sizes(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]
