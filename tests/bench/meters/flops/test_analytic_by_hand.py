"""The analytic FLOPs against formulas derived by hand, at any size, and the cases that are refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from tests.toys import attach, encode, fresh_copy
from tunefront.bench.meters.flops.analytic import Analytic, Flops
from tunefront.bench.meters.flops.counted import counted_step
from tunefront.bench.models.families.leads import LeadLengths
from tunefront.bench.models.tiny import make_backbone, make_language_model
from tunefront.methods.base import Product, Unsupported
from tunefront.methods.inject import plug
from tunefront.methods.sites import SITES
from tunefront.methods.spelling import parse

D, INNER, HEADS = 32, 64, 2


def test_one_block_of_bert_by_hand(tmp_path: Path) -> None:
    """All trained, no dropout: each projection costs the same again for its input and for its weights."""
    backbone = fresh_copy(str(make_backbone(tmp_path / "bert", "bert", num_hidden_layers=1)), dropout=0.0)
    rows, n = 3, 11
    tokens, scores = rows * n, rows * HEADS * n * n
    projections, feed_forward = 2 * tokens * 4 * D * D, 2 * tokens * 2 * D * INNER
    attention = 2 * (2 * rows * n * n * D)
    pooler, head = 2 * rows * D * D, 2 * rows * D * 2
    flops = Analytic(backbone).loss((rows, n))
    assert flops.parts == {
        "projections": projections,
        "attention": attention,
        "feed_forward": feed_forward,
        "pooler": pooler,
        "head": head,
    }
    products = projections + feed_forward + pooler + head
    assert flops.forward == products + attention
    assert flops.activation_gradients == products + 5 * attention // 2  # the kernel computes the scores again
    assert flops.weight_gradients == products
    assert flops.backward == flops.activation_gradients + flops.weight_gradients
    norm = 7
    embedded = tokens * D * (2 + norm)  # words, segments and positions are two sums
    attended = 4 * tokens * D + 7 * scores + tokens * D * (1 + norm)  # four biases; then the residual sum
    feed_forward_elementwise = tokens * INNER * (1 + 5) + tokens * D * (
        1 + 1 + norm
    )  # bias and GELU; bias, residual sum
    head_elementwise = rows * D * (1 + 1) + rows * 2 * (1 + 1 + 5)  # bias and tanh; bias, function of the head, softmax
    assert flops.elementwise == embedded + attended + feed_forward_elementwise + head_elementwise


def test_rescaling_one_block_of_a_gated_t5_by_hand(tmp_path: Path) -> None:
    """No backbone weight has a gradient; gradients only pass through the modules above the first vectors."""
    config: dict[str, Any] = {"num_layers": 1, "num_decoder_layers": 1}
    backbone = fresh_copy(str(make_language_model(tmp_path / "t5", "t5-gated", **config)), dropout=0.0)
    attach(parse("ia3"), backbone)
    b, s, r, u = 2, 9, 5, 4  # prompts and choices, their rows and tokens
    inner, vocabulary = 2 * 12, backbone.model.config.vocab_size
    prompt, choice = 2 * b * s, 2 * r * u
    projection, gated = D * inner, 3 * D * INNER
    looks = 2 * (2 * b * s * s * inner + 2 * r * u * u * inner + 2 * r * u * s * inner)
    flops = Analytic(backbone).loss((b, s, r, u))
    below = prompt * (4 * projection + gated)
    above = choice * (4 * projection + 2 * projection + gated) + 2 * r * s * 2 * projection
    assert flops.forward == below + above + looks + choice * D * vocabulary
    assert flops.parts["output"] == choice * D * vocabulary
    assert flops.weight_gradients == 0
    # The first attention of each stack passes gradients to keys and values, but not to the input of their projections.
    encoder = prompt * (projection + gated)
    decoder = choice * (projection + 2 * projection + gated) + 2 * r * s * 2 * projection
    assert flops.activation_gradients == encoder + decoder + looks * 5 // 2 + choice * D * vocabulary


def gpt3(**config: Any) -> Any:
    """GPT-3 175B in GPT-2's code (Brown et al. 2020, table 2.1), without weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    size = {"n_layer": 96, "n_embd": 12288, "n_head": 96, "n_positions": 2048, "vocab_size": 50257, **config}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **size))
    return SimpleNamespace(
        model=model, head=None, sites=SITES["gpt2"], led=0, lead_lengths=LeadLengths(), kept_lead=None
    )


