"""Answers from scores."""

from __future__ import annotations

from torch import Tensor

from tunefront.bench.data.task import Task


def predictions_of(task: Task, scores: Tensor) -> list[int] | list[float]:
    """The choice with the highest score (the first one in a tie), or the predicted value."""
    if task.kind == "regression":
        return [float(value) for value in scores[:, 0].tolist()]
    return [int(choice) for choice in scores.argmax(1).tolist()]
