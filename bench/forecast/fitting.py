"""What fits into a device's memory, and the largest batch that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.records import Record

MOST_TRIES = 6


@dataclass(frozen=True)
class Fit:
    """Whether a plan fits, and the largest training batch (scoring batch, where nothing is trained) that does: None
    where not even one row fits."""

    fits: bool
    largest_batch: int | None


def peak_bytes(record: Record) -> int:
    """The most that any phase of a plan holds; 0 where memory is not known."""
    return max((sum(owners.values()) for owners in (record.memory or {}).values()), default=0)


def fit(record: Record, batch: int, available: int, at: Callable[[int], Record]) -> Fit:
    """How a plan with so many rows a batch fits into `available` bytes.

    Args: at, the same plan with another batch. A peak grows with the batch nearly in a straight line, so that a few
    plans along it find the largest batch; the answer itself is always planned, never only read off the line.
    """
    fits = peak_bytes(record) <= available
    known = {batch: peak_bytes(record)}

    def peak(size: int) -> int:
        if size not in known:
            known[size] = peak_bytes(at(size))
        return known[size]

    if peak(1) > available:
        return Fit(fits, None)
    low, high = 1, None  # the largest known to fit, the smallest known not to
    if fits:
        low = batch
    elif batch > 1:
        high = batch
    for _ in range(MOST_TRIES):
        reach = _reach(known, available, low, high)
        if reach <= low:
            break
        if peak(reach) <= available:
            low = reach
        else:
            high = reach
        if high is not None and high - low <= 1:
            break
    return Fit(fits, low)


def _reach(known: dict[int, int], available: int, low: int, high: int | None) -> int:
    """The next batch to try: where the line through two known batches meets what is available."""
    others = [size for size in known if size != low]
    other = min(others, key=lambda size: abs(size - low)) if others else 2 * low
    if other not in known:
        return other
    slope = (known[other] - known[low]) / (other - low)
    reach = 2 * low if slope <= 0 else low + int((available - known[low]) / slope)
    return max(low + 1, min(reach, high - 1 if high is not None else 1000 * low))
