"""Decoders and encoder-decoders: dropout, what a head reads, padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.toys import encode, fresh_copy, toy_task, widened
from tunefront.bench.models.tiny import LANGUAGE_MODELS
from tunefront.methods.base import Batch, Unsupported

every_model = pytest.mark.parametrize("name", LANGUAGE_MODELS)


@every_model
def test_dropout_zero_makes_training_mode_repeatable(name: str, language_models: dict[str, str]) -> None:
    """The override reaches layers that store the rate as a number and call a function."""
    backbone = fresh_copy(language_models[name], dropout=0.0)
    batch = encode(backbone).batch(range(8))
    backbone.model.train()
    with torch.no_grad():
        first, again = backbone.loss(batch), backbone.loss(batch)
        backbone.model.eval()
        assert torch.equal(first, again)
        assert torch.allclose(first, backbone.loss(batch), rtol=1e-5)


@every_model
def test_dropout_is_the_checkpoints_own_unless_it_is_set(name: str, language_models: dict[str, str]) -> None:
    def rates(dropout: float | None) -> set[float]:
        modules = list(fresh_copy(language_models[name], dropout=dropout).model.modules())
        numbers = (value for module in modules for key, value in vars(module).items() if key.endswith("dropout"))
        rates = {module.p for module in modules if isinstance(module, nn.Dropout)}
        return rates | {number for number in numbers if isinstance(number, float)}

    assert rates(None) == {0.1}
    assert rates(0.3) == {0.3}
    assert rates(None) == {0.1}, "only the copy was changed"


@every_model
def test_prompts_padded_on_the_left_score_as_those_padded_on_the_right(
    name: str, language_models: dict[str, str]
) -> None:
    backbone = fresh_copy(language_models[name])
    rows = encode(backbone)
    batch = rows.batch(range(8))
    with torch.no_grad():
        scores, left = backbone.score(batch), backbone.score(widened(batch, rows, 3, left=True))
    assert torch.allclose(scores, left, rtol=1e-5, atol=1e-5)


@every_model
def test_features_are_the_state_from_which_the_answer_would_start(name: str, language_models: dict[str, str]) -> None:
    """For each row alone: the state of the last prompt token, or of the decoder's first."""
    backbone: Any = fresh_copy(language_models[name])
    rows = encode(backbone)
    batch = rows.batch(range(8))
    assert not batch.inputs["attention_mask"].all()
    with torch.no_grad():
        features = backbone.features(batch)
        left = backbone.features(widened(batch, rows, 4, left=True))
        for place in range(8):
            ids = rows.columns["input_ids"][place][None]
            token = getattr(backbone.model.config, "decoder_start_token_id", None)
            start = {"decoder_input_ids": torch.tensor([[token]])} if LANGUAGE_MODELS[name] == "seq2seq" else {}
            states = backbone.model(input_ids=ids, output_hidden_states=True, **start)
            last = states.decoder_hidden_states if start else states.hidden_states
            assert torch.allclose(features[place], last[-1][0, -1], rtol=1e-4, atol=1e-4)
    assert torch.allclose(features, left, rtol=1e-4, atol=1e-4)
    precomputed = Batch({"features": features}, batch.labels, batch.rows)
    assert backbone.features(precomputed) is features


@every_model
def test_add_head_adds_a_head_that_classifies(name: str, language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models[name])
    batch = encode(backbone).batch(range(4))
    assert backbone.head is None
    head = backbone.add_head()
    with torch.no_grad():
        assert torch.equal(backbone.score(batch), head(backbone.features(batch)))
        expected = nn.functional.cross_entropy(backbone.score(batch), batch.labels)
        assert torch.equal(backbone.loss(batch), expected)
    assert {key for key, _ in backbone.model.named_parameters() if key.startswith("head.")} == {
        "head.output.weight",
        "head.output.bias",
    }


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_regression_is_unsupported_and_multiple_choice_gets_no_head(name: str, language_models: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="toy is regression"):
        fresh_copy(language_models[name], toy_task("regression"))
    with pytest.raises(Unsupported, match="toy is multiple choice"):
        fresh_copy(language_models[name], toy_task("multiple choice")).add_head()