def test_a_model_of_gpt_3s_size_is_counted_without_weights() -> None:
    layers, d, tokens = 96, 12288, 2048
    backbone = gpt3()
    params = sum(parameter.numel() for parameter in backbone.model.parameters())
    assert params == pytest.approx(175e9, rel=0.01)
    flops = Analytic(backbone).prefix(tokens)
    assert flops.forward == layers * (24 * tokens * d * d + 4 * tokens * tokens * d)
    assert flops.backward == 0
    # The rule of thumb ignores attention and counts embeddings, which are looked up and not multiplied.
    assert flops.forward == pytest.approx(2 * params * tokens, rel=0.03)


def test_fake_tensors_are_enough(language_models: dict[str, str]) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    real = fresh_copy(language_models["llama"])
    with FakeTensorMode():
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(language_models["llama"]))
        fake: Any = SimpleNamespace(
            model=model, head=None, sites=SITES["llama"], led=0, lead_lengths=LeadLengths(), kept_lead=None
        )
        assert Analytic(fake).loss((2, 9, 2, 12, 0, 5)) == Analytic(real).loss((2, 9, 2, 12, 0, 5))


def test_flops_add_and_multiply() -> None:
    first, second = Flops(3, 2, 1, 7, {"attention": 3}), Flops(4, 0, 0, 1, {"attention": 1, "head": 3})
    assert first + second == Flops(7, 2, 1, 8, {"attention": 4, "head": 3})
    assert first * 3 == 3 * first == first + first + first
    assert (first + second).backward == 3
    assert sum([first, second], Flops()) == first + second


