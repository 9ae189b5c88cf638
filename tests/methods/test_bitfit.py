"""BitFit: biases that a backbone has, and biases that it gets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import encode, fresh_copy, shake, trained_on_preset
from tunefront.methods.base import Unsupported
from tunefront.methods.bitfit import Bias, BitFit
from tunefront.methods.inject import matching
from tunefront.methods.spelling import parse


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int]) -> None:
    d, inner, blocks = size["hidden_size"], size["intermediate_size"], size["num_hidden_layers"]
    backbone = bert_without_weights(size, BitFit(), classes=3)
    count = sum(p.numel() for p in backbone.trainable().values())
    assert count == blocks * (7 * d + inner) + 2 * d + 3 * (d + 1)
    if size is LARGE:  # 0.08 % of BERT-large, the paper says
        assert round(100 * (count - 3 * (d + 1)) / 335_141_888, 2) == 0.08


@pytest.mark.parametrize(
    ("spelled", "preset", "count"),
    [
        ("bitfit:missing=add,norms=true,ffn_down=false", "t0-3b", 1_331_200),
        ("bitfit:missing=add,norms=true", "t0-3b", 1_331_200 + 48 * 2048),  # what T-Few's pattern means to match
        ("bitfit:missing=add", "t0-3b", 1_331_200 + 48 * 2048 - 249_856),
    ],
)
def test_counts_on_t0_equal_tfews(spelled: str, preset: str, count: int) -> None:
    assert trained_on_preset(parse(spelled), preset) == count


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "deberta-v2", "gpt2", "opt", "bart", "qwen2"])
def test_every_bias_is_trained_and_no_other_tensor(name: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name])
    BitFit().attach(backbone)
    biases = {path for path, _ in backbone.model.named_parameters() if path.rsplit(".", 1)[-1] == "bias"}
    head = {path for path in backbone.trainable() if path.startswith("head.")}
    assert set(backbone.trainable()) == biases | head
    assert biases - head


@pytest.mark.parametrize("name", ["llama", "mistral", "t5", "t5-gated"])
def test_a_backbone_without_biases_is_refused_or_gets_them(name: str, folders: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="no layer of the backbone has a bias; bitfit:missing=add gives"):
        BitFit().attach(fresh_copy(folders[name]))
    backbone = fresh_copy(folders[name])
    BitFit(missing="add").attach(backbone)
    linears = matching(backbone.model, backbone.sites.linears)
    assert set(backbone.trainable()) == {f"{path}.bitfit.bias" for path in linears}
    assert not any(bias.any() for bias in backbone.trainable().values())


def test_only_projections_that_lack_a_bias_get_one(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["qwen2"])  # its queries, keys and values have biases
    BitFit(missing="add", ffn_down=False).attach(backbone)
    added = {path for path, module in backbone.model.named_modules() if isinstance(module, Bias)}
    names = ("self_attn.o_proj", "mlp.up_proj", "mlp.gate_proj")
    assert added == {f"model.layers.{block}.{name}.bitfit" for block in (0, 1) for name in names}
    assert sum(name.endswith("_proj.bias") for name in backbone.trainable()) == 2 * 3


def test_an_added_bias_is_that_of_a_linear_layer(language_models: dict[str, str]) -> None:
    backbone = fresh_copy(language_models["t5-gated"], dropout=0.0)
    BitFit(missing="add").attach(backbone)
    shake(backbone.trainable())
    batch = encode(backbone).batch(range(4))
    biases = {name.removesuffix(".bitfit.bias"): bias.detach() for name, bias in backbone.trainable().items()}
    score = backbone.score(batch).detach()
    plain = fresh_copy(language_models["t5-gated"], dropout=0.0)
    for path, bias in biases.items():
        plain.model.get_submodule(path).bias = nn.Parameter(bias)  # type: ignore[assignment]
    assert torch.allclose(plain.score(batch).detach(), score, rtol=1e-5, atol=1e-6)
