"""Streams of tasks from records: scores on every task after every step, what is forgotten, and sizes."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tunefront.bench.records import Record
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.statistics import mean_if_complete
from tunefront.reports.units import number

SEPARATE = "separate"
WAYS = (SEPARATE, "sequential", "replay", "multitask")
"""The ways in which a stream treats earlier tasks, in the order in which they are shown."""


@dataclass(frozen=True)
class Passage:
    """One method and way on one order of tasks: the record of every step, and of every task alone.

    `scores[i][j]` is the headline score on task j after step i, j <= i, in points; None if it is missing.
    """

    order: tuple[str, ...]
    steps: tuple[Record, ...]
    alone: Mapping[str, Record]

    @cached_property
    def scores(self) -> tuple[tuple[float | None, ...], ...]:
        """Points on task j after step i."""
        return tuple(
            tuple(_score(step, task) for task in self.order[: place + 1]) for place, step in enumerate(self.steps)
        )

    @property
    def averages(self) -> list[float | None]:
        """After each step the mean score over the tasks so far, in points."""
        return [mean_if_complete(row) for row in self.scores]

    @property
    def forgetting(self) -> float | None:
        """The mean over earlier tasks of the best score on it before the last step, less that after it, in points
        (Chaudhry et al. 2018, arXiv:1801.10112, section 3)."""
        last = self.scores[-1]
        lost = []
        for task in range(len(self.order) - 1):
            before = [row[task] for row in self.scores[task:-1]]
            known = [score for score in before if score is not None]
            now = last[task]
            lost.append(None if len(known) < len(before) or now is None else max(known) - now)
        return mean_if_complete(lost)

    @property
    def backward_transfer(self) -> float | None:
        """The mean over earlier tasks of the score after the last step, less that when the task was new, in points
        (Lopez-Paz and Ranzato 2017, arXiv:1706.08840, section 2)."""
        return mean_if_complete(
            _less(self.scores[-1][task], self.scores[task][task]) for task in range(len(self.order) - 1)
        )

    @property
    def forward_transfer(self) -> float | None:
        """The mean over later tasks of the score when the task was new, less that of the same method trained on the
        task alone, in points; None where both are the same by construction."""
        if self.steps[-1].stream.way == SEPARATE:
            return None
        return mean_if_complete(
            _less(self.scores[place][place], _score(self.alone[task], task) if task in self.alone else None)
            for place, task in itertools.islice(enumerate(self.order), 1, None)
        )

    @property
    def unchanged(self) -> tuple[int, int]:
        """How many of the scorings of earlier tasks gave every score as when the task was new, to the bit, and of how
        many."""
        news = {task: step.scores.sha256 for task, step in zip(self.order, self.steps, strict=True)}
        again = [
            digest is not None and digest == news.get(task)
            for step in self.steps
            for task, digest in (step.stream.earlier_sha256 or {}).items()
        ]
        return sum(again), len(again)

    @property
    def sizes(self) -> list[tuple[int | None, int | None]]:
        """After each step the parameters and bytes that all tasks so far need together."""
        first = self.steps[0]
        return [
            (first.parameters.total, _alone_bytes(first)),
            *((step.stream.total_params, step.stream.total_bytes) for step in self.steps[1:]),
        ]

    @property
    def seconds(self) -> list[float | None]:
        """The seconds of training at each step; of separate tasks those of the task alone."""
        if self.steps[-1].stream.way == SEPARATE:
            return [self.alone[task].seconds.train if task in self.alone else None for task in self.order]
        return [step.seconds.train for step in self.steps]

    @property
    def run(self) -> tuple[tuple[str, ...], int, int]:
        """What is equal in the passages of two methods that are compared: order, draw and seed."""
        return self.order, self.steps[0].draw_seed, self.steps[0].seed


@dataclass(frozen=True)
class StreamRow:
    """A method in one way, over several orders, draws and seeds."""

    label: str
    way: str
    passages: tuple[Passage, ...]

    @property
    def last_average(self) -> float | None:
        """The mean over runs of the average over all tasks, in points."""
        return mean_if_complete(passage.averages[-1] for passage in self.passages)

    def against(self, other: StreamRow, place: int) -> Spread | None:
        """The mean difference from another row of the average after step `place`, over the runs that both have."""
        others = {passage.run: passage for passage in other.passages}
        pairs = [(passage, others[passage.run]) for passage in self.passages if passage.run in others]
        return spread([_less(first.averages[place], second.averages[place]) for first, second in pairs])


@dataclass(frozen=True)
class Spread:
    """A mean over n runs, and the 95 % interval of Student's t where they differ; None for both ends else."""

    mean: float
    low: float | None
    high: float | None
    n: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """The mean of values with its interval; None without values, or if one is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    center = sum(known) / len(known)
    deviation = statistics.stdev(known) if len(known) > 1 else 0.0
    if deviation < ROUNDING:
        return Spread(center, None, None, len(known))
    from scipy.stats import t

    half = float(t.ppf(0.975, len(known) - 1)) * deviation / len(known) ** 0.5
    return Spread(center, center - half, center + half, len(known))


ROUNDING = 1e-9
"""Values that differ by less do not differ."""


@dataclass(frozen=True)
class Stream:
    """The methods that ran on the same tasks, in the same settings."""

    backbone: str
    shots: int | None
    tasks: tuple[str, ...]
    rows: tuple[StreamRow, ...]

    @property
    def orders(self) -> list[tuple[str, ...]]:
        """The orders of the tasks."""
        return list(dict.fromkeys(passage.order for row in self.rows for passage in row.passages))

    @property
    def reference(self) -> StreamRow | None:
        """The separate models of the method that also has one model for all tasks; None without one."""
        shared = {row.label for row in self.rows if row.way != SEPARATE}
        return next((row for row in self.rows if row.label in shared and row.way == SEPARATE), None)


def streams_of(records: Sequence[Record]) -> list[Stream]:
    """The streams in these records, each with the longest orders of its steps; an order with a missing step is left
    out. Rows are sorted by way; of separate ones those of a method with one model come first, then the best ones."""
    found: dict[Hashable, dict[tuple[str, str], list[Passage]]] = {}
    for run, group in group_by(records, _run).items():
        for way, passage in _passages(group):
            place = (run[:-1], frozenset(passage.order))
            found.setdefault(place, {}).setdefault((group[0].label, way), []).append(passage)
    streams = []
    for rows in found.values():
        shared = {label for label, way in rows if way != SEPARATE}
        shown = sorted(
            (StreamRow(label, way, tuple(passages)) for (label, way), passages in rows.items()),
            key=lambda row: (WAYS.index(row.way), row.label not in shared, -(row.last_average or 0.0), row.label),
        )
        first = shown[0].passages[0]
        streams.append(Stream(first.steps[0].backbone, first.steps[0].shots, tuple(sorted(first.order)), tuple(shown)))
    return streams


def _run(record: Record) -> tuple[Hashable, ...]:
    """Everything that the steps of a stream share; what may differ between compared ones last."""
    settings = tuple(sorted((name, number(value)) for name, value in record.settings.items()))
    recipe = tuple(sorted((name, number(value)) for name, value in record.recipe.items()))
    place = (record.backbone, record.shots, settings, record.fingerprints.get("backbone"))
    code = (record.fingerprints.get("harness"), record.fingerprints.get("method"))
    return (*place, (record.method, recipe, record.draw_seed, record.seed, code))


def _passages(records: Sequence[Record]) -> Iterator[tuple[str, Passage]]:
    """(way, passage) for every order that has all its steps."""
    alone = {record.task: record for record in records if not record.stream.is_step}
    steps: dict[tuple[str | None, tuple[str, ...]], Record] = {
        (record.stream.way, _place(record)): record for record in records if record.stream.is_step
    }
    for way, order in itertools.product(WAYS, _orders(records)):
        first = alone.get(order[0])
        later = [steps.get((way, _unordered(way, order[: place + 1]))) for place in range(1, len(order))]
        known = [record for record in (first, *later) if record is not None]
        if len(known) == len(order):
            yield way, Passage(order, tuple(known), alone)


def _orders(records: Iterable[Record]) -> list[tuple[str, ...]]:
    """The orders of the steps, without those that begin another one."""
    steps = [record for record in records if record.stream.is_step and record.stream.way != "multitask"]
    orders = sorted({(*(step.stream.earlier or ()), step.task) for step in steps}, key=lambda each: (-len(each), each))
    return [
        order for place, order in enumerate(orders) if not any(other[: len(order)] == order for other in orders[:place])
    ]


def _place(record: Record) -> tuple[str, ...]:
    """The tasks of a step in order; for multi-task training, which does not depend on it, in order of name."""
    return _unordered(record.stream.way, (*(record.stream.earlier or ()), record.task))


def _unordered(way: str | None, tasks: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(tasks)) if way == "multitask" else tasks


def _score(record: Record, task: str) -> float | None:
    """The headline score on a task, in points; of a step on any task so far."""
    if record.task == task:
        return None if record.score is None else 100 * record.score
    stream = record.stream
    score = (stream.earlier_scores or {}).get(task, {}).get((stream.earlier_headlines or {}).get(task, ""))
    return None if score is None else 100 * score


def _less(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _alone_bytes(record: Record) -> int | None:
    """Bytes of the files of one task: its checkpoint, and the backbone's if any of its parameters is frozen."""
    counts, storage = record.parameters, record.storage
    if None in (counts.total, counts.trainable, storage.checkpoint_bytes):
        return None
    frozen = counts.total - counts.trainable  # type: ignore[operator]
    if frozen and storage.backbone_bytes is None:
        return None
    return storage.checkpoint_bytes + (storage.backbone_bytes if frozen else 0)  # type: ignore[operator]
