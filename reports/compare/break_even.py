"""Break-even of two ways to answer queries: their total costs, and the number of queries at which these are equal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Line:
    """A cost that grows with the number of queries: `start` before the first one, `slope` for each."""

    start: float
    slope: float

    def at(self, queries: float) -> float:
        """The total cost of a number of queries.

        >>> Line(100.0, 3.0).at(10)
        130.0
        """
        return self.start + queries * self.slope


@dataclass(frozen=True)
class Crossing:
    """For how many queries one way costs less than another. `queries` is the number at which both cost the same, None
    if there is no such number of at least one.

    `kind`: always (from the first query on), never, after (more than `queries`), until (up to `queries`), same (both
    cost the same for any number), or unclear (the costs per query cannot be distinguished; `reason` says why).
    """

    kind: Literal["always", "never", "after", "until", "same", "unclear"]
    queries: float | None = None
    reason: str = ""

    @property
    def words(self) -> str:
        """The result in words.

        >>> Crossing("after", 1233.4).words, Crossing("until", 50.0).words, Crossing("always").words
        ('after 1,234 queries', 'up to 50 queries', 'from the first query')
        """
        return self._words(rough=False)

    @property
    def short(self) -> str:
        """The same, short enough for a column.

        >>> [Crossing("after", 1233.4).short, Crossing("until", 50.0).short, Crossing("always").short]
        ['after 1,234', 'up to 50', 'from the first']
        """
        return _without_noun(self.words)

    @property
    def rough(self) -> str:
        """The same for costs that vary between runs: the number is rounded to two digits.

        >>> Crossing("after", 27512.0).rough, Crossing("until", 3.7).rough, Crossing("never").rough
        ('after about 28,000 queries', 'up to about 3 queries', 'never')
        """
        return self._words(rough=True)

    @property
    def rough_short(self) -> str:
        """The same, short enough for a column.

        >>> Crossing("after", 27512.0).rough_short
        'after about 28,000'
        """
        return _without_noun(self.rough)

    def _words(self, rough: bool) -> str:
        if self.queries is None:
            known = {"always": "from the first query", "same": "costs the same", "unclear": "not distinguished"}
            return known.get(self.kind, "never")
        amount = math.ceil(self.queries) if self.kind == "after" else math.floor(self.queries)
        if rough:
            amount = round(amount, 2 - len(str(amount)))
        noun = "query" if amount == 1 else "queries"
        return f"{'after' if self.kind == 'after' else 'up to'} {'about ' if rough else ''}{amount:,} {noun}"


def _without_noun(words: str) -> str:
    return words.removesuffix(" queries").removesuffix(" query")


def crossing(ours: Line, other: Line) -> Crossing:
    """For how many queries `ours` costs less than `other`. They are equal at (start - start') / (slope' - slope).

    >>> crossing(Line(1000.0, 1.0), Line(0.0, 5.0))
    Crossing(kind='after', queries=250.0, reason='')
    """
    ahead, gain = ours.start - other.start, other.slope - ours.slope
    if gain == 0:
        return Crossing("same" if ahead == 0 else "always" if ahead < 0 else "never")
    meet = ahead / gain
    if meet < 1:  # before the first query: only the slopes decide
        return Crossing("always" if gain > 0 else "never")
    return Crossing("after" if gain > 0 else "until", meet)
