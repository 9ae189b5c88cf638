"""Random backbones of published shapes, and tasks of words; tiny ones try the script without a GPU."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tunefront.bench.cells import Cell
from tunefront.bench.forecast.presets import Preset, find
from tunefront.bench.models.session import Session
from tunefront.bench.models.tiny import LANGUAGE_MODELS, WORDS, make_backbone, make_language_model
from tunefront.bench.settings import RunConfig, Scalar, resolve_recipe
from tunefront.bench.templates import PLAIN
from tunefront.methods.spelling import parse

_LLAMA_1B: Mapping[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
"""1.24 billion parameters. Source: config.json of Llama 3.2 1B."""
ROOM = 4096
"""The most tokens of a text, for the tokenizers."""
THREADS = 1
"""CPU threads of a cell: the default, as the work is on the GPU."""


@dataclass(frozen=True)
class Shape:
    """A shape to build: `like` names the toy and kind of tokenizer in `tests.conftest`, `config` replaces the toy's
    sizes, and `tiny` those of the toy that stands in for the shape."""

    like: str
    config: Mapping[str, Any]
    tiny: Mapping[str, Any] = field(default_factory=dict)


def _published(preset: str) -> Mapping[str, Any]:
    source = find(preset)
    assert isinstance(source, Preset)
    return source.config


SHAPES = {
    "bert-large": Shape(
        "bert",
        {"vocab_size": 30_522, "max_position_embeddings": 512, "initializer_range": 0.02, **_published("bert-large")},
    ),
    "t5-large": Shape("t5-gated", {"vocab_size": 32_128, **_published("t5-v1.1-large")}),
    "llama-1b": Shape(
        "llama",
        {**_LLAMA_1B, "initializer_range": 0.02, "attention_dropout": 0.0},
        tiny={"max_position_embeddings": ROOM},
    ),
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of a task and of its batches: words per row, rows to train on and to score, rows per batch, steps."""

    words: int
    train: int
    test: int
    batch: int
    steps: int


@dataclass
class Material:
    """Where the script works: `device`, `tiny` shapes instead of published ones, and a `folder` for files.

    One backbone is kept at a time, so that the allocator holds nothing of another cell.
    """

    device: str
    tiny: bool
    folder: Path
    session: Session = field(default_factory=Session)

    @property
    def cuda(self) -> bool:
        """Whether the allocator can be asked."""
        return torch.device(self.device).type == "cuda"

    def backbone(self, name: str) -> str:
        """The folder of a random model of this shape, made when it is first needed."""
        shape, folder = SHAPES[name], self.folder / name
        if not folder.exists():
            make = make_language_model if shape.like in LANGUAGE_MODELS else make_backbone
            make(folder, shape.like, **(shape.tiny if self.tiny else shape.config))
            _widen_room(folder)
        return str(folder)

    def task(self, name: str, sizes: Sizes) -> str:
        """A task `dir:...` whose rows are all different and have the same number of words."""
        folder = self.folder / "tasks" / name
        if not folder.exists():
            _write_task(folder, sizes)
        return f"dir:{folder}"

    def cell(
        self, method: str, backbone: str, task: str, sizes: Sizes, recipe: Mapping[str, Scalar], **settings: Any
    ) -> Cell:
        """A cell on this device; a language model reads the rows by template `plain`."""
        parsed = parse(method)
        config = RunConfig(device=self.device, threads=THREADS, eval_batch_size=sizes.batch, **settings)
        return Cell(
            parsed,
            self.backbone(backbone),
            self.task(task, sizes),
            resolve_recipe(parsed, {"batch_size": sizes.batch, "steps": sizes.steps, **recipe}),
            shots=sizes.train,
            template=PLAIN if SHAPES[backbone].like in LANGUAGE_MODELS else None,
            config=config,
        )


def _widen_room(folder: Path) -> None:
    """The toys' tokenizers cut at 64 or 256 tokens."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "model_max_length": ROOM}), encoding="utf-8")


def _write_task(folder: Path, sizes: Sizes) -> None:
    generator = random.Random(0)
    folder.mkdir(parents=True)
    for split, count in (("train", sizes.train), ("test", sizes.test)):
        rows = [
            {"text": " ".join(generator.choices(WORDS, k=sizes.words)), "label": place % 2} for place in range(count)
        ]
        folder.joinpath(f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    meta = {"label_names": ["good", "bad"], "input_fields": ["text"], "metrics": ["accuracy"]}
    folder.joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
