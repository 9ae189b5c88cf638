"""A table of a paper's figures and ours, as data."""

from __future__ import annotations

from dataclasses import dataclass

WHY = "why"
"""Column that explains agreement or difference."""


@dataclass(frozen=True)
class PaperTable:
    """A table for printing; `notes` are paragraphs below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def prints_as(value: float, printed: str) -> bool:
    """Whether a number rounds to the printed one.

    >>> prints_as(1.17, "1.2"), prints_as(1.44e15, "1.4e15"), prints_as(5.5e13, "5.4e13")
    (True, True, False)
    """
    mantissa, exponent, _ = printed.partition("e")
    digits = len(mantissa.partition(".")[2])
    return float(f"{value:.{digits}{exponent or 'f'}}") == float(printed)
