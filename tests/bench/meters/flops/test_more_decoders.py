"""FLOPs of further decoders: closed forms equal the counts of the dispatcher, and experts count as they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.meters.flops.test_analytic import language_rows, same_batch
from tests.bench.meters.flops.test_counted_language_models import compare_totals
from tests.toys import fresh_copy, harness, pair_id, shipped
from tunefront import plan, run
from tunefront.bench.meters.flops.analytic import ARCHITECTURES, Analytic
from tunefront.bench.meters.flops.counted import counted_flops, counted_step
from tunefront.bench.models.tiny import MORE_LANGUAGE_MODELS, make_language_model
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.icl import ICL
from tunefront.methods.spelling import parse

DECODERS = [name for name, family in MORE_LANGUAGE_MODELS.items() if family == "decoder"]
CLOSED = [name for name in DECODERS if name in ARCHITECTURES]
MIXTURES = {"qwen3_moe": 16, "mixtral": 64}
"""The inner width of an expert; each token reads two of four."""


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_count_as_dispatched(name: str, method: Method, more_language_models: dict[str, str]) -> None:
    if method.packages:
        pytest.skip("modules of another package declare no products")
    backbone, train, _ = language_rows(more_language_models[name], method)
    same_batch(backbone, train, [0, 1, 2])


@pytest.mark.parametrize("method", ["full", "ia3", "layernorm"])
@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_without_dropout_count_as_dispatched(
    name: str, method: str, more_language_models: dict[str, str]
) -> None:
    """On CPU another kernel computes the attention then; and once more as plain products."""
    backbone, train, _ = language_rows(more_language_models[name], parse(method), dropout=0.0)
    same_batch(backbone, train, [3, 4])
    if name != "gptj":  # has only that
        backbone.model.set_attn_implementation("eager")
        same_batch(backbone, train, [3, 4])


@pytest.mark.parametrize("name", CLOSED)
def test_demonstrations_count_as_dispatched(name: str, more_language_models: dict[str, str]) -> None:
    method = ICL(k=3)
    backbone, train, test = language_rows(more_language_models[name], method)
    trainer = harness(backbone, method, rows=4)
    scorer = method.fit(backbone, train, trainer)
    analytic, rows = Analytic(backbone), trainer.prompts.prepend_to(test)
    batch = rows.batch(rows.scoring_order(4)[0])
    with torch.no_grad():
        assert analytic.score(rows.shape(batch)).forward == counted_flops(lambda: scorer(batch))
        (prefix,) = trainer.prompts._prefixes
        assert analytic.prefix(prefix.tokens).forward == counted_flops(lambda: backbone.read(prefix))


def experts_flops(config: Any, inner: int, tokens: int) -> int:
    """One block's feed-forward: the router, and for each chosen expert of a token the gate, the product and the way
    back."""
    width, chosen = config.hidden_size, config.num_experts_per_tok
    return 2 * tokens * width * 4 + 2 * tokens * chosen * 3 * width * inner


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_count_as_often_as_tokens_read_them(name: str, more_language_models: dict[str, str]) -> None:
    backbone = fresh_copy(more_language_models[name])
    mlp = backbone.model.model.layers[0].mlp
    states = torch.randn(3, 7, 32, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = experts_flops(backbone.model.config, MIXTURES[name], 21)
    with torch.no_grad():
        assert counted_flops(lambda: mlp(states)) == expected
    mlp.requires_grad_(False)
    forward, both = counted_step(lambda: mlp(states).sum())
    assert (forward, both) == (expected, 2 * expected), "gradients of the states alone"
    mlp.requires_grad_(True)
    assert counted_step(lambda: mlp(states).sum()) == (expected, 3 * expected), "and those of the weights"


@pytest.mark.parametrize("method", ["full", "lora:rank=2", "prefix_tuning:length=3,hidden=0", "icl:k=4"])
@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixtures_totals_equal_the_counts_of_every_batch(
    name: str, method: str, more_language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which expert a token reads changes nothing, so small batches tell what larger ones cost."""
    compare_totals(parse(method), more_language_models[name], monkeypatch)


@pytest.mark.parametrize(("name", "method"), [("mixtral", "lora:rank=2"), ("bloom", "icl:k=2")])
def test_a_plan_counts_what_a_run_counts(
    name: str, method: str, more_language_models: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    """On tensors without values, also where a choice needs a row of its own, which no trial can find out there."""
    cell: dict[str, Any] = {"methods": [method], "backbones": [more_language_models[name]], "tasks": [toy_folder]}
    cell |= {"shots": [8], "draws": [0], "seeds": [0], "settings": {"steps": 2, "batch_size": 4}}
    planned, counted = (next(iter(records)).flops for records in (plan(**cell), run(**cell, out=str(tmp_path))))
    assert (planned.train, planned.prefix) == (counted.train, counted.prefix)
    assert planned.inference_per_example == counted.inference_per_example


@pytest.mark.parametrize("name", [name for name in DECODERS if name not in CLOSED])
def test_what_has_no_closed_form_says_so(name: str, more_language_models: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="unknown architecture"):
        Analytic(fresh_copy(more_language_models[name]))


def test_one_block_of_gemma2_by_hand(tmp_path: Path) -> None:
    """Norms on both sides of each sublayer, one head of keys, caps on scores and logits."""
    fields: dict[str, Any] = {"num_hidden_layers": 1, "layer_types": ["full_attention"]}
    backbone = fresh_copy(str(make_language_model(tmp_path / "gemma2", "gemma2", **fields)))
    words = backbone.model.config.vocab_size
    n, read, d, inner, heads, queries, keys = 11, 3, 32, 64, 2, 24, 12
    flops = Analytic(backbone).score((1, n, 1, n, 0, read))
    assert flops.parts == {
        "projections": 2 * n * (2 * d * queries + 2 * d * keys),
        "attention": 2 * (2 * n * n * queries),
        "feed_forward": 2 * n * 3 * d * inner,
        "output": 2 * read * d * words,
    }
    norms, residuals, rotation = 5 * 4 * n * d, 2 * n * d, 3 * n * (queries + keys)
    scores, gated, predicted = (7 + 3) * heads * n * n, (8 + 1) * n * inner, (5 + 3) * read * words
    assert flops.elementwise == norms + residuals + rotation + scores + gated + predicted


@pytest.mark.parametrize(
    ("name", "fields", "difference"),
    [
        ("granite", {"logits_scaling": 1.0, "residual_multiplier": 1.0}, 2 * 2 * 11 * 32),  # two sums in each block
        ("smollm3", {"no_rope_layers": [1, 1]}, -3 * 11 * (32 + 16)),  # the second block does not rotate
        ("cohere2", {"layer_types": ["sliding_attention"] * 2}, -3 * 11 * (32 + 16)),
        ("gemma2", {"attn_logit_softcapping": None}, 3 * 2 * 2 * 11 * 11),
        ("phi", {"qk_layernorm": False}, 7 * 2 * 2 * 11 * 32),
    ],
)
def test_what_an_architecture_adds_elementwise(
    name: str, fields: dict[str, Any], difference: int, more_language_models: dict[str, str], tmp_path: Path
) -> None:
    plain = fresh_copy(str(make_language_model(tmp_path / name, name, **fields)))
    own = fresh_copy(more_language_models[name])
    shape = (1, 11, 1, 11, 0, 3)
    first, second = (Analytic(backbone).score(shape) for backbone in (own, plain))
    assert first.elementwise - second.elementwise == difference
    assert first.parts == second.parts
