"""Decoders without a record of sites: scored as by their own forward pass, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.models.families.test_logits import added_model
from tests.bench.models.scoring.plain import plain_scores
from tests.toys import Listed, encode, fresh_copy, harness, mixed_task
from tunefront.bench.models.families import decoder, logits
from tunefront.methods.base import Unsupported
from tunefront.methods.icl import ICL

ODD: dict[str, dict[str, Any]] = {
    # none of its methods returns the model without its output layer
    "llama4_text": {
        "head_dim": 16,
        "num_local_experts": 1,
        "interleave_moe_layer_step": 1,
        "intermediate_size_mlp": 64,
        "bos_token_id": 1,
    },
    # layers with a state instead of keys and values, in a special kind of cache
    "qwen3_next": {
        "head_dim": 16,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    },
    "recurrent_gemma": {"lru_width": 32, "num_hidden_layers": 3, "bos_token_id": 1},
}


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_SIDE_BY_SIDE", {})
    monkeypatch.setattr(logits, "_OUTPUTS", {})


@pytest.mark.parametrize("k", [0, 4])
@pytest.mark.parametrize("name", ODD)
def test_unusual_models_score_as_their_own_forward_pass(name: str, k: int, tmp_path: Path) -> None:
    task = mixed_task()
    backbone = fresh_copy(added_model(tmp_path / name, name, **ODD[name]), task, template=Listed())
    method = ICL(k=k)
    method.attach(backbone)
    trainer = harness(backbone, method, rows=4)
    examples, rows = encode(backbone, task), encode(backbone, task, "test")
    scores = trainer.score(method.fit(backbone, examples.take(range(k)), trainer), rows).values
    backbone.model.config.use_cache = False  # Qwen3-Next's own cache fails if no layer is attention
    expected = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, examples.prompts[:k])
    finite = expected.isfinite()
    assert torch.allclose(scores[finite], expected[finite], atol=1e-3)
    prefix = backbone.read(backbone.prefix(examples.take(range(k))))
    assert (prefix.nbytes is None) == (bool(k) and not backbone.side_by_side)


def test_a_model_without_states_has_no_features(
    language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = mixed_task()
    backbone: Any = fresh_copy(language_models["llama"], task, template=Listed())
    monkeypatch.setattr(type(backbone.model.base_model), "forward", lambda *_, **__: {})
    with pytest.raises(Unsupported, match="LlamaForCausalLM"):
        backbone.features(encode(backbone, task).batch(range(2)))


def test_a_model_that_cannot_run_is_unsupported_with_the_reason(
    language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a grid goes on and records the reason."""
    backbone: Any = fresh_copy(language_models["llama"])
    backbone.__dict__.pop("output", None)
    monkeypatch.setattr(logits, "_OUTPUTS", {})

    def fails(*_: object, **__: object) -> None:
        raise ValueError("only a model of my own can\nuse me")

    monkeypatch.setattr(type(backbone.model), "forward", fails)
    with pytest.raises(Unsupported, match=r"LlamaForCausalLM.*only a model of my own can") as caught:
        backbone.probe()
    assert "\n" not in str(caught.value)
