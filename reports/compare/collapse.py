"""Collapsed runs: answers that are nearly all the same, or no better than a constant one, as their records say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports import units

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunefront.bench.records import Record

MARK = "†"
"""Stands before a score to which collapsed runs contribute, and after the name of a method that is not recommended."""
MOST = 0.5
"""A method is not recommended if at least this share of its runs collapsed."""


@dataclass(frozen=True)
class Collapsed:
    """The number of collapsed runs among those for which this is defined."""

    runs: int
    of: int

    def __bool__(self) -> bool:
        return self.runs > 0

    @property
    def mostly(self) -> bool:
        """Whether the method is not recommended: at least half of the runs collapsed."""
        return self.runs > 0 and self.runs >= MOST * self.of

    @property
    def words(self) -> str:
        """The numbers in words.

        >>> Collapsed(1, 2).words, Collapsed(1, 1).words
        ('collapsed in 1 of 2 runs', 'collapsed in 1 of 1 run')
        """
        return f"collapsed in {self.runs} of {units.plural(self.of, 'run')}"


def mark(collapsed: Collapsed) -> str:
    """The mark of a score, empty if no run collapsed."""
    return MARK if collapsed else ""


def count_collapsed(records: Iterable[Record]) -> Collapsed:
    """The collapsed runs among these; regression has none, and is not counted."""
    known = [record.collapse.collapsed for record in records if record.collapse.collapsed is not None]
    return Collapsed(sum(known), len(known))
