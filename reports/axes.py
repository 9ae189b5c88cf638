"""Axes that a person reads: 1k, 10k, 100k, 1M; 1 MB, 10 MB; zero where nothing is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.units import si

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Scale:
    """A horizontal axis: linear from 0 over narrow ranges, else logarithmic, with a place for zero left of a log axis.

    `zero` is the position that stands for 0 on a log axis, None where nothing is 0.
    """

    log: bool
    low: float
    high: float
    ticks: tuple[float, ...]
    zero: float | None = None

    def place(self, value: float) -> float:
        """Where a value is drawn, in the axis's own units."""
        return self.zero if self.log and value <= 0 and self.zero is not None else value


def scale(values: Sequence[float]) -> Scale:
    """The axis for these values (none negative, at least one).

    >>> scale([770, 82_000, 22_700_000]).ticks
    (1000.0, 10000.0, 100000.0, 1000000.0, 10000000.0)
    >>> scale([9.1e8, 9.9e8]).log
    False
    """
    positive = [value for value in values if value > 0]
    if not positive:
        return Scale(False, -0.5, 1.0, (0.0,))
    least, most = min(positive), max(positive)
    if most / least < 6 and len(positive) == len(values):
        return _linear(most)
    decades = max(0.6, math.log10(most / least))
    zero = None
    low = 10 ** (math.log10(least) - 0.07 * decades - 0.05)
    if len(positive) < len(values):
        zero = 10 ** (math.log10(least) - 0.16 * decades - 0.1)
        low = 10 ** (math.log10(least) - 0.24 * decades - 0.15)
    high = 10 ** (math.log10(most) + 0.07 * decades + 0.05)
    floor = least / 1.5 if zero is not None else low
    return Scale(True, low, high, _log_ticks(floor, high), zero)


def tick_label(value: float, unit: str) -> str:
    """A tick as text.

    >>> tick_label(1000.0, ""), tick_label(1e6, ""), tick_label(2e8, "B"), tick_label(0.5, "s"), tick_label(0, "B")
    ('1k', '1M', '200\\xa0MB', '0.5\\xa0s', '0')
    """
    if value == 0:
        return "0"
    if unit == "s":  # seconds take no prefix
        return f"{value:g}\u00a0s"
    text = si(value, unit, gap="\u00a0" if unit else "")
    head = text.split("\u00a0")[0].rstrip("kMGTPE")
    return text.replace(head, f"{float(head):g}", 1)


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) >= 3:
            break
    while len(ticks) > 6:
        ticks = ticks[::2]
    return tuple(ticks)


def _linear(most: float) -> Scale:
    """From zero, so that a small difference looks small."""
    high = 1.12 * most
    step = 10 ** math.floor(math.log10(high / 2))
    step = next(size * step for size in (1, 2, 5, 10) if high / (size * step) <= 5)
    return Scale(False, 0.0, high, tuple(float(step * i) for i in range(math.floor(high / step) + 1)))
