"""The analytic FLOPs equal the counts of torch's dispatcher for the same batch."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.toys import (
    Listed,
    attach,
    encode,
    fit_without_steps,
    fresh_copy,
    harness,
    mixed_task,
    pair_id,
    pairs,
    shipped,
    takes_choices,
    toy_task,
)
from tunefront.bench.meters.flops.analytic import ARCHITECTURES, Analytic
from tunefront.bench.meters.flops.counted import counted_flops, counted_step
from tunefront.bench.models import tiny
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.shapes import Shape
from tunefront.bench.models.tiny import LANGUAGE_MODELS, make_backbone, make_language_model
from tunefront.methods.base import Batch, Method
from tunefront.methods.icl import ICL
from tunefront.methods.sites import SITES
from tunefront.methods.spelling import parse


def exactly(backbone: Any, batch: Batch, training: Shape, scoring: Shape, case: str = "") -> None:
    """Compares forward, backward, scores and features of a batch: counted and analytic."""
    if not backbone.trainable():
        pytest.skip("nothing is trained")
    analytic = Analytic(backbone)
    backbone.model.train()
    forward, whole = counted_step(lambda: backbone.loss(batch))
    backbone.model.eval()
    with torch.no_grad():
        scores, features = (counted_flops(lambda c=c: c(batch)) for c in (backbone.score, backbone.features))
    step = analytic.loss(training)
    computed = (step.forward, step.backward, analytic.score(scoring).forward, analytic.features(scoring).forward)
    assert computed == (forward, whole - forward, scores, features), case
    assert sum(step.parts.values()) == step.forward
    assert step.elementwise > 0


def same_batch(backbone: Any, rows: EncodedExamples, places: list[int]) -> None:
    batch = rows.batch(places)
    exactly(backbone, batch, rows.shape(batch, training=True), rows.shape(batch), f"rows {places}")


def language_rows(folder: str, method: Method, **settings: Any) -> tuple[Any, EncodedExamples, EncodedExamples]:
    """A language model with a method; training and test rows of mixed lengths."""
    chosen = takes_choices(method, folder)
    task = mixed_task(8, 9) if chosen else toy_task(rows=(8, 9), words=(1, 20))
    template = {"template": Listed()} if chosen else {}
    backbone = fresh_copy(folder, task, **template, **settings)
    attach(method, backbone)
    fit_without_steps(method, backbone, encode(backbone, task))
    return backbone, encode(backbone, task), encode(backbone, task, "test")


@pytest.mark.parametrize("dropout", [None, 0.0])
@pytest.mark.parametrize(("method", "family"), pairs(), ids=pair_id)
def test_encoders_count_as_dispatched(
    method: Method, family: str, dropout: float | None, backbones: dict[str, str]
) -> None:
    if method.packages:
        pytest.skip("modules of another package declare no products")
    backbone = fresh_copy(backbones[family], dropout=dropout)
    attach(method, backbone)
    rows = encode(backbone, toy_task(words=(2, 50), rows=(24, 8)))
    fit_without_steps(method, backbone, rows)
    for shape in ((1, 3), (5, 37)):
        exactly(backbone, rows.shaped(*shape), shape, shape, str(shape))


@pytest.mark.parametrize("dropout", [None, 0.0])
@pytest.mark.parametrize("method", shipped(), ids=pair_id)
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_models_count_as_dispatched(
    name: str, method: Method, dropout: float | None, language_models: dict[str, str]
) -> None:
    if method.packages:
        pytest.skip("modules of another package declare no products")
    backbone, train, _ = language_rows(language_models[name], method, dropout=dropout)
    same_batch(backbone, train, [0, 1, 2] if dropout is None else [3])


@pytest.mark.parametrize("method", [ICL(k=0), ICL(k=4), ICL(k=3, ensemble=2, calibrate=True)], ids=pair_id)
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_demonstrations_and_queries_count_as_dispatched(
    name: str, method: ICL, language_models: dict[str, str]
) -> None:
    backbone, train, test = language_rows(language_models[name], method)
    trainer = harness(backbone, method, rows=4)
    scorer = method.fit(backbone, train, trainer)
    analytic, rows = Analytic(backbone), trainer.prompts.prepend_to(test)
    batch = rows.batch(rows.scoring_order(4)[0])
    with torch.no_grad():
        assert analytic.score(rows.shape(batch)).forward == counted_flops(lambda: scorer(batch))
        for prefix in trainer.prompts._prefixes:
            counted = counted_flops(lambda p=prefix: backbone.read(p))
            assert analytic.prefix(prefix.tokens).forward == counted
    assert analytic.prefix(0).forward == 0


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_a_padded_batch_counts_with_its_padding(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    rows = encode(backbone, toy_task(words=(2, 50), rows=(24, 8)))
    batch = rows.batch(range(6))
    assert not batch.inputs["attention_mask"].all()
    exactly(backbone, batch, rows.shape(batch), rows.shape(batch))


def test_precomputed_features_cost_only_the_head(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["roberta"])
    rows = encode(backbone).with_features(torch.zeros(64, 32))
    attach(parse("features"), backbone)
    batch = rows.batch(range(5))
    exactly(backbone, batch, (5, 0), (5, 0))
    assert Analytic(backbone).loss((5, 0)).parts == {"head": 2 * 5 * (32 * 32 + 32 * 2)}


def test_the_mean_of_states_needs_no_pooler(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["distilbert"])
    backbone.pooling = "mean"
    rows = encode(backbone)
    exactly(backbone, rows.shaped(3, 9), (3, 9), (3, 9))
    backbone.pooling = "first"
    assert Analytic(backbone).loss((3, 9)).forward == Analytic(backbone).score((3, 9)).forward


@pytest.mark.parametrize(
    "config",
    [
        {"share_att_key": False},
        {"share_att_key": False, "pos_att_type": ["c2p"]},
        {"relative_attention": False, "norm_rel_ebd": "none"},
        {"position_buckets": -1, "max_relative_positions": 20, "norm_rel_ebd": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["full", "houlsby", "top_layers:n=1"])
def test_every_kind_of_disentangled_attention(config: dict[str, Any], method: str, tmp_path: Path) -> None:
    backbone = fresh_copy(str(make_backbone(tmp_path / "model", "deberta-v2", **config)))
    attach(parse(method), backbone)
    exactly(backbone, encode(backbone).shaped(3, 12), (3, 12), (3, 12))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),  # like OPT-350m
        ("gpt_neox", {"use_parallel_residual": False, "attention_bias": False}),
        ("qwen2", {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}),
        ("qwen3", {"num_key_value_heads": 1, "head_dim": 12}),  # norms on each head, and heads wider than the model
        ("bart", {"encoder_attention_heads": 4, "scale_embedding": True}),
    ],
)
@pytest.mark.parametrize("method", ["full", "houlsby", "ia3"])
def test_variants_of_an_architecture(
    name: str, config: dict[str, Any], method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiny._SIZES, "qwen3", tiny._ROTARY)
    monkeypatch.setitem(LANGUAGE_MODELS, "qwen3", "decoder")
    folder = str(make_language_model(tmp_path / "model", name, **config))
    backbone, train, _ = language_rows(folder, parse(method))
    same_batch(backbone, train, [0, 1, 2])


@pytest.mark.parametrize("method", ["full", "ia3"])
@pytest.mark.parametrize("name", ["bert", "qwen2", "t5-gated"])
def test_eager_attention_is_made_of_plain_products(name: str, method: str, folders: dict[str, str]) -> None:
    """In the first block, keys and values pass gradients to the plugs, but queries do not."""
    if name == "bert":
        backbone = fresh_copy(folders[name], dropout=0.0)
        attach(parse(method), backbone)
        train = encode(backbone)
    else:
        backbone, train, _ = language_rows(folders[name], parse(method), dropout=0.0)
    backbone.model.set_attn_implementation("eager")
    same_batch(backbone, train, [0, 1, 2])


COUNTED_ONLY = {"bloom", "falcon", "qwen3_moe", "mixtral"}
"""Architectures without a specification: rows of their own for every choice, or mixtures of experts."""


def test_every_architecture_with_sites_has_a_specification() -> None:
    assert set(ARCHITECTURES) == set(SITES) - COUNTED_ONLY


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["roberta", "deberta-v2", "gpt_neox", "qwen2", "t5", "bart"])
def test_whatever_is_frozen_counts_as_dispatched(name: str, seed: int, folders: dict[str, str]) -> None:
    """A few trained parameters anywhere, including biases and norms, determine the depth of the backward pass."""
    if name in LANGUAGE_MODELS:
        backbone, train, _ = language_rows(folders[name], parse("full"), dropout=seed * 0.1)
    else:
        backbone = fresh_copy(folders[name], dropout=seed * 0.1)
        train = encode(backbone)
    drawn = random.Random(f"{name} {seed}")
    parameters = list(backbone.model.parameters())
    for _ in range(4):
        backbone.model.requires_grad_(False)
        for parameter in drawn.sample(parameters, drawn.choice((1, 2, 5))):
            parameter.requires_grad_(True)
        same_batch(backbone, train, [0, 1])
