"""LN-tuning: every layer norm is trained, and nothing else of the backbone."""

from __future__ import annotations

import pytest

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import fresh_copy, trained_on_preset
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.layernorm import LayerNorm


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int]) -> None:
    d, blocks = size["hidden_size"], size["num_hidden_layers"]
    backbone = bert_without_weights(size, LayerNorm(), classes=3)
    assert sum(p.numel() for p in backbone.trainable().values()) == 2 * d * (2 * blocks + 1) + 3 * (d + 1)


@pytest.mark.parametrize(("preset", "width", "count"), [("t0-3b", 2048, 249_856), ("t0-11b", 4096, 499_712)])
def test_counts_on_t0_equal_tfews(preset: str, width: int, count: int) -> None:
    """Two norms in each of the encoder's 24 blocks, three in the decoder's, and one after each stack."""
    assert trained_on_preset(LayerNorm(), preset) == count == width * (24 * 2 + 24 * 3 + 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_norms_and_the_head_are_trained(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    LayerNorm().attach(backbone)
    norms = {name for name, _ in backbone.model.named_parameters() if "norm" in name.lower()}
    assert len(norms) == 2 * (5 if family != "deberta-v2" else 6)
    assert {name for name in backbone.trainable() if not name.startswith("head.")} == norms
