"""The metrics as `evaluate.Metric` subclasses; importing this file imports `evaluate`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import datasets
import evaluate
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]


class InMemoryMetric(evaluate.Metric, ABC):  # type: ignore[misc]  # evaluate has no types
    """A metric that neither downloads nor writes files: predictions and references stay in memory.

    `evaluate` keeps even one batch in an Arrow file under the user's cache; two processes then share its lock. Here
    `compute(predictions=..., references=...)` goes straight to the formula, and `add_batch` buffers in memory.
    """

    title: ClassVar[str]
    value_type: ClassVar[str] = "int64"

    def __init__(self, config_name: str | None = None, **kwargs: object):
        super().__init__(config_name, **{"keep_in_memory": True, **kwargs})

    def _info(self) -> evaluate.MetricInfo:
        value = datasets.Value(self.value_type)
        features = datasets.Features({"predictions": value, "references": value})
        description = (type(self).__doc__ or "").split("\n")[0]
        return evaluate.MetricInfo(description=description, citation="", features=features)

    def _build_data_dir(self) -> str:
        return os.path.join(self._data_dir_root, self.name, self.config_name)

    def compute(
        self, *, predictions: ArrayLike | None = None, references: ArrayLike | None = None, **kwargs: object
    ) -> dict[str, float | None]:
        """The score under the metric's own name; None if it is undefined.

        Shapes: predictions (n,), references (n,): class indices, or values for correlations; without them, those
        collected by `add_batch`. Errors: ValueError if their lengths differ.
        """
        if predictions is None and references is None:
            scores: dict[str, float | None] = super().compute(**kwargs)
            return scores
        return self._compute(predictions=predictions, references=references, **kwargs)  # type: ignore[arg-type]

    def _compute(self, *, predictions: ArrayLike, references: ArrayLike, **kwargs: object) -> dict[str, float | None]:
        predicted, expected = (np.asarray(values, dtype=np.float64).reshape(-1) for values in (predictions, references))
        if len(predicted) != len(expected):
            raise ValueError(f"{self.title}: {len(predicted)} predictions for {len(expected)} references")
        if not len(predicted) or not (np.isfinite(predicted).all() and np.isfinite(expected).all()):
            return {self.title: None}
        return {self.title: self.value(predicted, expected, **kwargs)}

    @abstractmethod
    def value(self, predicted: Values, expected: Values) -> float | None:
        """The formula, for at least one finite value; None if it is undefined."""


class Accuracy(InMemoryMetric):
    """Share of the predictions that equal their reference."""

    title = "accuracy"

    def value(self, predicted: Values, expected: Values) -> float:
        return float(np.mean(predicted == expected))


class F1(InMemoryMetric):
    """Unweighted mean F1 over the class indices `labels`, or over all that occur if `labels` is None.

    As in scikit-learn with zero_division=0: a class neither predicted nor in the references counts 0.
    """

    title = "f1"

    def value(self, predicted: Values, expected: Values, labels: Sequence[int] | None = None) -> float:
        classes = np.union1d(predicted, expected) if labels is None else np.asarray(labels, dtype=np.float64)
        is_predicted, is_expected = predicted == classes[:, None], expected == classes[:, None]
        hits, total = (is_predicted & is_expected).sum(1), is_predicted.sum(1) + is_expected.sum(1)
        return float(np.mean(2 * hits / np.maximum(total, 1)))


class MacroF1(F1):
    """Unweighted mean F1 over the classes that occur in predictions or references."""

    title = "macro_f1"


class Matthews(InMemoryMetric):
    """Matthews correlation for any number of classes (Gorodkin's R_K); 0 for constant predictions, as in GLUE.

    Source: Gorodkin 2004, Comparing two K-category assignments by a K-category correlation coefficient.
    """

    title = "matthews"

    def value(self, predicted: Values, expected: Values) -> float:
        classes = np.union1d(predicted, expected)[:, None]
        predicted_counts, counts = (predicted == classes).sum(1), (expected == classes).sum(1)
        rows, hits = len(predicted), int((predicted == expected).sum())
        covariance = hits * rows - int(predicted_counts @ counts)
        spread = (rows**2 - int(predicted_counts @ predicted_counts)) * (rows**2 - int(counts @ counts))
        return covariance / spread**0.5 if spread else 0.0


class Pearson(InMemoryMetric):
    """Pearson correlation; None if either side is constant."""

    title = "pearson"
    value_type = "float64"

    def value(self, predicted: Values, expected: Values) -> float | None:
        return _correlation(predicted, expected)


class Spearman(InMemoryMetric):
    """Spearman rank correlation, with mean ranks for ties; None if either side is constant."""

    title = "spearman"
    value_type = "float64"

    def value(self, predicted: Values, expected: Values) -> float | None:
        return _correlation(_ranks(predicted), _ranks(expected))


def _correlation(left: Values, right: Values) -> float | None:
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    left, right = (_unit(values) for values in (left, right))
    return float(np.clip(left @ right, -1.0, 1.0))


def _unit(values: Values) -> Values:
    """Centred, of unit norm; halved and scaled first, so that neither tiny nor huge values over- or underflow."""
    halves = values / 2
    centred = halves - halves.mean()
    centred = centred / np.abs(centred).max()
    unit: Values = centred / np.linalg.norm(centred)
    return unit


def _ranks(values: Values) -> Values:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Values = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


CLASSES: dict[str, type[InMemoryMetric]] = {
    metric.title: metric for metric in (Accuracy, MacroF1, F1, Matthews, Pearson, Spearman)
}
