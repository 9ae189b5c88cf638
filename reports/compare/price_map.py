"""The cheapest way to answer queries, over the queries of an hour and the number of all queries."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tunefront.reports.compare.prices import Prices
from tunefront.reports.compare.query_comparison import Contest
from tunefront.reports.compare.query_costs import PRICE, Way
from tunefront.reports.compare.query_prices import DEVICE, HOUR, medians, priced, time_to_live

TOTALS = tuple(10**power for power in range(8))
"""Numbers of all queries."""
STEPS = (1, 3)
DECADES = (-1, 0, 1)
"""Decades of queries an hour around the one at which a cache is as old as its time to live."""


@dataclass(frozen=True)
class Winner:
    """The way that costs least, and those that are not distinguished from it."""

    name: str
    tied: tuple[str, ...] = ()


@dataclass(frozen=True)
class PriceMap:
    """The cheapest way by one model of price. `rates` are queries an hour, (None,) if no way keeps what could expire;
    `winners` has a row per number of queries and a column per rate, None where no way has a price."""

    model: str
    rates: tuple[float | None, ...]
    totals: tuple[int, ...]
    winners: tuple[tuple[Winner | None, ...], ...]

    @property
    def letters(self) -> dict[str, str]:
        """The ways that are cheapest somewhere, in the order in which they become so, with a letter for each."""
        names = dict.fromkeys(winner.name for row in self.winners for winner in row if winner is not None)
        return dict(zip(names, _letters(), strict=False))


def _letters() -> Iterator[str]:
    """A, B, ... Z, AA, AB, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_uppercase, repeat=length))


def candidates(ways: Iterable[Way], labels: Iterable[str]) -> list[Way]:
    """The ways that a map compares: trained ones, and prompts with demonstrations, of the given labels. A prompt
    without demonstrations would be cheapest everywhere, and says nothing about the choice."""
    kept = set(labels)
    return [way for way in ways if way.label in kept and (way.trained or way.how)]


def price_map(ways: Sequence[Way], prices: Prices, model: str) -> PriceMap | None:
    """The map of these ways; None unless a trained and a prompted one have a price."""
    known = [(way, price) for way in ways if (price := medians(way, prices, model)) is not None]
    if {way.trained for way, _ in known} != {True, False}:
        return None
    expires = any(price.miss for _, price in known)
    rates = rates_around(time_to_live(prices, model) if expires else None)
    contests = [Contest(priced(ways, prices, model, rate), PRICE, model == DEVICE) for rate in rates]
    rows = tuple(tuple(_winner(contest, total) for contest in contests) for total in TOTALS)
    return PriceMap(model, rates, TOTALS, rows)


def rates_around(seconds: float | None) -> tuple[float | None, ...]:
    """Queries an hour around that at which the mean time between two queries is the time to live.

    >>> rates_around(300)
    (1, 3, 10, 30, 100, 300)
    """
    if seconds is None or seconds <= 0:
        return (None,)
    middle = math.floor(math.log10(HOUR / seconds))
    powers = [middle + step for step in DECADES]
    return tuple(step * 10**power if power >= 0 else step / 10**-power for power in powers for step in STEPS)


def _winner(contest: Contest, total: int) -> Winner | None:
    found = contest.cheapest(total)
    return Winner(found[0].name, tuple(way.name for way in found[1:])) if found else None
