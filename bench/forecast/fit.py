"""What fits into a device's memory, and the largest batch that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MOST_ROWS = 4096
"""Larger batches are not looked for."""
ALONG_A_LINE = 5
"""After so many tries the rest double what fits, then halve what is left between it and what does not."""
MOST_TRIES = ALONG_A_LINE + 2 * MOST_ROWS.bit_length()


@dataclass(frozen=True)
class Fit:
    """Whether a plan fits as it is, and the most rows that can be trained on and scored at a time, each by itself: None
    where not even one fits, and for training where nothing is trained."""

    fits: bool
    largest_batch: int | None
    largest_scoring_batch: int | None


def largest(batch: int, available: int, at: Callable[[int], int], most: int | None = None) -> int | None:
    """The most rows a batch whose peak stays within `available` bytes, None where that of one row does not.

    Args: batch, where the search begins; at, the peak with so many rows; most, the rows that there are, None for as
    many as it takes. A peak grows with the batch nearly in a straight line, so that a few plans along it find the
    largest batch; the answer itself is always planned, never only read off the line.
    """
    most = min(most or MOST_ROWS, MOST_ROWS)
    known: dict[int, int] = {}

    def does(size: int) -> bool:
        if size not in known:
            known[size] = at(size)
        return known[size] <= available

    if not does(1):
        return None
    low, high = 1, most + 1  # the largest known to fit, the smallest known not to, or out of reach
    reach = min(batch, most)
    for tried in range(MOST_TRIES):
        low, high = (max(low, reach), high) if does(reach) else (low, min(high, reach))
        if high - low <= 1:
            break
        if tried < ALONG_A_LINE:
            reach = _reach(known, available, low, high)
        else:
            reach = (low + high) // 2 if high in known else min(2 * low, high - 1)
    return low


def _reach(known: dict[int, int], available: int, low: int, high: int) -> int:
    """The next batch to try, between the two: where the line through known batches meets what is available."""
    others = [size for size in known if size != low]
    if not others:
        return min(2 * low, high - 1)
    other = min(others, key=lambda size: abs(size - low))
    slope = (known[other] - known[low]) / (other - low)
    reach = 2 * low if slope <= 0 else low + int((available - known[low]) / slope)
    return max(low + 1, min(reach, high - 1))
