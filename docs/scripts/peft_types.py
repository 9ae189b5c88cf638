"""The types of peft in docs/peft.md: `python -m docs.scripts.peft_types` tries each of them on four tiny random models.

Whether a type runs is found by running it: it is attached, takes two training steps and scores rows, its FLOPs are
counted, and its checkpoint, loaded into another copy of the model, gives the same scores. Where something fails, the
table has the message of the code that refused it. It is written to docs/examples/peft_types.txt.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests import ROOT
from tests.toys import encode, fresh_copy, harness, toy_task
from tunefront.bench.models import checkpoints
from tunefront.bench.models.families import Backbone
from tunefront.bench.models.tiny import FAMILIES, make_backbone, make_language_model
from tunefront.methods.base import Unsupported
from tunefront.methods.peft import Peft

TABLE = ROOT / "docs" / "examples" / "peft_types.txt"
ARCHITECTURES = ("bert", "gpt2", "llama", "t5")
FITTING: Mapping[str, dict[str, Any]] = {  # Any: JSON values
    "ADAMSS": {"num_subspaces": 2, "r": 8},
    "ADAPTION_PROMPT": {"adapter_layers": 2, "adapter_len": 4},
    "C3A": {"block_size": 8},
    "CPT": {"cpt_mask": [1, 1, 1], "cpt_token_ids": [5, 6, 7], "cpt_tokens_type_mask": [1, 2, 4]},
    "MISS": {"r": 8},
    "MULTITASK_PROMPT_TUNING": {"num_ranks": 2, "num_tasks": 1},
    "ROAD": {"group_size": 8},
    "SHIRA": {"r": 4},
    "TRAINABLE_TOKENS": {"token_indices": [5, 6]},
    "VBLORA": {"num_vectors": 16, "vector_length": 8},
    "WAVEFT": {"n_frequency": 64},
}
"""Configurations of types that need one, or whose defaults are too large for a width of 32."""
TASK = toy_task(rows=(16, 8))


@dataclass(frozen=True)
class Outcome:
    """What a type did on a model: the parameters that it trains besides a head and the FLOPs of a scored row, or the
    reason why it does not run."""

    trained: int = 0
    row_flops: int = 0
    reason: str | None = None


def kinds() -> list[str]:
    """Every type of the installed peft."""
    import peft

    return [kind.value for kind in peft.PeftType]


def method_for(kind: str) -> Peft:
    """The method with a configuration that fits tiny models."""
    return Peft(type=kind, config=json.dumps(FITTING[kind]) if kind in FITTING else None)


def make_models(folder: Path) -> dict[str, str]:
    """The folder of a tiny random model of each architecture."""
    made = {name: make_backbone if name in FAMILIES else make_language_model for name in ARCHITECTURES}
    return {name: str(make(folder / name, name)) for name, make in made.items()}


def probe(kind: str, model: str) -> Outcome:
    """Runs a type on the model in a folder."""
    method = method_for(kind)
    try:
        backbone = attached(method, model)
    except Unsupported as reason:
        return Outcome(reason=str(reason))
    trainer = harness(backbone, method, steps=2, learning_rate=0.01)
    try:
        scorer = method.fit(backbone, encode(backbone, TASK), trainer)
        scored = trainer.score(scorer, encode(backbone, TASK, "test"))
        stored = {
            name: tensor.clone()
            for name, tensor in checkpoints.shipped(backbone.model, backbone.published_buffers).items()
        }
        again = attached(method, model, seed=1)  # all that its draws decide must be in the checkpoint
        again.restore(stored)
        loaded = harness(again, method, counted=False).score(method.scorer(again), encode(again, TASK, "test"))
    except Exception as error:  # the table says what happened
        return Outcome(reason=f"{type(error).__name__}: {str(error).splitlines()[0]}")
    if not torch.equal(scored.values, loaded.values):
        return Outcome(reason="its checkpoint gives other scores than the model that it was saved from")
    trained = sum(tensor.numel() for name, tensor in backbone.trainable().items() if not name.startswith("head."))
    return Outcome(trained, scored.flops // len(scored.values))


def attached(method: Peft, model: str, seed: int = 0) -> Backbone:
    """A fresh copy of the model in a folder, with the method attached."""
    backbone = fresh_copy(model, seed=seed)
    method.attach(backbone)
    return backbone


def row(kind: str, outcomes: Mapping[str, Outcome]) -> str:
    """The row of a type in the table."""
    shown = [
        "no" if outcome.reason else f"{outcome.trained:,} · {outcome.row_flops / 1e6:.2f}"
        for outcome in outcomes.values()
    ]
    config = f"`{json.dumps(FITTING[kind], separators=(',', ':'))}`" if kind in FITTING else ""
    return f"| `{kind}` | {config} | {' | '.join(shown)} |"


def reasons(kind: str, outcomes: Mapping[str, Outcome]) -> list[str]:
    """The rows of a type in the table of reasons: each reason once, with the models that it holds for."""
    models: dict[str, list[str]] = {}
    for name, outcome in outcomes.items():
        if outcome.reason:
            models.setdefault(outcome.reason, []).append(name)
    return [f"| `{kind}` | {', '.join(names)} | {reason.replace('|', '/')} |" for reason, names in models.items()]


def table() -> str:
    """The Markdown of both tables."""
    with tempfile.TemporaryDirectory() as folder:
        models = make_models(Path(folder))
        found = {kind: {name: probe(kind, model) for name, model in models.items()} for kind in kinds()}
    lines = [f"| type | configuration | {' | '.join(ARCHITECTURES)} |", "|---" * (2 + len(ARCHITECTURES)) + "|"]
    lines += [row(kind, outcomes) for kind, outcomes in found.items()]
    lines += ["", "| type | on | why it does not run |", "|---|---|---|"]
    lines += [line for kind, outcomes in found.items() for line in reasons(kind, outcomes)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)  # tiny models are fastest on one
    TABLE.write_text(table(), encoding="utf-8")
    print(f"wrote {TABLE}")
