"""Predictions from scores: the predicted answers, the labels, and the table stored next to a record."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING

from torch import Tensor

from tunefront.bench.data.task import Row, Task
from tunefront.bench.models.examples import EncodedExamples

if TYPE_CHECKING:
    import pandas as pd


def digest_of(scores: Tensor) -> str:
    """sha256 over the scores (rows, choices) as float32: equal only if all are equal to the bit."""
    return hashlib.sha256(scores.float().cpu().contiguous().numpy().tobytes()).hexdigest()


def labels_of(task: Task, rows: tuple[Row, ...], examples: EncodedExamples) -> list[int | float]:
    """The labels in the form of predictions: for multiple choice, the position among a prompt's answers, whose order is
    the template's."""
    if task.kind == "multiple choice":
        return [int(label) for label in examples.labels.tolist()]
    return [row.label for row in rows]


def constant_answer(task: Task, prompted: list[int | float]) -> int | float | None:
    """The answer that the baseline always gives; None without training rows.

    It is the commonest label of the train split, or its mean for regression: of the split and not of the rows that were
    drawn, because a few rows, or as many of each label, do not show which label is commonest. The scored rows are not
    looked at. For multiple choice, the order of the answers is the prompt's, so it is the commonest position of the
    right answer in `prompted`, the labels of the cell's training rows. The smallest of several that are as common.
    """
    labels = prompted if task.kind == "multiple choice" else [row.label for row in task.splits["train"]]
    if not labels:
        return None
    if task.kind == "regression":
        return sum(labels) / len(labels)
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))


def frame_of(
    rows: tuple[Row, ...], labels: list[int | float], predicted: list[int] | list[float], scores: Tensor
) -> pd.DataFrame:
    import pandas as pd

    # All columns at once: pandas warns in the terminal about a frame that grows by more than 100. A row may have fewer
    # choices than others: their scores are missing.
    columns = {
        f"score_{choice}": [None if value == -math.inf else value for value in scores[:, choice].tolist()]
        for choice in range(scores.shape[1])
    }
    return pd.DataFrame({"id": [row.id for row in rows], "label": labels, "prediction": predicted, **columns})
