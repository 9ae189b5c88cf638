"""A task: rows with inputs and a label, the possible answers, and their metrics."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

Kind = Literal["classification", "regression", "multiple choice"]
Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]
Fields = Mapping[str, Value]


@dataclass(frozen=True)
class Row:
    """One example: its id within the split, its fields under their original names, its label (class index or value).

    Lists and mappings among the fields are for templates; inputs are texts and numbers.
    """

    id: str
    fields: Fields
    label: int | float


@dataclass(frozen=True)
class MetricSpec:
    """A metric by name; `labels` are the class names that an F1 averages over, None for the metric's default."""

    name: str
    labels: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """The name under which the score is recorded."""
        return self.name if self.labels is None else f"{self.name}[{','.join(self.labels)}]"


@dataclass(frozen=True)
class Task:
    """A dataset with its splits, answers and metrics.

    `splits` has `train` and at least one of `validation` and `test`; `input_fields` are the fields that a model reads,
    in order; `label_names` the choices in label order, empty for regression; the first metric is the headline;
    `origin` the packages and versions that rows were harvested from, empty for rows read as they are; `templates` the
    folder's templates.yaml, None if it has none; `folder` the folder of a `dir:` task. About its reading: `left_out`
    maps columns that are no input to the reason; `guessed` maps options of the command that say otherwise to what was
    guessed, None for a column that names each row's split; `notes` are facts worth reporting; `warnings` possible
    problems.
    """

    name: str
    kind: Kind
    splits: Mapping[str, Sequence[Row]]
    input_fields: tuple[str, ...]
    label_names: tuple[str, ...]
    metrics: tuple[MetricSpec, ...]
    origin: tuple[str, ...] = ()
    templates: Path | None = field(default=None, compare=False)
    folder: Path | None = field(default=None, compare=False)
    left_out: Mapping[str, str] = field(default_factory=dict, compare=False)
    guessed: Mapping[str, str | tuple[str, ...] | None] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def eval_split(self) -> str:
        """The scored split: `test`, else `validation` (the practice of T-Few)."""
        return "test" if "test" in self.splits else "validation"

    @property
    def headline(self) -> str:
        """The first metric's name."""
        return self.metrics[0].title

    @property
    def outputs(self) -> int:
        """Outputs of the head: the number of classes, or one value."""
        return 1 if self.kind == "regression" else len(self.label_names)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the rows and everything that turns them into inputs and scores."""
        digest = hashlib.sha256()
        metrics = [[metric.name, metric.labels] for metric in self.metrics]
        digest.update(_json([self.kind, self.input_fields, self.label_names, metrics, self.origin]))
        for name in sorted(self.splits):
            digest.update(_json([name, len(self.splits[name])]))
            for row in self.splits[name]:
                digest.update(_json([row.id, dict(row.fields), row.label]))
        return digest.hexdigest()

    def texts(self, row: Row) -> tuple[str, ...]:
        """The row's inputs, in order; "" for a missing input."""
        values = (row.fields.get(name) for name in self.input_fields)
        return tuple("" if value is None else str(value) for value in values)

    def label_counts(self, split: str) -> dict[str, int]:
        """Label -> number of rows in a split, in label order; empty for regression."""
        counts = Counter(int(row.label) for row in self.splits[split]) if self.label_names else Counter[int]()
        return {name: counts[place] for place, name in enumerate(self.label_names)}


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
