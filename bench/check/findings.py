"""What a check finds: plain values, for the screen, for JSON and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tunefront.bench.data.task import Kind

Level = Literal["warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something odd.

    Args: kind, a stable name; level, `warning` if it may spoil scores; text, one sentence; remedy, the flag or step
    that mends it; count, rows concerned; row, the id of one of them.
    """

    kind: str
    level: Level
    text: str
    remedy: str = ""
    count: int | None = None
    row: str | None = None


@dataclass(frozen=True)
class Column:
    """A column. Args: read_as, `text`, `answer`, `label`, `id`, `group` or `left out`; why, the reason or how it was
    found; filled, share of the rows with a value; example, a value, shortened."""

    name: str
    read_as: str
    why: str = ""
    filled: float | None = None
    example: str = ""


@dataclass(frozen=True)
class Label:
    """A class or an answer. Args: rows, split -> its rows; share, of train; example, a text of such a row."""

    name: str
    rows: Mapping[str, int]
    share: float
    example: str = ""


@dataclass(frozen=True)
class Values:
    """The values of a regression in train, and the texts of the rows with the least and the largest."""

    least: float
    median: float
    mean: float
    largest: float
    examples: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Lengths:
    """Lengths of rows. Args: unit, `tokens` of `backbone`, or `words`; rows, how many were looked at; room, the most
    that the backbone reads, None without a limit; bins, (largest length, rows) each; cut, length -> share of the rows
    that are longer."""

    unit: str
    backbone: str | None
    rows: int
    median: int
    p95: int
    longest: int
    room: int | None
    bins: tuple[tuple[int, int], ...]
    cut: Mapping[int, float]


@dataclass(frozen=True)
class Baseline:
    """Scores without adaptation, by the task's first metric on rows of the scored split. None where there is none.

    Args: majority, of the commonest class; linear, of a linear model on the frozen features of `backbone`, cut to
    `max_length` tokens; margin, half of a 95 % interval of `linear` over test rows; accuracy, the linear model's, and
    common, the share of the commonest class, in the same rows, None for a regression; why_not, the reason if there is
    no linear model; seconds, for all of it.
    """

    metric: str
    majority: float | None
    linear: float | None = None
    margin: float | None = None
    accuracy: float | None = None
    common: float | None = None
    backbone: str | None = None
    max_length: int | None = None
    train_rows: int = 0
    test_rows: int = 0
    seconds: float = 0.0
    why_not: str = ""


@dataclass(frozen=True)
class Power:
    """How many test rows show a difference between two trained models; see `power`. None where nothing is enough.

    Args: measure, `accuracy` or `pearson`; difference, as a fraction; assumed, the share of rows on which one model
    alone is right, or the correlation with the labels; rows, needed; test_rows, there are; visible, the difference that
    these show."""

    measure: str
    difference: float
    assumed: float
    rows: int | None
    test_rows: int
    visible: float | None


@dataclass(frozen=True)
class Check:
    """Everything that `tunefront check` shows about a task. Shares are fractions; row ids are those of predictions.

    Args: rows, split -> its rows; metric, the first one; notes, how it was read; guessed, options that say otherwise;
    texts, facts about the texts, see `texts`; looked_at, what was looked at in a sample of the rows -> how many;
    seconds, of the process's wall clock, reading included; peak_memory_bytes, of the process, None where unknown.
    """

    name: str
    kind: Kind
    rows: Mapping[str, int]
    scored: str
    metric: str
    notes: tuple[str, ...]
    guessed: tuple[str, ...]
    columns: tuple[Column, ...]
    labels: tuple[Label, ...]
    values: Values | None
    lengths: Lengths
    texts: Mapping[str, Any]  # Any: counts and shares
    baseline: Baseline
    power: Power
    findings: tuple[Finding, ...]
    looked_at: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_bytes: int | None = None

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that may spoil scores."""
        return tuple(finding for finding in self.findings if finding.level == "warning")

    def as_json(self) -> dict[str, Any]:  # Any: whatever JSON holds
        """The same as plain dictionaries and lists."""
        return asdict(self)
