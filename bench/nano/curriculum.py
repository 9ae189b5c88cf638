"""The training stages of `nano`: first copying, then from lexical to semantic classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunefront.bench.nano.episodes import Difficulty, Rows

if TYPE_CHECKING:
    from tunefront.bench.nano.preparation import Material

LABELS = {"reserved": 0.35, "words": 0.5, "letters": 0.1, "digits": 0.05}
"""Shares of label kinds in the later stages."""


@dataclass(frozen=True)
class Stage:
    """`steps` batches of `tokens` tokens in sequences of `length`; each batch has one objective, drawn from `mix`.

    Objectives: `phrases` and `labelled` (the recall warm-up), `language` (next-token prediction on whole
    docstrings), `reading` (lower half only: predict MiniLM's embedding of each text of an episode), `episodes` (labels,
    and reading). The learning rate falls linearly from the share `rate` to `final_rate`; with `fits_heads` the stage
    begins by fitting heads (`tunefront.bench.nano.heads`).
    """

    name: str
    steps: int
    mix: Mapping[str, float]
    length: int
    difficulty: Difficulty
    tokens: int = 8192
    rate: float = 1.0
    final_rate: float = 1.0
    fits_heads: bool = False


_LEXICAL = Difficulty({"same text": 0.4, "first word": 0.3, "word": 0.3}, 4, 8, {"reserved": 0.8, "words": 0.2})
_MIXED = Difficulty(
    {
        "same text": 0.03, "first word": 0.12, "word": 0.2, "cluster of 80": 0.15, "cluster of 300": 0.15,
        "cluster of 1000": 0.1, "file": 0.17, "module": 0.05, "part": 0.02, "length": 0.01,
    },
    5, 20, {"reserved": 0.5, "words": 0.4, "letters": 0.07, "digits": 0.03},
)  # fmt: skip
_SEMANTIC = Difficulty(
    {
        "first word": 0.06, "word": 0.14, "cluster of 80": 0.12, "cluster of 300": 0.12, "cluster of 1000": 0.1,
        "file": 0.3, "module": 0.1, "part": 0.04, "length": 0.02,
    },
    8, 40, LABELS,
)  # fmt: skip

FITTED_ON = Difficulty({"file": 0.5, "word": 0.5}, 8, 16, {"reserved": 0.5, "words": 0.4, "letters": 0.1})
"""Episodes on which heads are fitted (`tunefront.bench.nano.heads`)."""

STAGES = (
    Stage("recall", 120, {"phrases": 0.7, "reading": 0.3}, 96, _LEXICAL, tokens=6144),
    Stage("recall of labels", 80, {"labelled": 0.5, "phrases": 0.1, "reading": 0.4}, 96, _LEXICAL, tokens=6144),
    Stage("reading", 400, {"labelled": 0.1, "episodes": 0.2, "reading": 0.5, "language": 0.2}, 256, _MIXED),
    Stage("mixed", 500, {"episodes": 0.7, "reading": 0.1, "language": 0.2}, 512, _MIXED, fits_heads=True),
    Stage("semantic", 900, {"episodes": 0.8, "language": 0.2}, 1024, _SEMANTIC, rate=0.6, final_rate=0.02),
)


@dataclass(frozen=True)
class Probe:
    """Episodes of held-out files to monitor progress: a grouping and the number of classes."""

    grouping: str
    ways: int


PROBES = {"2 files": Probe("file", 2), "2 words": Probe("word", 2), "4 files": Probe("file", 4)}
_PROBE_BATCHES, _PROBE_ROWS, _PROBE_LENGTH, _PROBE_TEXT_TOKENS = 6, 16, 512, 24


def probes(material: Material, probe: Probe, seed: int = 7) -> list[Rows]:
    """The probe's episodes, deterministic."""
    rng = np.random.default_rng(seed)
    difficulty = Difficulty({probe.grouping: 1.0}, probe.ways, _PROBE_TEXT_TOKENS, {"reserved": 1.0}, probe.ways)
    episodes = material.episodes(material.development)
    return [episodes.batch(_PROBE_ROWS, _PROBE_LENGTH, difficulty, rng) for _ in range(_PROBE_BATCHES)]
