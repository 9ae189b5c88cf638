"""What queries cost by each way of answering them: trained, or prompted with demonstrations kept or read anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports.compare.break_even import Crossing, Line, crossing
from tunefront.reports.compare.statistics import measured, median

if TYPE_CHECKING:
    from tunefront.bench.records import Record

KEPT, ANEW = "prefix kept", "read anew"
MEASURES = ("flops", "seconds")
SAME = 0.01
"""By how much FLOPs may differ, as a share, that are taken to be of the same work."""


@dataclass(frozen=True)
class Way:
    """One way to answer queries on one task. `how` tells the two ways to prompt with the same demonstrations apart.

    `flops` and `seconds` are null where they are not measured; `kept_bytes` is what the task keeps beside the backbone,
    whatever the number of queries.
    """

    label: str
    trained: bool
    how: str = ""
    flops: Line | None = None
    seconds: Line | None = None
    kept_bytes: float | None = None

    def line(self, measure: str) -> Line | None:
        """The cumulative cost by one of MEASURES."""
        return {"flops": self.flops, "seconds": self.seconds}[measure]

    @property
    def name(self) -> str:
        """Label and how the demonstrations are read."""
        return f"{self.label}, {self.how}" if self.how else self.label


@dataclass(frozen=True)
class Pair:
    """A trained way against a prompted one by one measure."""

    trained: Way
    prompted: Way
    crossing: Crossing


def ways(rows: Mapping[str, Sequence[Record]]) -> list[Way]:
    """The ways of one task: label -> its records, medians over them. Trained ones first, then those that train nothing.

    Whether a record is a prompt is read from what it trained and which demonstrations it holds.
    """
    found = [way for label, records in rows.items() for way in _ways(label, records)]
    return sorted(found, key=lambda way: not way.trained)


def pairs(found: Iterable[Way], measure: str) -> list[Pair]:
    """Every trained way against every prompted one, where both are measured."""
    lines = [(way, line) for way in found if (line := way.line(measure)) is not None]
    return [
        Pair(trained, prompted, crossing(ours, theirs))
        for trained, ours in lines
        if trained.trained
        for prompted, theirs in lines
        if not prompted.trained
    ]


def _ways(label: str, records: Sequence[Record]) -> list[Way]:
    def of(read: Callable[[Record], float | None]) -> float | None:
        return median(measured(records, read))

    trained = of(lambda record: record.trainable_params)
    if trained is None:
        return []
    query, answer = of(lambda record: record.inference_flops_per_example), of(_seconds_per_query)
    kept = of(lambda record: record.task_bytes)
    if trained > 0:
        # What a method reads before its first query, it reads whether it trains or not.
        flops = _sum(of(lambda record: record.train_flops), of(lambda record: record.prefix_flops) or 0.0)
        seconds = _sum(of(lambda record: record.train_seconds), of(lambda record: record.prefix_seconds) or 0.0)
        return [Way(label, True, "", _line(flops, query), _line(seconds, answer), kept)]
    once, once_seconds = of(lambda record: record.prefix_flops), of(lambda record: record.prefix_seconds)
    if not any(record.demonstration_ids for record in records):
        return [Way(label, False, "", _line(once or 0.0, query), _line(once_seconds or 0.0, answer), kept)]
    anew = of(lambda record: record.inference_flops_per_example_without_reuse)
    if all(record.kv_cache_bytes is None for record in records):
        # Nothing can be kept, so what was timed read everything anew; what was read once was for calibrating.
        slope = query if anew is None else anew
        return [Way(label, False, ANEW, _line(once or 0.0, slope), _line(once_seconds or 0.0, answer), kept)]
    start = of(lambda record: record.calibration_flops) or 0.0
    with_cache = _sum(kept, of(lambda record: record.kv_cache_bytes))
    return [
        Way(label, False, KEPT, _line(once, query), _line(once_seconds, answer), with_cache),
        Way(label, False, ANEW, _line(start, anew), _line(0.0, of(_seconds_anew)), kept),
    ]


def _seconds_per_query(record: Record) -> float | None:
    rate = record.eval_examples_per_second
    if rate:
        return 1 / rate
    return None if record.eval_seconds is None or not record.n_test else record.eval_seconds / record.n_test


def _seconds_anew(record: Record) -> float | None:
    """Of a query whose demonstrations are read for it alone: what reading them once took, and the answer. None where
    that is not what was read once (a calibration, or queries that keep fewer demonstrations)."""
    kept, anew = record.inference_flops_per_example, record.inference_flops_per_example_without_reuse
    answer = _seconds_per_query(record)
    if record.prefix_seconds is None or record.prefix_flops is None or kept is None or anew is None or answer is None:
        return None
    same = abs(anew - kept - record.prefix_flops) <= SAME * record.prefix_flops
    return record.prefix_seconds + answer if same and not record.calibration_flops else None


def _line(start: float | None, slope: float | None) -> Line | None:
    return None if start is None or slope is None else Line(start, slope)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
