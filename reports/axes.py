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
    """A horizontal axis: linear from 0 over narrow ranges, else logarithmic, with a strip for zero left of a log axis.

    `edge` is where the strip ends and the log axis begins, None where nothing is 0.
    """

    log: bool
    low: float
    high: float
    ticks: tuple[float, ...]
    edge: float | None = None

    @property
    def zero(self) -> float | None:
        """The middle of the strip that stands for 0, None where there is none."""
        return None if self.edge is None else (self.low * self.edge) ** 0.5

    def places(self, values: Sequence[float]) -> list[float]:
        """Where values are drawn, in the axis's own units: as they are, those at 0 side by side in the strip.

        >>> [round(place, 6) for place in Scale(True, 0.01, 1000.0, (1.0,), 1.0).places([0, 10.0, 0, 0])]
        [0.031623, 10.0, 0.1, 0.316228]
        """
        at_zero = [i for i, value in enumerate(values) if value <= 0]
        found = list(values)
        if self.edge is not None:
            for rank, i in enumerate(at_zero, 1):
                found[i] = self.low * (self.edge / self.low) ** (rank / (len(at_zero) + 1))
        return found


def scale(values: Sequence[float], even: bool = False) -> Scale:
    """The axis for these values (none negative, at least one); `even`, a linear one over any range.

    >>> scale([770, 82_000, 22_700_000]).ticks
    (1000.0, 10000.0, 100000.0, 1000000.0, 10000000.0)
    >>> scale([9.1e8, 9.9e8]).log
    False
    """
    positive = [value for value in values if value > 0]
    if not positive:
        return Scale(False, -0.5, 1.0, (0.0,))
    least, most = min(positive), max(positive)
    zeros = len(values) - len(positive)
    if even or most / least < 6:
        return _linear(most, zeros > 0)
    decades = math.log10(most / least)
    low = 10 ** (math.log10(least) - 0.07 * decades - 0.05)
    high = 10 ** (math.log10(most) + 0.07 * decades + 0.05)
    ticks = _log_ticks(low, high)
    if not zeros:
        return Scale(True, low, high, ticks)
    strip = min(0.1 + 0.05 * zeros, 0.3) * math.log10(high / low)
    return Scale(True, low / 10**strip, high, ticks, low)


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


def _linear(most: float, zeros: bool) -> Scale:
    """From zero, so that a small difference looks small; from a little before it where something is drawn there."""
    high = 1.12 * most
    step = 10 ** math.floor(math.log10(high / 2))
    step = next(size * step for size in (1, 2, 5, 10) if high / (size * step) <= 4.5)
    ticks = tuple(float(step * i) for i in range(math.floor(high / step) + 1))
    return Scale(False, -0.06 * high if zeros else 0.0, high, ticks)
