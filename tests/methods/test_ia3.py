"""(IA)^3: three vectors a block, and what rescaled keys, values and inner activations give."""

from __future__ import annotations

import pytest
import torch

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import encode, fresh_copy, shake, toy_task
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.ia3 import IA3, Rescale


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int]) -> None:
    d, inner, blocks, classes = size["hidden_size"], size["intermediate_size"], size["num_hidden_layers"], 3
    backbone = bert_without_weights(size, IA3(), classes)
    assert sum(p.numel() for p in backbone.trainable().values()) == blocks * (2 * d + inner) + classes * (d + 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_trains_three_vectors_a_block_that_start_at_one(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    IA3().attach(backbone)
    scales = {n: p for n, p in backbone.trainable().items() if not n.startswith("head.")}
    assert sorted(p.numel() for p in scales.values()) == sorted(2 * [32, 32, 64])
    assert all(torch.equal(scale, torch.ones_like(scale)) for scale in scales.values())
    assert sum(isinstance(module, Rescale) for module in backbone.model.modules()) == 6


def test_attention_with_rescaled_keys_and_values_is_as_in_the_paper(backbones: dict[str, str]) -> None:
    """softmax(Q (l_k * K)^T / sqrt(d)) (l_v * V), recomputed from the bare weights."""
    backbone = fresh_copy(backbones["bert"])
    IA3().attach(backbone)
    shake({n: p for n, p in backbone.trainable().items() if not n.startswith("head.")}, scale=0.5)
    model = backbone.model.eval()
    batch = encode(backbone, toy_task(words=(7, 7))).batch(range(4))  # one length: nothing is masked
    seen = {}
    attention = model.encoder.layer[0].attention
    attention.output.dense.register_forward_pre_hook(lambda module, args: seen.update(context=args[0]))
    with torch.no_grad():
        x = model(**batch.inputs, output_hidden_states=True).hidden_states[0]
        w = attention.self.state_dict()
        query, key, value = (x @ w[f"{n}.weight"].T + w[f"{n}.bias"] for n in ("query", "key", "value"))
        key, value = key * w["key.ia3.scale"], value * w["value.ia3.scale"]
        query, key, value = (t.unflatten(-1, (2, 16)).transpose(1, 2) for t in (query, key, value))
        context = ((query @ key.mT / 4.0).softmax(-1) @ value).transpose(1, 2).flatten(2)
    assert torch.allclose(context, seen["context"], rtol=1e-4, atol=1e-5)
    assert w["key.ia3.scale"].std() > 0.1


def test_the_inner_activation_is_rescaled_after_its_nonlinearity(backbones: dict[str, str]) -> None:
    """(l_ff * gelu(W_1 x)) W_2, recomputed from the bare weights."""
    backbone = fresh_copy(backbones["bert"])
    IA3().attach(backbone)
    shake({n: p for n, p in backbone.trainable().items() if not n.startswith("head.")}, scale=0.5)
    layer = backbone.model.eval().encoder.layer[1]
    x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))
    w = layer.state_dict()
    with torch.no_grad():
        inner = x @ w["intermediate.dense.weight"].T + w["intermediate.dense.bias"]
        inner = inner * (1 + torch.erf(inner / 2**0.5)) / 2 * w["output.dense.ia3.scale"]
        expected = inner @ w["output.dense.weight"].T + w["output.dense.bias"]
        actual = layer.output.dense(layer.intermediate(x))
    assert torch.allclose(expected, actual, rtol=1e-4, atol=1e-5)
