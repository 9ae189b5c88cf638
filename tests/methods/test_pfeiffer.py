"""Pfeiffer adapters: their counts, where they sit and what they compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import encode, fresh_copy, shake, toy_task, trained_on_preset
from tunefront.methods.base import Unsupported
from tunefront.methods.pfeiffer import Adapter, Pfeiffer
from tunefront.methods.spelling import parse


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int]) -> None:
    d, blocks = size["hidden_size"], size["num_hidden_layers"]
    m = d // 16
    adapters = blocks * (2 * m * d + m + d)
    for method, norms in ((Pfeiffer(), 0), (Pfeiffer(norms=True), 2 * d * (2 * blocks + 1))):
        backbone = bert_without_weights(size, method, classes=3)
        assert sum(p.numel() for p in backbone.trainable().values()) == adapters + norms + 3 * (d + 1)
    if size is BASE:
        assert adapters == 894_528  # "bert-base-uncased-pf-*" of AdapterHub: 0.9 M


@pytest.mark.parametrize(("preset", "count"), [("t0-3b", 12_934_144), ("t0-11b", 51_034_112)])
def test_counts_on_t0_equal_tfews(preset: str, count: int) -> None:
    assert trained_on_preset(parse("pfeiffer:reduction=32,norms=true"), preset) == count


def test_the_first_values_are_normal_with_zero_biases() -> None:
    torch.manual_seed(0)
    adapter = Adapter(512, 64, std=0.02)
    for layer in (adapter.down, adapter.up):
        assert not layer.bias.any()
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("bert", [f"encoder.layer.{block}.output.dropout" for block in (0, 1)]),
        ("llama", [f"model.layers.{block}.mlp.down_proj" for block in (0, 1)]),
        (
            "t5",
            [f"{stack}.block.{b}.layer.{n}.dropout" for stack, n in (("encoder", 1), ("decoder", 2)) for b in (0, 1)],
        ),
    ],
)
def test_an_adapter_follows_each_feed_forward(name: str, hosts: list[str], folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name])
    Pfeiffer().attach(backbone)
    actual = [path for path, module in backbone.model.named_modules() if isinstance(module, Adapter)]
    assert actual == [f"{host}.adapter" for host in hosts]


def test_a_block_computes_what_plain_algebra_says(backbones: dict[str, str]) -> None:
    """LN(x + f + W_up relu(W_down f + b_down) + b_up), f the feed-forward's output."""
    backbone = fresh_copy(backbones["bert"])
    Pfeiffer(reduction=4).attach(backbone)
    shake(backbone.trainable())
    model = backbone.model.eval()
    layer = model.encoder.layer[1]
    seen: dict[str, Tensor] = {}
    layer.intermediate.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))
    batch = encode(backbone, toy_task(words=(7, 7))).batch(range(4))
    with torch.no_grad():
        out = model(**batch.inputs, output_hidden_states=True).hidden_states[2]
        w, x = dict(layer.state_dict()), seen["x"]
        inner = x @ w["intermediate.dense.weight"].T + w["intermediate.dense.bias"]
        fed = nn.functional.gelu(inner) @ w["output.dense.weight"].T + w["output.dense.bias"]
        down, up = (f"output.dropout.adapter.{part}" for part in ("down", "up"))
        change = (fed @ w[f"{down}.weight"].T + w[f"{down}.bias"]).clamp(min=0)
        total = x + fed + change @ w[f"{up}.weight"].T + w[f"{up}.bias"]
        centred = total - total.mean(-1, keepdim=True)
        expected = centred / (centred.square().mean(-1, keepdim=True) + model.config.layer_norm_eps).sqrt()
        expected = expected * w["output.LayerNorm.weight"] + w["output.LayerNorm.bias"]
    assert w[f"{down}.weight"].shape == (8, 32)
    assert torch.allclose(expected, out, rtol=1e-4, atol=1e-5)


def test_a_reduction_above_the_width_is_refused(backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="reduction above the width: a width of 32 over 33 leaves no bottleneck"):
        Pfeiffer(reduction=33).attach(fresh_copy(backbones["bert"]))
    for fields in ({"reduction": 0}, {"std": -1.0}):
        with pytest.raises(ValueError, match=r"must be (at least|above)"):
            Pfeiffer(**fields)  # type: ignore[arg-type]
