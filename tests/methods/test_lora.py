"""LoRA: its counts, what its updates add, and what merging them into the weights gives."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import encode, fresh_copy, shake, trained_on_preset
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.base import Unsupported
from tunefront.methods.inject import matching
from tunefront.methods.lora import LoRA, LowRank
from tunefront.methods.spelling import parse

TFEW = "lora:rank=4,alpha=1,sites=every,std=0.01,norms=true"


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int]) -> None:
    d, inner, blocks, rank = size["hidden_size"], size["intermediate_size"], size["num_hidden_layers"], 8
    for method, formula in (
        (LoRA(), 2 * blocks * rank * 2 * d),
        (LoRA(sites="every"), blocks * rank * (4 * 2 * d + 2 * (d + inner))),
    ):
        backbone = bert_without_weights(size, method, classes=3)
        assert sum(p.numel() for p in backbone.trainable().values()) == formula + 3 * (d + 1)


@pytest.mark.parametrize(("preset", "count"), [("t0-3b", 9_097_216), ("t0-11b", 18_194_432)])
def test_counts_on_t0_equal_tfews(preset: str, count: int) -> None:
    assert trained_on_preset(parse(TFEW), preset) == count


@pytest.mark.parametrize(("sites", "count"), [("query_value", 12 * 2 * 4 * 2 * 768), ("every", 4 * 12 * 768 * 16)])
def test_counts_on_gpt2_with_a_fused_projection(sites: str, count: int) -> None:
    """Under `every` the four projections of a block have 1 + 3, 1 + 1, 1 + 4 and 4 + 1 widths."""
    assert trained_on_preset(parse(f"lora:rank=4,sites={sites}"), "gpt2") == count


def test_the_first_values_are_those_of_the_authors_code_or_normal() -> None:
    torch.manual_seed(0)
    uniform, normal = (LowRank(400, 300, 16, 1.0, std, 0.0) for std in (None, 0.01))
    bound = 400**-0.5
    assert 0.99 * bound < uniform.down.weight.abs().max() <= bound
    assert uniform.down.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert normal.down.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert not torch.cat((uniform.up.weight, normal.up.weight)).any()


def _rows(name: str, part: str, heads: int, outer: int) -> Tensor:
    """The outputs of a projection that an update adds to: of a fused one its queries or values."""
    if part == "":
        return torch.arange(outer)
    layout = torch.arange(outer).view(heads if name == "gpt_neox" else 1, 3, -1)
    return layout[:, {"query": 0, "value": 2}[part]].flatten()


@pytest.mark.parametrize("sites", ["query_value", "every"])
@pytest.mark.parametrize("name", ["bert", "deberta-v2", "gpt2", "gpt_neox", "llama", "qwen2", "t5-gated"])
def test_outputs_and_gradients_are_those_of_merged_weights(name: str, sites: str, folders: dict[str, str]) -> None:
    """W + (alpha / rank) B A in the place of each weight W; the gradients of A and B follow from that of W."""
    rank, alpha = 4, 6.0
    backbone = fresh_copy(folders[name], dropout=0.0)
    LoRA(rank=rank, alpha=alpha, sites=sites).attach(backbone)  # type: ignore[arg-type]
    shake({n: p for n, p in backbone.trainable().items() if not n.startswith("head.")})
    model, heads = backbone.model, 2
    batch = encode(backbone).batch(range(8))
    backbone.loss(batch).backward()
    score = backbone.score(batch).detach()
    updates = {path: module for path, module in model.named_modules() if isinstance(module, LowRank)}
    assert updates
    factors = {path: (m.up.weight.detach().clone(), m.down.weight.detach().clone()) for path, m in updates.items()}
    gradients = {path: (m.up.weight.grad, m.down.weight.grad) for path, m in updates.items()}

    merged = fresh_copy(folders[name], dropout=0.0)
    merged.model.requires_grad_(True)
    hosts: dict[str, tuple[nn.Parameter, Tensor, bool]] = {}
    for path, (up, down) in factors.items():
        host, _, part = path.partition(".lora")
        module = merged.model.get_submodule(host)
        transposed = not isinstance(module, nn.Linear)  # GPT-2's Conv1D
        weight: nn.Parameter = module.weight  # type: ignore[assignment]
        rows = _rows(name, part.lstrip("."), heads, weight.shape[1 if transposed else 0])
        change = up @ down * (alpha / rank)
        with torch.no_grad():
            if transposed:
                weight[:, rows] += change.T
            else:
                weight[rows] += change
        hosts[path] = weight, rows, transposed
    merged.loss(batch).backward()
    assert torch.allclose(merged.score(batch).detach(), score, rtol=1e-5, atol=1e-5)
    for path, (weight, rows, transposed) in hosts.items():
        assert weight.grad is not None
        gradient = (weight.grad.T if transposed else weight.grad)[rows] * (alpha / rank)
        (up, down), (up_gradient, down_gradient) = factors[path], gradients[path]
        assert torch.allclose(up_gradient, gradient @ down.T, rtol=1e-4, atol=1e-5), path
        assert torch.allclose(down_gradient, up.T @ gradient, rtol=1e-4, atol=1e-5), path


@pytest.mark.parametrize("family", FAMILIES)
def test_queries_and_values_alone_have_an_update(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    LoRA(rank=3).attach(backbone)
    sites = backbone.sites
    expected = {p for site in (sites.query, sites.value) for p in matching(backbone.model, site)}
    actual = {path.removesuffix(".lora") for path, m in backbone.model.named_modules() if isinstance(m, LowRank)}
    assert actual == expected
    heads = {n for n, _ in backbone.model.named_parameters() if n.startswith("head.")}
    assert set(backbone.trainable()) - heads == {f"{p}.lora.{n}.weight" for p in expected for n in ("down", "up")}


def test_dropout_acts_in_training_on_what_the_update_reads(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"], dropout=0.0)
    LoRA(dropout=0.5).attach(backbone)
    update = next(m for m in backbone.model.modules() if isinstance(m, LowRank))
    nn.init.ones_(update.up.weight)
    x, seen = torch.ones(64, 32), []
    update.down.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    update.train()(x)
    update.eval()(x)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[1], x)


@pytest.mark.parametrize(
    ("name", "sites", "widths"), [("bert", "query_value", "32 by 32"), ("qwen2", "every", "32 by 16")]
)
def test_a_rank_above_the_width_is_refused(name: str, sites: str, widths: str, folders: dict[str, str]) -> None:
    method = LoRA(rank=33 if name == "bert" else 17, sites=sites)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match=f"rank above the width: lora has rank {method.rank}, .* is {widths}"):
        method.attach(fresh_copy(folders[name]))
    LoRA(rank=method.rank - 1, sites=sites).attach(fresh_copy(folders[name]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spelled", "message"),
    [
        ("lora:rank=0", "rank must be at least 1, got 0"),
        ("lora:alpha=-1", "alpha must be above 0, got -1"),
        ("lora:alpha=0", "alpha must be above 0, got 0"),
        ("lora:std=0", "std must be above 0, got 0"),
        ("lora:std=-0.1", "std must be above 0, got -0.1"),
        ("lora:dropout=1", "dropout must be at most 0.99, got 1"),
        ("lora:sites=key", re.escape("sites in lora:sites=key must be one of query_value, every, got 'key'")),
    ],
)
def test_impossible_fields_are_refused(spelled: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(spelled)
