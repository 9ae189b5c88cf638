"""The frame of a cell's predictions."""

from __future__ import annotations

import torch

from tunefront.bench.data.task import Row
from tunefront.bench.execution.predictions import frame_of


def test_any_number_of_classes_is_framed_without_a_warning() -> None:
    frame = frame_of((Row("7", {}, 3),), [3], [149], torch.arange(150.0)[None])
    assert list(frame.columns)[:4] == ["id", "label", "prediction", "score_0"]
    assert frame["score_149"].tolist() == [149.0]
