"""The ways to answer queries with what they cost in money, by two models of price: device-hours, and list prices.

A cache that expires is paid again. Queries come one after another at random, at a constant rate (a Poisson process),
and each renews the cache: one finds its prefix with the probability 1 - exp(-rate × time to live).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunefront.reports.compare.break_even import Line
from tunefront.reports.compare.measures import Cost, trains
from tunefront.reports.compare.prices import PER_TOKENS, Device, List, Prices
from tunefront.reports.compare.query_costs import WITH_CACHE, WITHOUT_CACHE, Run, Way, list_ways
from tunefront.reports.compare.statistics import median

if TYPE_CHECKING:
    from tunefront.bench.records import Record

DEVICE, TOKENS = "device", "tokens"
MODELS = (DEVICE, TOKENS)
"""The models of price: device-hours times seconds, and tokens times list prices."""
NAMES = {DEVICE: "device-hours", TOKENS: "tokens"}
HOUR, MILLION = 3600, 1_000_000


@dataclass(frozen=True)
class Expected:
    """A cost of queries some of which do not find their prefix in the cache: `start` before the first query, `query`
    for each, and `miss` in addition for each that reads the prefix again, as the first does."""

    start: float
    query: float
    miss: float = 0.0

    @property
    def first(self) -> float:
        """The cost of the first query."""
        return self.query + self.miss

    def line(self, found: float) -> Line:
        """The expected total, if a later query finds its prefix with the probability `found`.

        n queries cost start + n query + (1 + (n - 1) (1 - found)) miss.

        >>> Expected(100.0, 2.0, 8.0).line(0.75).at(5) == 100 + 5 * 2 + (1 + 4 * 0.25) * 8
        True
        """
        return Line(self.start + found * self.miss, self.query + (1 - found) * self.miss)

    def times(self, price: float) -> Expected:
        """The same in another unit."""
        return Expected(self.start * price, self.query * price, self.miss * price)


def chance_of_finding(time_to_live: float | None, per_hour: float | None) -> float:
    """The probability that a query finds the prefix of the one before it; 1 if nothing expires, or at any rate (None).

    >>> chance_of_finding(60, 60 * math.log(2))
    0.5
    """
    if time_to_live is None or per_hour is None:
        return 1.0
    return round(-math.expm1(-per_hour * time_to_live / HOUR), 12)


def models_of(prices: Prices) -> list[str]:
    """The models for which there are prices, in order."""
    return [model for model in MODELS if getattr(prices, model) is not None]


def time_to_live(prices: Prices, model: str) -> float | None:
    """Seconds after which the cache expires, None for never."""
    table: Device | List | None = getattr(prices, model)
    return None if table is None else table.time_to_live


def priced(ways: Iterable[Way], prices: Prices, model: str, per_hour: float | None = None) -> list[Way]:
    """The ways with their costs by one model (see `Run.line`), and their FLOPs and seconds, at so many queries an hour;
    None for a rate at which nothing expires."""
    found = chance_of_finding(time_to_live(prices, model), per_hour)
    return [replace(way, runs=tuple(_priced(way, run, prices, model, found) for run in way.runs)) for way in ways]


def expected_price(way: Way, run: Run, prices: Prices, model: str) -> Expected | None:
    """What queries cost in one record; None if it lacks a number, or the prices do."""
    if run.record is None:
        return None
    if model == DEVICE and prices.device is not None:
        seconds = _seconds(way, run, run.record)
        return None if seconds is None else seconds.times(prices.device.hour / HOUR)
    return None if prices.tokens is None else _list_price(way, run.record, prices.tokens)


def _priced(way: Way, run: Run, prices: Prices, model: str, found: float) -> Run:
    price = expected_price(way, run, prices, model)
    flops, seconds = (
        (None, None) if run.record is None else (_flops(way, run, run.record), _seconds(way, run, run.record))
    )
    return replace(
        run,
        flops=None if flops is None else flops.line(found),
        seconds=None if seconds is None else seconds.line(found),
        price=None if price is None else price.line(found),
    )


def _flops(way: Way, run: Run, record: Record) -> Expected | None:
    calibration = record.flops.calibration or 0
    again = None if record.flops.prefix is None else record.flops.prefix - calibration
    return _again(way, run.flops, again)


def _seconds(way: Way, run: Run, record: Record) -> Expected | None:
    """Seconds; of a calibration, which is timed with the reading, none that could be told apart."""
    return _again(way, run.seconds, None if record.flops.calibration else record.seconds.prefix)


def _again(way: Way, known: Line | None, reading: float | None) -> Expected | None:
    """A line whose start has the first reading of what is kept, taken apart."""
    if known is None:
        return None
    if way.how == WITHOUT_CACHE:
        return Expected(known.start, known.slope)
    if reading is None:
        return None if way.how == WITH_CACHE else Expected(known.start, known.slope)
    return Expected(known.start - reading, known.slope, reading)


def _list_price(way: Way, record: Record, prices: List) -> Expected | None:
    """Tokens at list prices. A learned prompt is no text that is paid for; demonstrations and answers are."""
    tokens = record.tokens
    members = record.prompt.demonstration_ids or ((),)
    shown = tokens.prefix if record.prompt.demonstration_ids else 0.0
    training = _training(record, prices)
    if training is None or tokens.query is None or tokens.right_answer is None or shown is None:
        return None
    own = tokens.query * prices.input + len(members) * tokens.right_answer * prices.output
    if way.how != WITH_CACHE:
        return Expected(training, own + shown * prices.input).times(1 / PER_TOKENS)
    if prices.cached_read is None:
        return None
    write = prices.input if prices.cache_write is None else prices.cache_write
    return Expected(training, own + shown * prices.cached_read, shown * (write - prices.cached_read)).times(
        1 / PER_TOKENS
    )


def _training(record: Record, prices: List) -> float | None:
    """The price of training, times `PER_TOKENS`; None if it is not known."""
    if not trains(record):
        return 0.0
    trained = record.tokens.train
    return None if trained is None or prices.training is None else trained * prices.training


def price_costs(prices: Prices | None) -> list[Cost]:
    """The prices of a million queries after what is read once, as costs of records, with the date of the prices."""
    if prices is None:
        return []
    return [
        Cost(
            f"price_per_million_queries.{model}",
            f"Price of a million queries by {NAMES[model]} ({prices.date})",
            prices.currency,
            timed=model == DEVICE,
            derive=lambda record, model=model: _price_of_million(record, prices, model),  # type: ignore[misc]
            price=True,
        )
        for model in models_of(prices)
    ]


def _price_of_million(record: Record, prices: Prices, model: str) -> float | None:
    for way in list_ways({record.label: [record]})[:1]:  # with a cache, if there is one
        price = expected_price(way, way.runs[0], prices, model)
        return None if price is None else MILLION * price.query
    return None


def medians(way: Way, prices: Prices, model: str) -> Expected | None:
    """Medians over the runs of a way; None if one lacks it."""
    known = [expected_price(way, run, prices, model) for run in way.runs]
    found: Sequence[Expected] = [price for price in known if price is not None]
    if not found or len(found) < len(known):
        return None
    parts = [median([getattr(price, name) for price in found]) or 0.0 for name in ("start", "query", "miss")]
    return Expected(*parts)
