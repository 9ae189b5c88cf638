"""A toy task in memory, pristine tiny backbones for it, and a harness: what most tests of methods and bench share."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.backbones import pretrained
from bench.batching import EncodedExamples
from bench.families.encoder import Encoder
from bench.settings import resolve_recipe
from bench.tasks import Kind, MetricSpec, Row, Task
from bench.trainer import Trainer
from methods.base import Batch, Method, Recipe, Unsupported
from methods.registry import methods
from methods.spelling import spell
from tests.conftest import FAMILIES, WORDS

SMALL = {"top_layers": {"n": 1}}
"""Fields that a two-layer backbone of width 32 needs; every other method runs with its defaults."""


def shipped() -> list[Method]:
    """Every registered method once, but those that other tests define."""
    known = methods().items()
    return [cls(**SMALL.get(name, {})) for name, cls in known if not cls.__module__.startswith("tests.")]


def pairs() -> list[tuple[Method, str]]:
    """Every method with every encoder family."""
    return [(method, family) for method in shipped() for family in FAMILIES]


def pair_id(value: object) -> str | None:
    """A method as spelled, in test ids."""
    return spell(value) if isinstance(value, Method) else None


def toy_task(
    kind: Kind = "classification", rows: tuple[int, int] = (64, 40), words: tuple[int, int] = (2, 9), seed: int = 0
) -> Task:
    """The sentiment of one word among fillers; `words` bounds how many fillers a row has, `rows` is train and test."""
    generator = random.Random(seed)

    def row(place: int) -> Row:
        label = place % 2
        text = [generator.choice(WORDS[6:]) for _ in range(generator.randint(*words))]
        text.insert(generator.randrange(len(text) + 1), generator.choice(WORDS[3:6] if label else WORDS[:3]))
        return Row(str(place), {"text": " ".join(text)}, float(label) if kind == "regression" else label)

    splits = {name: [row(place) for place in range(count)] for name, count in zip(("train", "test"), rows, strict=True)}
    names = () if kind == "regression" else ("good", "bad")
    metric = MetricSpec("spearman" if kind == "regression" else "accuracy")
    return Task("toy", kind, splits, ("text",), names, (metric,))


def pristine(folder: str, task: Task | None = None, seed: int = 0, dropout: float | None = None) -> Encoder:
    """A backbone as published with a fresh head; the one made before it from the same folder is dead now."""
    return pretrained(folder).pristine(task or toy_task(), seed, dropout)


def attach(method: Method, backbone: Any) -> None:
    """Attaches a method, or skips the test with the reason that it gives."""
    try:
        method.attach(backbone)
    except Unsupported as reason:
        pytest.skip(str(reason))


def encode(backbone: Encoder, task: Task | None = None, split: str = "train") -> EncodedExamples:
    """The tokenised rows of a split."""
    task = task or toy_task()
    return backbone.encode(task, task.splits[split], 128)


def harness(backbone: Encoder, method: Method, seed: int = 0, features: Any = None, **recipe: Any) -> Trainer:
    """The harness for a method with a few changes to its recipe."""
    settings = resolve_recipe(method, {"batch_size": 16, **recipe})
    identity = (spell(method), backbone.model.config.model_type, backbone.pooling)
    return Trainer(backbone.model, settings, seed, identity, features, eval_batch_size=16)


def bare_harness(model: torch.nn.Module, identity: tuple[str, ...] = ("bare",), **recipe: Any) -> Trainer:
    """A harness without a method."""
    return Trainer(model, replace(Recipe(batch_size=8), **recipe), 0, identity)


def shake(parameters: dict[str, torch.nn.Parameter], scale: float = 0.1) -> None:
    """Moves every parameter off its initial value, so that what a method inserts takes part."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def widened(batch: Batch, examples: EncodedExamples, extra: int) -> Batch:
    """The same batch with `extra` more columns of padding on the right."""
    padded = {
        name: torch.nn.functional.pad(value, (0, extra), value=examples.padding[name])
        for name, value in batch.inputs.items()
    }
    return Batch(padded, batch.labels, batch.rows)


def tree(model: nn.Module) -> dict[str, object]:
    """Everything about a model that a method may have left behind."""
    hooks = [slot for slot in vars(nn.Module()) if slot.endswith("_hooks")]
    assert "_forward_pre_hooks" in hooks
    modules = {
        path: (type(module), module.training, [len(getattr(module, slot)) for slot in hooks], sorted(vars(module)))
        for path, module in model.named_modules()
    }
    flags = {name: (p.requires_grad, p.grad, p.dtype, p.shape, p.is_leaf) for name, p in model.named_parameters()}
    rates = {path: module.p for path, module in model.named_modules() if isinstance(module, nn.Dropout)}
    return {"modules": modules, "flags": flags, "rates": rates, "config": model.config.to_dict()}
