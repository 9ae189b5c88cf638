"""Metrics that are no means over rows, for many samples of rows at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tunefront.reports.compare.uncertainty.crossed import Floats

Values = NDArray[Any]
MOST_CODES = 256
"""Class indices below this are counted as they are; other classes are numbered first."""
Metric = Callable[[Values, Values], Floats]
"""(predictions, labels), (samples, rows) each -> (samples,); NaN where the metric is undefined. Higher is better."""


def accuracy(predictions: Values, labels: Values) -> Floats:
    """Share of the predictions that equal their label. Shapes: those of `Metric`."""
    shares: Floats = (predictions == labels).mean(1)
    return shares


def macro_f1(predictions: Values, labels: Values) -> Floats:
    """Unweighted mean F1 over the classes that occur in a sample's predictions or labels. Shapes: those of `Metric`.

    >>> macro_f1(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]])).round(4).tolist()
    [0.7333]
    """
    predicted, expected, hits = _counts(predictions, labels)
    total = predicted + expected
    f1 = 2 * hits / np.maximum(total, 1)
    means: Floats = f1.sum(1) / (total > 0).sum(1)
    return means


def f1(*classes: object) -> Metric:
    """The metric of unweighted mean F1 over given classes. A class that does not occur counts 0."""

    def mean_f1(predictions: Values, labels: Values) -> Floats:
        scores = []
        for label in classes:
            predicted, expected = predictions == label, labels == label
            total = predicted.sum(1) + expected.sum(1)
            scores.append(2 * (predicted & expected).sum(1) / np.maximum(total, 1))
        means: Floats = np.mean(scores, axis=0)
        return means

    return mean_f1


def matthews(predictions: Values, labels: Values) -> Floats:
    """Matthews correlation for any number of classes; 0 for constant predictions. Shapes: those of `Metric`.

    Source: Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient.
    """
    predicted, expected, hits = _counts(predictions, labels)
    rows = labels.shape[1]
    shared = hits.sum(1) * rows - (predicted * expected).sum(1)
    spread = (rows**2 - (predicted**2).sum(1)) * (rows**2 - (expected**2).sum(1))
    correlations: Floats = np.divide(shared, np.sqrt(spread), out=np.zeros(len(labels)), where=spread > 0)
    return correlations


def pearson(predictions: Values, labels: Values) -> Floats:
    """Pearson correlation; NaN if either side is constant. Shapes: those of `Metric`."""
    left, right = (np.asarray(values, dtype=np.float64) for values in (predictions, labels))
    left, right = left - left.mean(1, keepdims=True), right - right.mean(1, keepdims=True)
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    correlations: Floats = np.divide((left * right).sum(1), norms, out=np.full(len(left), np.nan), where=norms > 0)
    return correlations


def spearman(predictions: Values, labels: Values) -> Floats:
    """Spearman rank correlation, mean ranks for ties; NaN if either side is constant. Shapes: those of `Metric`."""
    return pearson(stats.rankdata(predictions, axis=1), stats.rankdata(labels, axis=1))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
"""Metrics under the names that records use. `f1` needs its classes: see `f1`."""


def _counts(predictions: Values, labels: Values) -> tuple[Floats, Floats, Floats]:
    """Per sample and class: predictions, labels, and predictions that are right, (samples, classes) each."""
    samples, rows = labels.shape
    both = np.stack([predictions, labels])
    if both.dtype.kind in "iu" and both.min() >= 0 and both.max() < MOST_CODES:
        classes, codes = int(both.max()) + 1, both  # no sorting: a bootstrap spends most of its time here
    else:
        names, codes = np.unique(both, return_inverse=True)
        classes = len(names)
    offsets = np.arange(samples)[:, None] * classes
    predicted, expected = codes.reshape(2, samples, rows) + offsets
    right = predicted == expected

    def count(places: NDArray[np.int64]) -> Floats:
        return np.bincount(places.ravel(), minlength=samples * classes).reshape(samples, -1).astype(np.float64)

    return count(predicted), count(expected), count(predicted[right])
