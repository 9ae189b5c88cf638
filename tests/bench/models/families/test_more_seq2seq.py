"""Further encoder-decoders against plain transformers: scores without and with demonstrations; parameter counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.bench.models.scoring.plain import plain_scores
from tests.bench.models.scoring.test_rank_classification import fitted
from tests.toys import encode, fresh_copy, mixed_task, widened
from tunefront.bench.models.tiny import make_language_model
from tunefront.methods.spelling import parse

NAMES = ("umt5", "pegasus", "mbart")


@pytest.mark.parametrize("k", [0, 3])
@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_plain_transformers(name: str, k: int, encoder_decoders: dict[str, str]) -> None:
    task = mixed_task(test=8)
    backbone, scorer, trainer = fitted(encoder_decoders[name], task, k)
    rows, demonstrations = encode(backbone, task, "test"), encode(backbone, task).prompts[:k]
    expected = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, demonstrations)
    scores = trainer.score(scorer, rows).values
    there = expected.isfinite()
    assert torch.equal(there, scores.isfinite())
    assert torch.allclose(scores[there], expected[there], rtol=0, atol=1e-5)
    batch = trainer.prompts.prepend_to(rows).batch(range(8))
    with torch.no_grad():
        padded = scorer(widened(batch, rows, 5))
    assert torch.allclose(padded[there], expected[there], rtol=0, atol=1e-5)


def test_umt5_has_an_output_layer_of_its_own_and_a_bias_in_every_block(encoder_decoders: dict[str, str]) -> None:
    model: Any = fresh_copy(encoder_decoders["umt5"]).model
    assert model.lm_head.weight is not model.shared.weight
    biases = [path for path, _ in model.named_modules() if path.endswith("relative_attention_bias")]
    assert len(biases) == 4


def test_sinusoidal_positions_are_no_parameters(encoder_decoders: dict[str, str]) -> None:
    backbone: Any = fresh_copy(encoder_decoders["pegasus"])
    table = backbone.model.model.encoder.embed_positions
    assert isinstance(table, nn.Embedding)
    assert not isinstance(table.weight, nn.Parameter)
    parse("full").attach(backbone)
    backbone.loss(encode(backbone).batch([0, 1])).backward()
    assert all(parameter.grad is not None for parameter in backbone.trainable().values())
    assert "model.encoder.embed_positions.weight" in backbone.model.state_dict()


@pytest.mark.parametrize("name", ["pegasus", "mbart"])
def test_prompts_and_positions_are_counted_against_the_room(name: str, tmp_path: Any) -> None:
    backbone: Any = fresh_copy(str(make_language_model(tmp_path / name, name, max_position_embeddings=64)))
    assert backbone.room == 64


D, F, M, R = 32, 64, 4, 2


@pytest.mark.parametrize("name", NAMES)
def test_trained_parameters_follow_the_formulas(name: str, encoder_decoders: dict[str, str]) -> None:
    """Two blocks with one attention, two with two."""
    attentions, blocks = 2 + 2 * 2, 4
    norms = attentions + blocks + 2 + (2 if name == "mbart" else 0)  # mBART norms its embeddings too
    width = D if name == "umt5" else 2 * D
    expected = {
        f"houlsby:bottleneck={M}": (attentions + blocks) * (2 * M * D + M + D) + norms * width,
        f"lora:rank={R}": attentions * 2 * R * 2 * D,
        "ia3": attentions * 2 * D + blocks * F,
        "layernorm": norms * width,
    }
    for method, count in expected.items():
        backbone = fresh_copy(encoder_decoders[name])
        parse(method).attach(backbone)
        assert sum(parameter.numel() for parameter in backbone.trainable().values()) == count, method
