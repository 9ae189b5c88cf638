"""Compacter: its counts, the Kronecker products that its layers stand for, and where its adapters sit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import encode, fresh_copy, shake, trained_on_preset
from tunefront.bench.meters.flops.analytic import Analytic
from tunefront.bench.meters.flops.counted import counted_step
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.base import Unsupported
from tunefront.methods.compacter import Compacter, HypercomplexAdapter, HypercomplexLinear, Rule
from tunefront.methods.compacter_pp import CompacterPP
from tunefront.methods.spelling import parse

TFEW = "activation=relu,share=false,std=0.02"


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
@pytest.mark.parametrize(("method", "each"), [(Compacter(), 2), (CompacterPP(), 1)], ids=["compacter", "pp"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int], method: Compacter, each: int) -> None:
    d, blocks = size["hidden_size"], size["num_hidden_layers"]
    m = d // 32
    backbone = bert_without_weights(size, method, classes=3)
    adapters = each * blocks * (2 * (d + m) + m + d) + 4**3
    norms = 2 * d * (2 * blocks + 1)
    assert sum(p.numel() for p in backbone.trainable().values()) == adapters + norms + 3 * (d + 1)


@pytest.mark.parametrize(("name", "percent"), [("compacter", 0.073), ("compacter_pp", 0.047)])
def test_shares_of_t5_base_are_the_papers(name: str, percent: float) -> None:
    """Karimi Mahabadi et al. 2021, table 1; of T5-base's 222,903,552 parameters. T5 v1.1's blocks have its widths."""
    assert round(100 * trained_on_preset(parse(name), "t5-v1.1-base") / 222_903_552, 3) == percent


@pytest.mark.parametrize(
    ("spelled", "preset", "count"),
    [
        (f"compacter:{TFEW}", "t0-3b", 870_400),
        (f"compacter_pp:{TFEW}", "t0-3b", 560_128),
        ("compacter", "t0-3b", 870_400 - 96 * 2 * 64 + 64),  # the paper's: one rule for all layers
        ("compacter_pp:share=false,rule=fixed", "t0-3b", 560_128 - 48 * 2 * 64),
        ("compacter:norms=false", "t0-3b", 870_400 - 96 * 2 * 64 + 64 - 249_856),
    ],
)
def test_counts_on_t0_equal_tfews(spelled: str, preset: str, count: int) -> None:
    assert trained_on_preset(parse(spelled), preset) == count


@pytest.mark.parametrize("rank", [1, 3])
def test_a_layer_is_the_sum_of_kronecker_products(rank: int) -> None:
    """x sum_i A_i kron (s_i t_i) + b, and its gradients."""
    torch.manual_seed(0)
    layer = HypercomplexLinear(24, 8, rank, Rule(4, 0.5, learned=True))
    shake(dict(layer.named_parameters()))
    x = torch.randn(5, 7, 24, requires_grad=True)
    weight = sum(torch.kron(a, s @ t) for a, s, t in zip(layer.rule.weight, layer.left, layer.right, strict=True))
    assert isinstance(weight, Tensor)
    tensors = [x, *layer.parameters()]
    expected, actual = x @ weight + layer.bias, layer(x)
    assert torch.allclose(expected, actual, rtol=1e-5, atol=1e-5)
    direction = torch.randn(actual.shape)
    for ours, theirs in zip(
        torch.autograd.grad(actual, tensors, direction), torch.autograd.grad(expected, tensors, direction), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_first_values_are_those_of_the_authors_code() -> None:
    torch.manual_seed(0)
    layer = HypercomplexLinear(1024, 64, 1, Rule(4, 1e-4, learned=True))
    assert not layer.bias.any()
    for factors, (fan_in, fan_out) in ((layer.left, (1, 256)), (layer.right, (16, 1))):
        bound = 2**0.5 * (6 / (fan_in + fan_out)) ** 0.5
        assert 0.9 * bound < factors.abs().max() <= bound
    assert layer.rule.weight.std().item() == pytest.approx(1e-4, rel=0.3)


@pytest.mark.parametrize(("activation", "share"), [("gelu", True), ("relu", False)])
def test_an_adapter_is_a_residual_bottleneck_of_two_layers(activation: str, share: bool) -> None:
    torch.manual_seed(0)
    rules = [Rule(2, 0.5, learned=True) for _ in range(2)]
    down, up = HypercomplexLinear(12, 4, 1, rules[0]), HypercomplexLinear(4, 12, 1, rules[0 if share else 1])
    adapter = HypercomplexAdapter(down, up, activation)
    x = torch.randn(3, 12)
    inner = down(x)
    inner = (
        inner.clamp(min=0)
        if activation == "relu"
        else 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    )
    assert torch.allclose(adapter(x), x + up(inner), atol=1e-6)
    assert len(list(adapter.parameters())) == 2 * 3 + (1 if share else 2)


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("bert", ["encoder.layer.{}.attention.output.dropout", "encoder.layer.{}.output.dropout"]),
        ("t5", [f"{'en' if n < 2 else 'de'}coder.block.{{}}.layer.{(0, 1, 0, 2)[n]}.dropout" for n in range(4)]),
        ("bart", [f"model.{s}.layers.{{}}.{n}" for s in ("encoder", "decoder") for n in ("self_attn.out_proj", "fc2")]),
    ],
)
def test_adapters_follow_self_attention_and_the_feed_forward(
    name: str, hosts: list[str], folders: dict[str, str]
) -> None:
    for method, expected in ((Compacter(reduction=4), hosts), (CompacterPP(reduction=4), hosts[1::2])):
        backbone = fresh_copy(folders[name])
        method.attach(backbone)
        actual = {p for p, module in backbone.model.named_modules() if isinstance(module, HypercomplexAdapter)}
        assert actual == {f"{host.format(block)}.adapter" for host in expected for block in (0, 1)}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_layers_have_one_rule_and_so_have_a_copys(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    Compacter(reduction=4).attach(backbone)
    for model in (backbone.model, copy.deepcopy(backbone.model)):
        layers = [module for module in model.modules() if isinstance(module, HypercomplexLinear)]
        assert len(layers) == 2 * 2 * 2
        assert len({id(layer.rule.weight) for layer in layers}) == 1
    assert sum(name.endswith("rule.weight") for name in backbone.trainable()) == 1


@pytest.mark.parametrize("spelled", ["compacter:reduction=4,rule=fixed", "compacter_pp:reduction=4,rank=2,share=false"])
def test_declared_products_are_what_is_counted(spelled: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"], dropout=0.0)
    parse(spelled).attach(backbone)
    forward, whole = counted_step(lambda: backbone.loss(encode(backbone).shaped(3, 7)))
    actual = Analytic(backbone).loss((3, 7))
    assert (actual.forward, actual.backward) == (forward, whole - forward)
    n, rank, adapters = 4, 2 if "rank" in spelled else 1, 2 if "pp" in spelled else 4
    assert actual.parts["inserted"] == adapters * 2 * (2 * 21 * n * rank * (32 + n**2 + 8))


def test_a_fixed_rule_is_kept_with_the_model_and_not_trained(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    Compacter(reduction=4, rule="fixed").attach(backbone)
    assert not any("rule" in name for name in backbone.trainable())
    rules = [name for name, _ in backbone.model.named_buffers() if name.endswith("rule.weight")]
    assert len(rules) == 1
    assert rules[0] in backbone.model.state_dict()


@pytest.mark.parametrize("name", ["compacter", "compacter_pp"])
def test_sizes_that_do_not_divide_are_refused(name: str, backbones: dict[str, str]) -> None:
    with pytest.raises(
        Unsupported, match=rf"sizes that do not divide: {name}:n=4 must divide .* are 32 and 2 \(.* reduction=16\)"
    ):
        parse(f"{name}:reduction=16").attach(fresh_copy(backbones["bert"]))
    with pytest.raises(Unsupported, match=f"{name}:n=3 must divide .* are 32 and 8"):
        parse(f"{name}:reduction=4,n=3").attach(fresh_copy(backbones["bert"]))
    with pytest.raises(Unsupported, match="reduction above the width"):
        parse(f"{name}:reduction=33").attach(fresh_copy(backbones["bert"]))
    with pytest.raises(Unsupported, match=f"rank above the width: {name} has rank 3, .* is 2 wide"):
        parse(f"{name}:reduction=4,rank=3").attach(fresh_copy(backbones["bert"]))
    for field in ("n", "rank", "reduction"):
        with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
            parse(f"{name}:{field}=0")
