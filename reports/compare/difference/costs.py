"""The costs that changed. All but times are counted, not estimated: a change of these is certain."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports.compare.checks import find_timing_mismatch, group_by
from tunefront.reports.compare.factors import draw_of
from tunefront.reports.compare.statistics import finite_values
from tunefront.reports.names import join_names

if TYPE_CHECKING:
    from tunefront.bench.records import Record
    from tunefront.reports.compare.difference.pairs import Pair

COUNTED, NOISY = 0.001, 0.25
"""The least relative change that is shown: of counts, and of seconds."""
LEAST_SECONDS = 1.0
"""Shorter times are not compared: they vary more than this."""


@dataclass(frozen=True)
class CostChange:
    """A cost of a method that changed. `unit`: empty for a count. `noisy`: it is measured, and varies from run to
    run."""

    label: str
    backbone: str
    shots: int | None
    cost: str
    unit: str
    old: float
    new: float
    noisy: bool = False

    @property
    def ratio(self) -> float | None:
        """New over old; None if the old one is 0."""
        return self.new / self.old if self.old else None


@dataclass(frozen=True)
class _Cost:
    name: str
    unit: str
    read: Callable[[Record], float | None]
    noisy: bool = False


COSTS = (
    _Cost("trained parameters", "", lambda record: record.parameters.trainable),
    _Cost("bytes stored per task", "B", lambda record: record.task_bytes),
    _Cost("training FLOPs", "FLOP", lambda record: record.flops.train),
    _Cost("inference FLOPs per example", "FLOP", lambda record: record.flops.inference_per_example),
    _Cost("peak memory", "B", lambda record: record.peak_memory_bytes),
    _Cost("training time", "s", lambda record: _time(record, "train"), noisy=True),
    _Cost("scoring time", "s", lambda record: _time(record, "eval"), noisy=True),
)


def _time(record: Record, phase: str) -> float | None:
    """Seconds of the processor on CPU, where they are known: other work on the machine changes them less."""
    used: float | None = getattr(record.cpu_seconds, phase) if record.environment.device == "cpu" else None
    seconds: float | None = getattr(record.seconds, phase)
    return seconds if used is None else used


def cost_changes(pairs: Sequence[Pair]) -> list[CostChange]:
    """The costs that changed: means over cells that old and new share, because costs depend on the rows of a draw.

    Times are compared only if both ran on equal machines.
    """
    found = []
    for one in pairs:
        sides, uneven = _sides(one), _why_untimed(one) is not None
        for cost in COSTS:
            if cost.noisy and uneven:
                continue
            old, new = _means(sides[0], sides[1], cost)
            least = NOISY if cost.noisy else COUNTED
            if old is None or new is None or (cost.noisy and max(old, new) < LEAST_SECONDS):
                continue
            if abs(new - old) > least * max(abs(old), abs(new)):
                found.append(CostChange(one.label, *one.place, cost.name, cost.unit, old, new, cost.noisy))
    return found


def untimed_notes(pairs: Sequence[Pair]) -> list[str]:
    """Whose times are not compared, and why: else one would take them for unchanged."""
    whys = group_by(pairs, _why_untimed)
    return [
        f"Times of {join_names(list(dict.fromkeys(one.label for one in group)))} are not compared: {why}."
        for why, group in whys.items()
        if why is not None
    ]


def _why_untimed(one: Pair) -> str | None:
    old, new = _sides(one)
    return find_timing_mismatch([*old, *new])


def _sides(one: Pair) -> list[list[Record]]:
    """The old and the new records."""
    return [[record for runs in side.values() for record in runs] for side in (one.old, one.new)]


def _means(old: Sequence[Record], new: Sequence[Record], cost: _Cost) -> tuple[float | None, float | None]:
    """The mean of a cost over the cells that both have, old and new; None if there are none."""
    sides = []
    for records in (old, new):
        by_cell = group_by(records, lambda record: (record.task, record.template, draw_of(record)))
        values = {cell: finite_values(group, cost.read) for cell, group in by_cell.items()}
        sides.append({cell: statistics.median(known) for cell, known in values.items() if known})
    shared = [cell for cell in sides[0] if cell in sides[1]]
    if not shared:
        return None, None
    before, after = (statistics.fmean(side[cell] for cell in shared) for side in sides)
    return before, after
