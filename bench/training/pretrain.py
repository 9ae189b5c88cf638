"""Training a method on a mixture of tasks; what it learned goes into a file that training on a task may start from."""

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
from tunefront.bench.training.mixture import CAP, MixtureTask, drawn
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
"""T-Few's (Liu et al. 2022, section 3.4, and its code): the likelihood alone, since a batch of its mixture holds no
wrong answers. A method's own recipe, which is one for a task, plays no part."""
CONFIG = RunConfig(max_length=256)
"""T-Few's longest prompt, in tokens."""
SETTINGS = ("device", "threads", "max_length", "context_length")
"""The run settings that play a part: nothing is scored."""


@dataclass(frozen=True)
class Pretraining:
    """What is trained, on what, and how, as checked before anything runs."""

    method: Method
    backbone: str
    mixture: tuple[MixtureTask, ...]
    recipe: Recipe = RECIPE
    config: RunConfig = field(default=CONFIG)
    cap: int = CAP
    seed: int = 0


@dataclass(frozen=True)
class Start:
    """What came of it: what the file holds, the prompts that were drawn and how many of them were cut, the cost."""

    tensors: int
    params: int
    prompts: int
    truncated: int
    steps: int
    flops: int
    seconds: float
    loss: float | None


def pretrain(
    asked: Pretraining, path: Path, report: Report | None = None, tell: Callable[[str], None] = lambda _: None
) -> Start:
    """Trains, and writes what ships of it to `path`, whole or not at all; a file that is there is replaced.

    `report` hears of steps, `tell` of what else takes time.
    Errors: UserError where the method cannot be trained so, `training.harness.NotFinite` where the loss explodes.
    """
    torch.set_num_threads(asked.config.threads)
    tell(f"loading {asked.backbone}")
    backbone = _backbone(asked)
    try:
        asked.method.attach(backbone)
    except Unsupported as reason:
        raise UserError(f"{spell(asked.method)} cannot be pretrained on {asked.backbone}: {reason}.") from reason
    if backbone.head is not None:
        raise UserError(f"{spell(asked.method)} trains a head, which belongs to one task; a mixture of tasks has none.")
    if not backbone.trainable():
        raise UserError(
            f"{spell(asked.method)} trains nothing before it has read a task's rows, "
            "so that nothing could start from it."
        )
    examples = _encoded(asked, backbone, tell)
    identity = ("pretrain", spell(asked.method), source_fingerprint(asked.method), str(backbone.fingerprint))
    trainer = MeasuringHarness(Subject(backbone.model, asked.recipe, asked.seed, identity), report=report)
    asked.method.fit(backbone, examples, trainer)
    shipped = checkpoints.shipped(backbone.model, backbone.published_buffers)
    tensors = {name: value.detach().cpu().contiguous() for name, value in shipped.items()}
    tell(f"writing {path}")
    with writing(path) as file:
        file.write(save(tensors, _metadata(asked, examples, trainer) | checkpoints.seed_metadata(backbone.model)))
    return Start(
        tensors=len(tensors),
        params=sum(value.numel() for value in backbone.trainable().values()),
        prompts=len(examples),
        truncated=examples.truncated,
        steps=trainer.cost.steps,
        flops=trainer.cost.flops,
        seconds=trainer.cost.clock.seconds,
        loss=trainer.cost.final_loss,
    )


def _backbone(asked: Pretraining) -> Decoder | Seq2Seq:
    first, recipe = asked.mixture[0], asked.recipe
    prompting = Prompting(first.templates[0], losses=LossWeights.of(recipe), context_length=asked.config.context_length)
    pretrained = Pretrained(asked.backbone, torch.device(asked.config.device))
    backbone = pretrained.pristine(first.task, asked.seed, recipe.dropout, prompting)
    if isinstance(backbone, Encoder):
        raise UserError(f"{asked.backbone} is an encoder, which has a head for each task; give a language model.")
    return backbone


def _encoded(asked: Pretraining, backbone: Decoder | Seq2Seq, tell: Callable[[str], None]) -> PromptedExamples:
    recipe = asked.recipe
    most = None if recipe.steps is None else recipe.steps * recipe.batch_size
    parts = []
    for task, template, rows in drawn(asked.mixture, asked.cap, most, asked.seed):
        if rows:
            tell(f"encoding {task.name}, {template.name}")
            parts.append(backbone.asking(task, template).encode(task, rows, asked.config.max_length))
    if not parts:
        raise UserError("no template of the mixture applies to any row that was drawn; take others, or draw more rows.")
    examples = PromptedExamples.joined(parts)
    wrong_ones_weigh = recipe.unlikelihood_weight or recipe.length_normalised_weight
    return examples if wrong_ones_weigh else examples.right_answers()


def _metadata(asked: Pretraining, examples: PromptedExamples, trainer: MeasuringHarness) -> dict[str, str]:
    """What the file says of itself: texts, and JSON for all else."""
    mixture = [
        {
            "task": one.task.name,
            "fingerprint": one.task.fingerprint,
            "templates": {template.name: template.fingerprint for template in one.templates},
        }
        for one in asked.mixture
    ]
    parts: Mapping[str, Any] = {  # Any: as JSON has it
        "mixture": mixture,
        "cap": asked.cap,
        "seed": asked.seed,
        "recipe": as_scalars(asked.recipe),
        "settings": as_scalars(asked.config),
        "prompts": len(examples),
        "truncated": examples.truncated,
        "train_steps": trainer.cost.steps,
        "train_flops": trainer.cost.flops,
        "train_seconds": trainer.cost.clock.seconds,
        "final_train_loss": trainer.cost.final_loss,
        "versions": versions(),
        "git_commit": git_commit(),
    }
    return {
        "format": "pt",
        "method": spell(asked.method),
        "backbone": asked.backbone,
        "backbone_fingerprint": locate.fingerprint(asked.backbone),
        "created_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **{name: json.dumps(value) for name, value in parts.items()},
    }