class LowRank(nn.Module):
    """A user's plug: two layers parallel to a projection."""

    def __init__(self, inner: int, out: int):
        super().__init__()
        self.down, self.up = nn.Linear(inner, 4, bias=False), nn.Linear(4, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


@pytest.mark.parametrize("where", ["before", "after", "parallel"])
def test_plugs_of_a_users_method_are_counted_by_the_same_rule(where: Any, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"], dropout=0.0)
    backbone.freeze(keep=backbone.head)
    for site in (backbone.sites.query, backbone.sites.value, backbone.sites.ffn_up, r"embeddings\.word_embeddings"):
        if where == "after" or "word" not in site:
            sides = {"before": ("in", "in"), "after": ("out", "out"), "parallel": ("in", "out")}[where]
            plug(backbone.model, site, "low", lambda host, width, s=sides: LowRank(*_widths(host, s)), where=where)
    shape = (3, 7)
    forward, whole = counted_step(lambda: backbone.loss(encode(backbone).shaped(*shape)))
    flops = Analytic(backbone).loss(shape)
    assert (flops.forward, flops.backward) == (forward, whole - forward)
    assert flops.parts["inserted"] > 0


class Declared(LowRank):
    """The same, with its second matrix as a product of two small ones, computed once per pass."""

    def __init__(self, inner: int, out: int):
        super().__init__(inner, out)
        del self.up
        self.left, self.right = nn.Parameter(torch.ones(4, 3)), nn.Parameter(torch.ones(3, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(x) @ (self.left @ self.right)

    def products(self, tokens: int) -> list[Product]:
        inner, out = self.down.in_features, self.right.shape[1]
        return [
            Product(tokens, inner, 4),
            Product(4, 3, out, left="trained"),
            Product(tokens, 4, out, left="trained"),
        ]


@pytest.mark.parametrize("reads", [None, r"encoder\.layer\.\d+\.intermediate\.dense"])
def test_products_that_a_plug_declares_are_counted(reads: str | None, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"], dropout=0.0)
    backbone.freeze(keep=backbone.head)
    site, inner = backbone.sites.ffn_down, 64 if reads is None else 32
    plug(backbone.model, site, "low", lambda host, width: Declared(inner, width), where="parallel", reads=reads)
    shape = (3, 7)
    forward, whole = counted_step(lambda: backbone.loss(encode(backbone).shaped(*shape)))
    flops = Analytic(backbone).loss(shape)
    assert (flops.forward, flops.backward) == (forward, whole - forward)
    assert flops.parts["inserted"] == 2 * 2 * (21 * inner * 4 + 4 * 3 * 32 + 21 * 4 * 32)


def _widths(host: nn.Module, sides: tuple[str, str]) -> list[int]:
    if isinstance(host, nn.Embedding):
        return [host.embedding_dim] * 2
    assert isinstance(host, nn.Linear)
    return [host.in_features if side == "in" else host.out_features for side in sides]


class Matrix(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(width))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix


def _matrix(backbone: Any) -> None:
    plug(backbone.model, backbone.sites.query, "matrix", lambda host, width: Matrix(width), where="after")


def _prompt(backbone: Any) -> None:
    backbone.model.register_parameter("prompt", nn.Parameter(torch.zeros(5, 32)))


def _parametrized(backbone: Any) -> None:
    query = backbone.model.get_submodule("encoder.layer.0.attention.self.query")
    nn.utils.parametrize.register_parametrization(query, "weight", nn.Identity())


def _recomputed(backbone: Any) -> None:
    backbone.model.encoder.layer[0].gradient_checkpointing = True  # as transformers' own switch sets it


def _unknown(backbone: Any) -> None:
    backbone.model.config.model_type = "mamba"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_matrix, "matrix in Matrix .* Linear layers"),
        (_prompt, r"bert reads prompt \(1 such"),
        (_parametrized, "parametrization computes the weight of .*query"),
        (_recomputed, "recomputed in the backward pass"),
        (_unknown, r"'mamba'; known: albert, .*ARCHITECTURES\[\"mamba\"\] = ArchitectureSpec"),
    ],
)
def test_unknown_costs_are_refused_with_the_reason(change: Any, reason: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    change(backbone)
    with pytest.raises(Unsupported, match=reason):
        Analytic(backbone).loss((2, 5))


def test_choices_in_rows_of_their_own_are_refused(
    language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = fresh_copy(language_models["gpt2"])
    analytic = Analytic(backbone)
    monkeypatch.setattr(type(backbone), "needs_separate_rows", True)
    with pytest.raises(Unsupported, match="apart from each other"):
        analytic.score((1, 5, 1, 7, 0, 3))


@pytest.mark.parametrize(
    ("products", "got"),
    [
        (None, "got None"),
        ("nonsense", "got 'n'"),
        ([(1, 2, 3)], r"got \(1, 2, 3\)"),
    ],
)
def test_invalid_products_are_an_error_that_names_their_module(
    products: Any, got: str, backbones: dict[str, str]
) -> None:
    class Odd(nn.Identity):
        def products(self, tokens: int) -> Any:
            return products

    backbone = fresh_copy(backbones["bert"])
    backbone.freeze(keep=backbone.head)
    plug(backbone.model, backbone.sites.ffn_down, "odd", lambda host, width: Odd(), where="after")
    with pytest.raises(ValueError, match=rf"products\(\) of Odd must return `Product`s .*{got}"):
        Analytic(backbone).loss((3, 7))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": -1}, "rows of a product must be a whole number of at least 0, got -1"),
        ({"outer": 1.5}, "outer of a product must be a whole number of at least 0, got 1.5"),
        ({"left": "banana"}, "left of a product must be one of input, trained, constant, got 'banana'"),
    ],
)
def test_a_product_has_sizes_and_known_factors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Product(**{"rows": 1, "inner": 1, "outer": 1} | change)
