"""Parallel adapters: their counts, what they read and where they add."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import encode, fresh_copy, shake, toy_task, trained_on_preset
from tunefront.methods.parallel_adapter import ParallelAdapter, ParallelBottleneck


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int]) -> None:
    d, blocks, m = size["hidden_size"], size["num_hidden_layers"], 64
    each = blocks * (2 * m * d + m + d)
    for sublayers, times in (("ffn", 1), ("attention", 1), ("both", 2)):
        backbone = bert_without_weights(size, ParallelAdapter(m, sublayers=sublayers), classes=3)  # type: ignore[arg-type]
        assert sum(p.numel() for p in backbone.trainable().values()) == times * each + 3 * (d + 1)


def test_counts_on_an_encoder_decoder() -> None:
    """48 feed-forward sublayers and 72 attentions of T0-3B."""
    each = 2 * 512 * 2048 + 512 + 2048
    assert trained_on_preset(ParallelAdapter(), "t0-3b") == 48 * each
    assert trained_on_preset(ParallelAdapter(sublayers="both"), "t0-3b") == (48 + 72) * each


def test_the_first_values_are_loras() -> None:
    torch.manual_seed(0)
    adapter = ParallelBottleneck(400, 64, 4.0)
    bound = 400**-0.5
    assert 0.99 * bound < adapter.down.weight.abs().max() <= bound
    assert not any(zero.any() for zero in (adapter.down.bias, adapter.up.weight, adapter.up.bias))


def _change(x: Tensor, adapter: ParallelBottleneck) -> Tensor:
    w = adapter.state_dict()
    return 4.0 * ((x @ w["down.weight"].T + w["down.bias"]).clamp(min=0) @ w["up.weight"].T + w["up.bias"])


@pytest.mark.parametrize("name", ["bert", "deberta-v2", "opt", "gpt2", "gpt_neox", "llama", "t5-gated", "bart"])
def test_each_adapter_adds_to_its_sublayer_what_plain_algebra_says(name: str, folders: dict[str, str]) -> None:
    """f(x) + 4 (W_up relu(W_down x + b_down) + b_up), with x what goes into the block's first projections."""
    backbone = fresh_copy(folders[name], dropout=0.0)
    ParallelAdapter(6, sublayers="both").attach(backbone)
    shake({n: p for n, p in backbone.trainable().items() if not n.startswith("head.")})
    model = backbone.model.eval()
    firsts = {
        "bert": "query",
        "deberta-v2": "query_proj",
        "gpt2": "c_attn",
        "gpt_neox": "query_key_value",
        "t5-gated": "q",
    }
    ffns = {
        "bert": "intermediate.dense",
        "deberta-v2": "intermediate.dense",
        "gpt2": "c_fc",
        "gpt_neox": "dense_h_to_4h",
    }
    ffns |= {"opt": "fc1", "bart": "fc1", "llama": "up_proj", "t5-gated": "wi_1"}
    endings = (f".{firsts.get(name, 'q_proj')}", f".{ffns[name]}")
    read: list[Tensor] = []
    pairs: list[tuple[Tensor, Tensor]] = []
    for path, module in model.named_modules():
        if path.endswith(endings):
            # DeBERTa's query projection goes on to read positions, which are no (batch, seq, width).
            module.register_forward_pre_hook(lambda _, args: read.append(args[0]) if len(read) == len(pairs) else None)
        adapter = getattr(module, "beside", None)
        if adapter is not None:
            adapter.register_forward_hook(lambda m, args, out: pairs.append((_change(read[len(pairs)], m.module), out)))
    with torch.no_grad():
        backbone.score(encode(backbone, toy_task(words=(7, 7))).batch(range(4)))
    assert len(pairs) >= 4
    assert all(torch.allclose(expected, actual, rtol=1e-4, atol=1e-5) for expected, actual in pairs)
    assert all(actual.std() > 0.01 for _, actual in pairs)


def test_the_sum_is_that_of_the_sublayer_and_the_adapter(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    ParallelAdapter(6).attach(backbone)
    shake(backbone.trainable())
    layer = backbone.model.eval().encoder.layer[0]
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    w = layer.state_dict()
    with torch.no_grad():
        inner = nn.functional.gelu(x @ w["intermediate.dense.weight"].T + w["intermediate.dense.bias"])
        fed = inner @ w["output.dense.weight"].T + w["output.dense.bias"]
        expected = fed + _change(x, layer.output.dropout.beside.module)
        assert torch.allclose(layer.output.dropout(layer.output.dense(layer.intermediate(x))), expected, atol=1e-5)


def test_impossible_sizes_are_refused() -> None:
    for fields in ({"bottleneck": 0}, {"scale": 0.0}, {"scale": -1.0}, {"scale": float("nan")}):
        with pytest.raises(ValueError, match=r"must be (at least|above)"):
            ParallelAdapter(**fields)  # type: ignore[arg-type]
