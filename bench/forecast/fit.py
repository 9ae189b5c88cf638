"""Whether a plan fits into the memory of a device, and the largest batch that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MOST_ROWS = 4096
"""The largest batch that is tried."""
SECANT_STEPS = 5
"""Secant steps before falling back to doubling and bisection."""
MOST_TRIES = SECANT_STEPS + 2 * MOST_ROWS.bit_length()


@dataclass(frozen=True)
class Fit:
    """Whether a plan fits unchanged, and the largest batches for training and for scoring, each on its own: None if not
    even one row fits, and for training if nothing is trained."""

    fits: bool
    largest_batch: int | None
    largest_scoring_batch: int | None


def largest_batch(batch: int, available: int, peak_at: Callable[[int], int], most: int | None = None) -> int | None:
    """The largest batch with a peak within `available` bytes, None if not even one row fits.

    Args: batch, the start of the search; peak_at, predicts the peak for a number of rows; most, the number of rows
    there are, None for no limit. The peak is nearly linear in the batch, so a few secant steps find the largest batch.
    The result itself is always predicted, never only extrapolated.
    """
    most = min(most or MOST_ROWS, MOST_ROWS)
    known: dict[int, int] = {}

    def fits(size: int) -> bool:
        if size not in known:
            known[size] = peak_at(size)
        return known[size] <= available

    if not fits(1):
        return None
    low, high = 1, most + 1  # the largest known to fit; the smallest known not to, or above the limit
    candidate = min(batch, most)
    for step in range(MOST_TRIES):
        low, high = (max(low, candidate), high) if fits(candidate) else (low, min(high, candidate))
        if high - low <= 1:
            break
        if step < SECANT_STEPS:
            candidate = _secant_step(known, available, low, high)
        else:
            candidate = (low + high) // 2 if high in known else min(2 * low, high - 1)
    return low


def _secant_step(known: dict[int, int], available: int, low: int, high: int) -> int:
    """The next batch to try, between `low` and `high`: where the line through known peaks reaches the limit."""
    others = [size for size in known if size != low]
    if not others:
        return min(2 * low, high - 1)
    other = min(others, key=lambda size: abs(size - low))
    slope = (known[other] - known[low]) / (other - low)
    candidate = 2 * low if slope <= 0 else low + int((available - known[low]) / slope)
    return max(low + 1, min(candidate, high - 1))
