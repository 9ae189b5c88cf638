"""The ticks of an axis and their labels: round numbers, never long decimals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tunefront.reports.units import si

if TYPE_CHECKING:
    from collections.abc import Sequence

FINE = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
"""The digits of logarithmic ticks, from few to many: the first with three ticks are taken."""
PLAIN = ((1,), (1, 2, 5))
"""The same for shares."""


def log_ticks(low: float, high: float, digits: Sequence[Sequence[float]] = FINE) -> tuple[float, ...]:
    """Ticks of a logarithmic axis: powers of ten, with further digits between these if there are few.

    >>> log_ticks(700.0, 3e6), log_ticks(4.0, 60.0, PLAIN)
    ((1000.0, 10000.0, 100000.0, 1000000.0), (5.0, 10.0, 20.0, 50.0))
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in digits:
        ticks = [tick for power in powers for step in steps if low <= (tick := _decimal(step, power)) <= high]
        if len(ticks) >= 3:
            break
    while len(ticks) > 6:
        ticks = ticks[::2]
    return tuple(ticks)


def linear_ticks(high: float, intervals: float) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten from 0 on, with at most so many intervals up to `high`.

    >>> linear_ticks(112.0, 6), linear_ticks(0.07, 4.5)
    ((0.0, 20.0, 40.0, 60.0, 80.0, 100.0), (0.0, 0.02, 0.04, 0.06))
    """
    power = math.floor(math.log10(high / 2)) - 1
    size, power = next(
        (size, power + place)
        for place in range(3)
        for size in (1, 2, 5)
        if high / (size * 10.0 ** (power + place)) <= intervals
    )
    return tuple(_decimal(size * i, power) for i in range(math.floor(high / _decimal(size, power)) + 1))


def _decimal(digits: float, power: int) -> float:
    """`digits` times a power of ten, as it is typed: 3 * 0.1 is no 0.3.

    >>> _decimal(3, -1), 3 * 0.1
    (0.3, 0.30000000000000004)
    """
    return float(f"{digits}e{power}")


def tick_label(value: float, unit: str) -> str:
    """A tick as text.

    >>> tick_label(1000.0, ""), tick_label(1e6, ""), tick_label(2e8, "B"), tick_label(0.5, "s"), tick_label(0, "B")
    ('1k', '1M', '200\\xa0MB', '0.5\\xa0s', '0')
    """
    if value == 0:
        return "0"
    if unit == "s":  # seconds have no prefix
        return f"{value:g}\u00a0s"
    text = si(value, unit, gap="\u00a0" if unit else "")
    head = text.split("\u00a0")[0].rstrip("kMGTPE")
    return text.replace(head, f"{float(head):g}", 1)


def share_label(percent: float) -> str:
    """A share in percent without an exponent, unless it is tiny.

    >>> share_label(20.0), share_label(0.00005), share_label(2e-9)
    ('20\\xa0%', '0.00005\\xa0%', '2e-09\\xa0%')
    """
    if not 0 < percent < 1e-4:
        return f"{percent:g}\u00a0%"
    return f"{f'{percent:.6f}'.rstrip('0')}\u00a0%" if percent >= 1e-6 else f"{percent:.0e}\u00a0%"
