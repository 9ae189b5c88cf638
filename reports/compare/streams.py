"""Streams of tasks from records: scores on every task after every step, what is forgotten, and sizes."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tunefront.bench.records import EARLIER, Record
from tunefront.bench.records.merge import written_at
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
        news = {task: _digest(step, task) for task, step in zip(self.order, self.steps, strict=True)}
        again = [
            news[task] is not None and _digest(step, task) == news[task]
            for place, step in enumerate(self.steps)
            for task in self.order[:place]
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
    def timed(self) -> list[Record]:
        """The records that these seconds are from."""
        if self.steps[-1].stream.way == SEPARATE:
            return [self.alone[task] for task in self.order if task in self.alone]
        return list(self.steps)

    @property
    def run(self) -> tuple[int, int]:
        """Draw and seed."""
        return self.steps[0].draw_seed, self.steps[0].seed


@dataclass(frozen=True)
class StreamRow:
    """A method in one way, over several orders, draws and seeds. `note` tells it from others with the same label."""

    label: str
    way: str
    replay_share: float | None
    note: str
    passages: tuple[Passage, ...]

    @property
    def last_average(self) -> float | None:
        """The mean over runs of the average over all tasks, in points."""
        return mean_if_complete(passage.averages[-1] for passage in self.passages)

    def spread(self, value: Callable[[Passage], float | None]) -> Spread | None:
        """The mean of a value of every passage, and its interval: between draws and seeds, each the mean over its
        orders; with a single draw and seed between orders."""
        return _spread([(passage.run, value(passage)) for passage in self.passages])

    def against(self, other: StreamRow, place: int) -> Spread | None:
        """The same for the difference from another row of the average after step `place`, over what both have."""
        others = {(passage.order, passage.run): passage for passage in other.passages}
        pairs = [
            (passage, others[passage.order, passage.run])
            for passage in self.passages
            if (passage.order, passage.run) in others
        ]
        return _spread([(first.run, _less(first.averages[place], second.averages[place])) for first, second in pairs])


def _spread(values: Sequence[tuple[tuple[int, int], float | None]]) -> Spread | None:
    """The mean of (run, value) pairs with its interval; orders of one run are no independent runs."""
    by_run: dict[tuple[int, int], list[float | None]] = {}
    for run, value in values:
        by_run.setdefault(run, []).append(value)
    if len(by_run) < 2:
        return spread([value for _, value in values])
    return spread([mean_if_complete(orders) for orders in by_run.values()])


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
    found: dict[Hashable, dict[tuple[Hashable, ...], list[Passage]]] = {}
    for run, group in group_by(sorted(records, key=written_at), _run).items():
        for way, share, passage in _passages(group):
            by_row = found.setdefault((run[0], frozenset(passage.order)), {})
            by_row.setdefault((run[1], way, share), []).append(passage)
    streams = []
    for passages in found.values():
        rows = _rows(passages)
        shared = {row.label for row in rows if row.way != SEPARATE}
        rows.sort(key=lambda row: (WAYS.index(row.way), row.label not in shared, -(row.last_average or 0.0), row.note))
        first = rows[0].passages[0]
        streams.append(Stream(first.steps[0].backbone, first.steps[0].shots, tuple(sorted(first.order)), tuple(rows)))
    return streams


def _rows(passages: Mapping[tuple[Hashable, ...], list[Passage]]) -> list[StreamRow]:
    """A row for each method, recipe, way and share; rows with the same label say in which recipe fields they differ."""
    made = []
    for (_, way, share), found in passages.items():
        first = found[0].steps[0]
        alike = [
            other[0].steps[0].recipe
            for (_, w, s), other in passages.items()
            if (w, s, other[0].steps[0].label) == (way, share, first.label)
        ]
        differing = [name for name in first.recipe if len({repr(recipe.get(name)) for recipe in alike}) > 1]
        note = ", ".join(f"{name}={first.recipe[name]}" for name in differing)
        made.append(StreamRow(first.label, str(way), share, note, tuple(found)))  # type: ignore[arg-type]
    return made


def _run(record: Record) -> tuple[Hashable, ...]:
    """What all methods of a stream share; what tells its rows apart; draw and seed."""
    settings = tuple(sorted((name, number(value)) for name, value in record.settings.items()))
    recipe = tuple(sorted((name, number(value)) for name, value in record.recipe.items()))
    code = tuple(record.fingerprints.get(name) for name in ("backbone", "sites", "harness"))
    versions = tuple(sorted(record.versions.items()))
    place = (record.backbone, record.shots, settings, code, versions)
    row = (record.method, recipe, record.fingerprints.get("method"))
    return place, row, (record.draw_seed, record.seed)


def _passages(records: Sequence[Record]) -> Iterator[tuple[str, float | None, Passage]]:
    """(way, replayed share, passage) for every order that has all its steps, from the same rows of each task. Of equal
    cells the last record counts."""
    alone = {record.task: record for record in records if not record.stream.is_step}
    steps: dict[tuple[str | None, float | None, tuple[str, ...]], Record] = {
        (record.stream.way, record.stream.replay_share, _place(record)): record
        for record in records
        if record.stream.is_step and _has_rows_of(record, alone)
    }
    kinds = sorted({(way, share or 0.0, share) for way, share, _ in steps if way})
    for (way, _, share), order in itertools.product(kinds, _orders(records)):
        first = alone.get(order[0])
        later = [steps.get((way, share, _unordered(way, order[: place + 1]))) for place in range(1, len(order))]
        known = [record for record in (first, *later) if record is not None]
        if len(known) == len(order):
            yield way, share, Passage(order, tuple(known), alone)


def _has_rows_of(step: Record, alone: Mapping[str, Record]) -> bool:
    """Whether every task of a step has the same rows as the task alone, as far as that is known."""
    prints = {task: step.fingerprints.get(f"{EARLIER}{n}") for n, task in enumerate(step.stream.earlier or (), 1)}
    prints[step.task] = step.fingerprints.get("task")
    return all(
        task not in alone or mine is None or alone[task].fingerprints.get("task") in (None, mine)
        for task, mine in prints.items()
    )


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


def _digest(record: Record, task: str) -> str | None:
    """The digest of the scores of a task's rows; of a step on any task so far."""
    return record.scores.sha256 if record.task == task else (record.stream.earlier_sha256 or {}).get(task)


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
