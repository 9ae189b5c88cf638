"""Answers from scores, and scores that give none."""

from __future__ import annotations

from torch import Tensor

from tunefront.bench.data.task import Task


def predictions_of(task: Task, scores: Tensor) -> list[int] | list[float]:
    """The choice with the highest score (the first one in a tie), or the predicted value."""
    if task.kind == "regression":
        return [float(value) for value in scores[:, 0].tolist()]
    return [int(choice) for choice in scores.argmax(1).tolist()]


def check_scores(task: Task, scores: Tensor) -> None:
    """ValueError if the scores are NaN, which gives no prediction, or have a wrong shape."""
    n_nan = int(scores.isnan().any(1).sum())
    if n_nan:
        raise ValueError(f"the scores of {n_nan} of {len(scores)} rows are NaN, so they give no prediction")
    if task.kind != "multiple choice" and scores.shape[1] != task.outputs:
        raise ValueError(f"each row has {scores.shape[1]} scores; {task.name} needs {task.outputs}")
