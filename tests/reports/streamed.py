"""Records of streams of tasks with given scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.reports.factory import record, sha
from tunefront.bench.records import Record

BYTES = {"full": 90_000_000, "ia3": 40_000}
"""Method -> size of its checkpoint of one task."""


def new(label: str, task: str, score: float, **changes: Any) -> Record:
    """A task alone."""
    return record(
        label=label,
        task=task,
        scores__test={"accuracy": score},
        scores__sha256=sha(f"{label}{task}"),
        storage__checkpoint_bytes=BYTES[label],
        storage__backbone_bytes=90_900_000,
        **changes,
    )


def step(label: str, way: str, order: Sequence[str], scores: Sequence[float], **changes: Any) -> Record:
    """A step after the last task of an order, with scores on all of them; separate tasks keep their digests."""
    *earlier, task = order
    keeps = way == "separate"
    stream = {
        "way": way,
        "earlier": tuple(earlier),
        "earlier_templates": (None,) * len(earlier),
        "earlier_scores": {name: {"accuracy": score} for name, score in zip(earlier, scores, strict=False)},
        "earlier_headlines": dict.fromkeys(earlier, "accuracy"),
        "earlier_n_test": dict.fromkeys(earlier, 872),
        "earlier_sha256": {name: sha(f"{label}{name}" if keeps else f"{label}{way}{order}{name}") for name in earlier},
        "total_params": 1000 * len(order),
        "total_bytes": 90_900_000 + BYTES[label] * len(order) if label != "full" else BYTES[label],
    }
    return record(
        label=label,
        task=task,
        scores__test={"accuracy": scores[-1]},
        scores__sha256=sha(f"{label}{task}" if keeps else f"{label}{way}{order}{task}"),
        storage__backbone_bytes=90_900_000,
        **{f"stream__{name}": value for name, value in stream.items()},
        **changes,
    )


def passage(
    label: str, way: str, order: Sequence[str], matrix: Sequence[Sequence[float]], **changes: Any
) -> list[Record]:
    """The steps of one order after the first; `matrix` has a row for each step, also the first."""
    return [step(label, way, order[: place + 1], scores, **changes) for place, scores in enumerate(matrix) if place]


def alone(label: str, scores: Mapping[str, float], **changes: Any) -> list[Record]:
    """Every task alone."""
    return [new(label, task, score, **changes) for task, score in scores.items()]
