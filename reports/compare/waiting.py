"""Runs that had to wait for the processor: their seconds are longer than the processor time in them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from tunefront.reports import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.bench.records import Record

LONGER = 1.5
"""A run waited if its seconds are more than this many times its processor time."""
SHORTEST = 0.1
"""Runs of fewer seconds say nothing: a single interruption is a large part of them."""
STRETCHES = ("train", "eval", "prefix")


def waiting(record: Record) -> float | None:
    """Seconds of a run divided by the processor time in them; None if they are unknown or too short, and on CUDA, where
    the processor waits for the device.

    Processor time adds up over threads, and a thread that computes alone takes as long as it computes: without waiting
    this is at most 1, for any number of threads. It is not compared with the time divided by the number of threads,
    because that is shorter on a free machine too wherever only one thread has work.
    """
    if record.environment.device != "cpu":
        return None
    pairs = [(getattr(record.seconds, name), getattr(record.cpu_seconds, name)) for name in STRETCHES]
    known = [(wall, cpu) for wall, cpu in pairs if wall is not None and cpu is not None]
    total, cpu_total = sum(wall for wall, _ in known), sum(cpu for _, cpu in known)
    return total / cpu_total if total >= SHORTEST and cpu_total else None


def describe_waiting(records: Sequence[Record]) -> str:
    """A sentence on the runs that waited; empty if there are none."""
    ratios = [ratio for record in records if (ratio := waiting(record)) is not None]
    waited = [ratio for ratio in ratios if ratio > LONGER]
    if not waited:
        return ""
    times = units.significant(statistics.median(waited), 2)
    known = "" if len(ratios) == len(records) else " whose processor time is known"
    return (
        f"The machine was busy: in {len(waited)} of {units.plural(len(ratios), 'run')}{known} training and scoring "
        f"took more than {LONGER:g} times their processor time (in the median {times} times), so their "
        "seconds are too high."
    )
