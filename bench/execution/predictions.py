"""Predictions from scores: what a model answers, what is right, and the table that lies beside a record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from tunefront.bench.data.task import Row, Task
from tunefront.bench.models.examples import EncodedExamples

if TYPE_CHECKING:
    import pandas as pd


def check_scores(task: Task, scores: Tensor) -> None:
    """ValueError where no prediction follows from the scores: NaN is neither the highest nor not."""
    unknown = int(scores.isnan().any(1).sum())
    if unknown:
        raise ValueError(f"the scores of {unknown} of {len(scores)} rows are NaN, from which no prediction follows")
    if task.kind != "multiple choice" and scores.shape[1] != task.outputs:
        raise ValueError(f"each row has {scores.shape[1]} scores; {task.name} takes {task.outputs}")


def predictions_of(task: Task, scores: Tensor) -> list[int] | list[float]:
    """The choice of the highest score (ties to the first), or the predicted value."""
    if task.kind == "regression":
        return [float(value) for value in scores[:, 0].tolist()]
    return [int(choice) for choice in scores.argmax(1).tolist()]


def labels_of(task: Task, rows: tuple[Row, ...], examples: EncodedExamples) -> list[int | float]:
    """What is right, as predictions name it: of multiple choice the place among a prompt's answers, whose order is the
    template's."""
    if task.kind == "multiple choice":
        return [int(label) for label in examples.labels.tolist()]
    return [row.label for row in rows]


def commonest(task: Task, labels: list[int | float]) -> int | float:
    if task.kind == "regression":
        return sum(labels) / len(labels)
    return max(sorted(set(labels)), key=labels.count)


def frame_of(
    rows: tuple[Row, ...], labels: list[int | float], predicted: list[int] | list[float], scores: Tensor
) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame({"id": [row.id for row in rows], "label": labels, "prediction": predicted})
    for choice in range(scores.shape[1]):
        # A row may have fewer choices than others: what does not exist is missing.
        frame[f"score_{choice}"] = [None if value == -math.inf else value for value in scores[:, choice].tolist()]
    return frame
