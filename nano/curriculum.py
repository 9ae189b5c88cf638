"""The training stages of `nano`: first copying, then from lexical to semantic classes; and the batches of each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nano import recall
from nano.episodes import Difficulty, Episodes, Rows, draw
from nano.material import Material

_LABELS = {"reserved": 0.35, "words": 0.5, "letters": 0.1, "digits": 0.05}
"""Shares of label kinds in the last stage."""


@dataclass(frozen=True)
class Stage:
    """`steps` batches of `tokens` tokens in sequences of `length`; each batch has one objective, drawn from `mix`.

    Objectives: `phrases` and `labelled` (the recall warm-up), `language` (next-token prediction on whole
    docstrings), `reading` (lower half only: predict MiniLM's embedding of each text of an episode), `episodes` (labels,
    and reading). The learning rate falls linearly from the share `rate` to `final_rate`; with `fits_heads` the stage
    begins by fitting heads (`nano.heads`).
    """

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
    8, 40, _LABELS,
)  # fmt: skip
_FITTED_ON = Difficulty({"file": 0.5, "word": 0.5}, 8, 16, {"reserved": 0.5, "words": 0.4, "letters": 0.1})
FITTED_SHAPE = 48, 512
"""(batch, seq) of the episodes on which heads are fitted."""

STAGES = (
    Stage(120, {"phrases": 0.7, "reading": 0.3}, 96, _LEXICAL, tokens=6144),
    Stage(80, {"labelled": 0.5, "phrases": 0.1, "reading": 0.4}, 96, _LEXICAL, tokens=6144),
    Stage(400, {"labelled": 0.1, "episodes": 0.2, "reading": 0.5, "language": 0.2}, 256, _MIXED),
    Stage(500, {"episodes": 0.7, "reading": 0.1, "language": 0.2}, 512, _MIXED, fits_heads=True),
    Stage(900, {"episodes": 0.8, "language": 0.2}, 1024, _SEMANTIC, rate=0.6, final_rate=0.02),
)


@dataclass(frozen=True)
class Batch:
    """A step's objective and sequences, its share of the learning rate, and the episodes on which heads are fitted
    before it, if they are."""

    objective: str
    rows: Rows
    rate: float
    fitted_on: Rows | None


def batches(material: Material, stages: Sequence[Stage] = STAGES) -> Iterator[Batch]:
    """The batches of all steps."""
    rng = np.random.default_rng(0)
    episodes = Episodes(material, rng)

    def drawn(stage: Stage, objective: str) -> Rows:
        count, length = stage.tokens // stage.length, stage.length
        if objective == "phrases":
            return recall.phrases(count, length, material.recalled, rng)
        if objective == "labelled":
            return recall.labelled(count, length, material.recalled, material.reserved, material.layout, rng)
        if objective == "language":
            starts = rng.integers(0, len(material.documents) - length - 1, count)
            windows = np.stack([material.documents[start : start + length + 1] for start in starts]).astype(np.int64)
            return Rows(windows[:, :-1], windows[:, 1:])
        return episodes.batch(count, length, stage.difficulty)

    for stage in stages:
        for step in range(stage.steps):
            fitted = episodes.batch(*FITTED_SHAPE, _FITTED_ON) if stage.fits_heads and step == 0 else None
            objective = draw(stage.mix, rng)
            rate = stage.rate + (stage.final_rate - stage.rate) * step / stage.steps
            yield Batch(objective, drawn(stage, objective), rate, fitted)
