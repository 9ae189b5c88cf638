"""Decoders and encoder-decoders: dropout, what a head reads, padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from methods.base import Batch, Unsupported
from tests.conftest import LANGUAGE_MODELS
from tests.toys import encode, pristine, toy_task, widened

every_model = pytest.mark.parametrize("name", LANGUAGE_MODELS)


@every_model
def test_prompts_padded_on_the_left_score_as_those_padded_on_the_right(
    name: str, language_models: dict[str, str]
) -> None:
    backbone = pristine(language_models[name])
    rows = encode(backbone)
    batch = rows.batch(range(8))
    with torch.no_grad():
        scores, left = backbone.score(batch), backbone.score(widened(batch, rows, 3, left=True))
    assert torch.allclose(scores, left, rtol=1e-5, atol=1e-5)
