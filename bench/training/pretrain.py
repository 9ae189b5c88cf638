"""Pretraining a method on a mixture of tasks, into a file that training on a task can start from."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tunefront.bench.errors import UserError
from tunefront.bench.files import writing
from tunefront.bench.models import checkpoints, locate
from tunefront.bench.models.families import Decoder, Encoder, Prompting, Seq2Seq
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.scoring.prompted import PromptedExamples
from tunefront.bench.records.environment import git_commit, versions
from tunefront.bench.settings import RunConfig, as_scalars
from tunefront.bench.training.harness import MeasuringHarness, Report
from tunefront.bench.training.instruments import Subject
from tunefront.bench.training.mixture import CAP, MixtureTask, draw_rows
from tunefront.methods.base import Method, Recipe, Unsupported
from tunefront.methods.registry import source_fingerprint
from tunefront.methods.spelling import spell

RECIPE = Recipe(
    optimizer="adafactor",
    learning_rate=3e-4,
    weight_decay=0.0,
    warmup=0.06,
    batch_size=16,
    steps=100_000,
    likelihood_weight=1.0,
    unlikelihood_weight=0.0,
    length_normalised_weight=0.0,
)
"""T-Few's recipe (Liu et al. 2022, section 3.4, and its code): only the likelihood loss, because the batches of its
mixture have no wrong answers. A method's own recipe is for single tasks and is not used."""
CONFIG = RunConfig(max_length=256)
"""T-Few's longest prompt, in tokens."""
SETTINGS = ("device", "threads", "max_length", "context_length")
"""The run settings that have an effect; nothing is scored."""


@dataclass(frozen=True)
class Pretraining:
    """A validated request: the method, the backbone, the mixture and the settings."""

    method: Method
    backbone: str
    mixture: tuple[MixtureTask, ...]
    recipe: Recipe = RECIPE
    config: RunConfig = field(default=CONFIG)
    cap: int = CAP
    seed: int = 0


@dataclass(frozen=True)
class PretrainingResult:
    """The result: content of the file, number of prompts and of truncated ones, and costs."""

    tensors: int
    params: int
    prompts: int
    truncated: int
    steps: int
    flops: int
    seconds: float
    loss: float | None


def pretrain(
    request: Pretraining, path: Path, report: Report | None = None, on_status: Callable[[str], None] = lambda _: None
) -> PretrainingResult:
    """Trains, and writes the trained tensors to `path`, whole or not at all; replaces an existing file.

    `report` is called with steps, `on_status` with other work that takes time.
    Errors: UserError if the method cannot be pretrained, `training.harness.NotFinite` if the loss explodes.
    """
    torch.set_num_threads(request.config.threads)
    on_status(f"loading {request.backbone}")
    backbone = _backbone(request)
    try:
        request.method.attach(backbone)
    except Unsupported as reason:
        raise UserError(f"{spell(request.method)} cannot be pretrained on {request.backbone}: {reason}.") from reason
    if backbone.head is not None:
        raise UserError(
            f"{spell(request.method)} trains a head, which belongs to one task; a mixture of tasks has none."
        )
    if not backbone.trainable():
        raise UserError(
            f"{spell(request.method)} has no trainable parameters before it reads a task's rows, so it cannot be "
            "pretrained."
        )
    examples = _encoded(request, backbone, on_status)
    identity = ("pretrain", spell(request.method), source_fingerprint(request.method), str(backbone.fingerprint))
    harness = MeasuringHarness(Subject(backbone.model, request.recipe, request.seed, identity), report=report)
    request.method.fit(backbone, examples, harness)
    shipped = checkpoints.shipped(backbone.model, backbone.published_buffers)
    tensors = {name: value.detach().cpu().contiguous() for name, value in shipped.items()}
    on_status(f"writing {path}")
    with writing(path) as file:
        file.write(save(tensors, _metadata(request, examples, harness) | checkpoints.seed_metadata(backbone.model)))
    return PretrainingResult(
        tensors=len(tensors),
        params=sum(value.numel() for value in backbone.trainable().values()),
        prompts=len(examples),
        truncated=examples.truncated,
        steps=harness.cost.steps,
        flops=harness.cost.flops,
        seconds=harness.cost.clock.seconds,
        loss=harness.cost.final_loss,
    )


def _backbone(request: Pretraining) -> Decoder | Seq2Seq:
    first, recipe = request.mixture[0], request.recipe
    prompting = Prompting(
        first.templates[0], losses=LossWeights.of(recipe), context_length=request.config.context_length
    )
    pretrained = Pretrained(request.backbone, torch.device(request.config.device))
    backbone = pretrained.fresh_copy(first.task, request.seed, recipe.dropout, prompting)
    if isinstance(backbone, Encoder):
        raise UserError(
            f"{request.backbone} is an encoder, which has a separate head for each task; give a language model."
        )
    return backbone


def _encoded(request: Pretraining, backbone: Decoder | Seq2Seq, on_status: Callable[[str], None]) -> PromptedExamples:
    recipe = request.recipe
    most = None if recipe.steps is None else recipe.steps * recipe.batch_size
    parts = []
    for task, template, rows in draw_rows(request.mixture, request.cap, most, request.seed):
        if rows:
            on_status(f"encoding {task.name}, {template.name}")
            parts.append(backbone.with_task(task, template).encode(task, rows, request.config.max_length))
    if not parts:
        raise UserError(
            "no template of the mixture applies to any row that was drawn; give other templates, or draw more rows."
        )
    examples = PromptedExamples.joined(parts)
    uses_wrong_answers = recipe.unlikelihood_weight or recipe.length_normalised_weight
    return examples if uses_wrong_answers else examples.right_answers()


def _metadata(request: Pretraining, examples: PromptedExamples, harness: MeasuringHarness) -> dict[str, str]:
    """The metadata of the file: texts, and JSON for other values."""
    mixture = [
        {
            "task": member.task.name,
            "fingerprint": member.task.fingerprint,
            "templates": {template.name: template.fingerprint for template in member.templates},
        }
        for member in request.mixture
    ]
    parts: Mapping[str, Any] = {  # Any: JSON values
        "mixture": mixture,
        "cap": request.cap,
        "seed": request.seed,
        "recipe": as_scalars(request.recipe),
        "settings": as_scalars(request.config),
        "prompts": len(examples),
        "truncated": examples.truncated,
        "train_steps": harness.cost.steps,
        "train_flops": harness.cost.flops,
        "train_seconds": harness.cost.clock.seconds,
        "final_train_loss": harness.cost.final_loss,
        "versions": versions(),
        "git_commit": git_commit(),
    }
    return {
        "format": "pt",
        "method": spell(request.method),
        "backbone": request.backbone,
        "backbone_fingerprint": locate.fingerprint(request.backbone),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{name: json.dumps(value) for name, value in parts.items()},
    }
