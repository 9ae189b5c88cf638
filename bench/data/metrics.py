"""Metrics by name, their fit to tasks, and scoring; imports `evaluate` only to score."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tunefront.bench.data.task import Kind, MetricSpec, Task
from tunefront.bench.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunefront.bench.data.metric_classes import InMemoryMetric

METRICS = {
    "accuracy": "share of right answers",
    "macro_f1": "F1 averaged over the classes that occur",
    "f1": "F1 averaged over the labels given in meta.json",
    "matthews": "Matthews correlation coefficient; 0 for constant predictions",
    "pearson": "Pearson correlation; undefined for constant predictions",
    "spearman": "Spearman rank correlation; undefined for constant predictions",
}
_OF_VALUES = frozenset({"pearson", "spearman"})


def known_metrics() -> list[str]:
    """The names of all metrics, sorted."""
    return sorted(METRICS)


def default_metrics(kind: Kind) -> tuple[MetricSpec, ...]:
    """The metrics of a task that declares none."""
    return tuple(MetricSpec(name) for name in (("pearson", "spearman") if kind == "regression" else ("accuracy",)))


def metric_mistakes(metrics: Iterable[MetricSpec], kind: Kind, label_names: Sequence[str]) -> list[str]:
    """One sentence per problem of a task's metrics."""
    mistakes = []
    for metric in metrics:
        if metric.name not in METRICS:
            mistakes.append(unknown("metric", metric.name, METRICS))
        elif (metric.name in _OF_VALUES) != (kind == "regression"):
            suits = sorted(_OF_VALUES if kind == "regression" else METRICS.keys() - _OF_VALUES)
            mistakes.append(f"metric {metric.name!r} does not suit a {kind} task; use {' or '.join(suits)}.")
        elif (metric.name == "f1") != (metric.labels is not None) or metric.labels == ():
            need = 'needs the labels that it averages over: {"name": "f1", "labels": [...]}'
            mistakes.append(f"metric {metric.name!r} {need if metric.name == 'f1' else 'takes no labels'}.")
        else:
            missing = [label for label in metric.labels or () if label not in label_names]
            mistakes += [unknown(f"label of metric {metric.name!r},", label, label_names) for label in missing]
    return mistakes


def score(task: Task, predictions: Sequence[float], labels: Sequence[float] | None = None) -> dict[str, float | None]:
    """The task's metrics by title, headline first; None if a metric is undefined (no rows, NaN).

    Shapes: predictions (n,), class indices, or values for regression; labels (n,), by default those of the
    scored split. Errors: ValueError if their lengths differ.
    """
    if labels is None:
        labels = [row.label for row in task.splits[task.eval_split]]
    return {metric.title: _score(task, metric, predictions, labels) for metric in task.metrics}


def _score(task: Task, metric: MetricSpec, predictions: Sequence[float], labels: Sequence[float]) -> float | None:
    averaged = {} if metric.labels is None else {"labels": [task.label_names.index(name) for name in metric.labels]}
    return _module(metric.name).compute(predictions=predictions, references=labels, **averaged)[metric.name]


@cache
def _module(name: str) -> InMemoryMetric:
    from tunefront.bench.data.metric_classes import CLASSES  # imports evaluate and datasets: seconds

    return CLASSES[name]()
