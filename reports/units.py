"""Numbers as readable text. A missing number is an em dash, never 0; bytes are decimal (1 kB is 1000 bytes)."""

from __future__ import annotations

import math
from typing import TypeGuard

MISSING = "—"
MINUS = "−"
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


LARGEST = 1e40
"""Larger numbers are no measurements (float32 ends at 3.4e38), and their squares and sums would overflow."""

TINY = 1e-12
"""Smaller numbers are written with an exponent: their leading zeros would fill a line."""


def finite(value: float | None) -> TypeGuard[float]:
    """Whether a value is a usable number: not missing, NaN or infinite, and not impossibly large."""
    return value is not None and abs(value) <= LARGEST


def significant(value: float, digits: int = 3) -> str:
    """A positive number rounded to significant digits, without an exponent unless it is tiny.

    >>> [significant(value) for value in (0.012345, 1.5, 99.96, 1234.5)]
    ['0.0123', '1.50', '100', '1234']
    """
    if value == 0:
        return "0"
    if abs(value) < TINY:
        return f"{value:.{digits}g}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if round(abs(value), places) >= 10 ** (digits - places):  # 99.96 is rounded to 100
        places -= 1
    return f"{value:.{max(0, places)}f}"


def si(value: float | None, unit: str = "", gap: str = "\u00a0") -> str:
    """A number with a decimal prefix.

    >>> si(352_000), si(22_713_216), si(1.4e12, "FLOP"), si(940, "B")
    ('352\\xa0k', '22.7\\xa0M', '1.40\\xa0TFLOP', '940\\xa0B')
    """
    if not finite(value):
        return MISSING
    for size, prefix in _PREFIXES:
        if abs(value) >= size * 0.9995:
            return f"{significant(value / size)}{gap}{prefix}{unit}"
    text = f"{value:.0f}" if float(value).is_integer() else significant(value)
    return f"{text}{gap}{unit}" if unit else text


def count(value: float | None) -> str:
    """An integer with all its digits.

    >>> count(22713216), count(None)
    ('22,713,216', '—')
    """
    return f"{value:,.0f}" if finite(value) else MISSING


def exact(value: float | None, unit: str = "") -> str:
    """The exact number with its unit, for a tooltip; empty if missing."""
    if not finite(value):
        return ""
    return (f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}") + (f" {unit}" if unit else "")


def percent(part: float | None, whole: float | None) -> str:
    """A share in percent to two significant digits.

    >>> percent(352_000, 22_713_216), percent(22_713_216, 22_713_216), percent(1, None)
    ('1.5\\xa0%', '100\\xa0%', '—')
    """
    if not finite(part) or not finite(whole) or not whole:
        return MISSING
    share = 100 * part / whole
    if not finite(share):
        return MISSING
    return f"{significant(share, 2 if share < 99.5 else 3)}\u00a0%"


def seconds(value: float | None) -> str:
    """A duration.

    >>> seconds(0.25), seconds(42.31), seconds(185.2), seconds(7260)
    ('0.250\\xa0s', '42.3\\xa0s', '3\\xa0min\\xa005\\xa0s', '2\\xa0h\\xa001\\xa0min')
    """
    if not finite(value):
        return MISSING
    if value < 59.95:
        return f"{significant(value)}\u00a0s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}\u00a0min\u00a0{whole % 60:02d}\u00a0s"
    return f"{whole // 3600}\u00a0h\u00a0{whole % 3600 // 60:02d}\u00a0min"


def instant(value: float | None) -> str:
    """A duration; in milliseconds if shorter than a second.

    >>> instant(0.01234), instant(0.00005), instant(1.5), instant(None)
    ('12.3\\xa0ms', '0.0500\\xa0ms', '1.50\\xa0s', '—')
    """
    if not finite(value) or value >= 1:
        return seconds(value)
    return f"{significant(1000 * value)}\u00a0ms"


def money(value: float | None, currency: str) -> str:
    """An amount of money.

    >>> money(1234.5, "EUR"), money(0.00123, "USD"), money(0.0, "EUR")
    ('1,234\\xa0EUR', '0.00123\\xa0USD', '0\\xa0EUR')
    """
    if not finite(value):
        return MISSING
    return f"{value:,.0f}\u00a0{currency}" if abs(value) >= 1000 else f"{significant(value)}\u00a0{currency}"


def times(value: float | None) -> str:
    """A multiple.

    >>> times(1.2704), times(100.0), times(None)
    ('× 1.27', '× 100', '—')
    """
    return MISSING if not finite(value) else f"× {significant(value)}"


def points(score: float | None) -> str:
    """A score times 100 with one decimal.

    >>> points(0.8349), points(None), points(-0.021)
    ('83.5', '—', '−2.1')
    """
    return MISSING if not finite(score) else f"{_half_up(100 * score):.1f}".replace("-", MINUS)


def _half_up(value: float) -> float:
    """A value that rounds away from zero at one half, whatever the last bits of the sums it comes from."""
    return value + math.copysign(1e-9, value)


def signed(value: float | None, digits: int = 1) -> str:
    """A difference with its sign.

    >>> signed(-0.42), signed(1.26), signed(-0.01)
    ('−0.4', '+1.3', '0.0')
    """
    if not finite(value):
        return MISSING
    text = f"{_half_up(value):+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def of_backbone(part: float, whole: float) -> str:
    """A number of parameters and its share of the backbone's.

    >>> of_backbone(1348, 22_565_376).replace(chr(160), " ")
    "1,348 (0.0060 % of the backbone's 22,565,376)"
    """
    return f"{count(part)} ({percent(part, whole)} of the backbone's {count(whole)})"


def spread(value: float | None) -> str:
    """The standard deviation of scores, times 100.

    >>> spread(0.0123), spread(None)
    ('± 1.2', '')
    """
    return f"± {100 * value:.1f}" if finite(value) else ""


def number(value: object) -> str:
    """A setting's value as it is typed on the command line.

    >>> number(0.0003), number(1e-6), number(None), number(True), number(32)
    ('0.0003', '1e-06', 'none', 'true', '32')
    """
    if value is None:
        return "none"
    if isinstance(value, int) and not finite(value):  # Python refuses to print integers of 5,000 digits
        return f"{'-' if value < 0 else ''}2^{value.bit_length()}"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def plural(amount: int, singular: str, many: str | None = None) -> str:
    """A number with its noun.

    >>> plural(1, "task"), plural(2, "seed")
    ('1 task', '2 seeds')
    """
    return f"{amount:,} {singular if amount == 1 else many or singular + 's'}"
