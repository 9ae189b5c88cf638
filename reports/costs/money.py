"""Costs in money: prices of training and of queries, break-even by price, and the cheapest way."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.price_map import candidates, price_map
from tunefront.reports.compare.prices import Prices
from tunefront.reports.compare.query_costs import PRICE
from tunefront.reports.compare.query_prices import (
    DEVICE,
    MILLION,
    NAMES,
    TOKENS,
    medians,
    models_of,
    priced,
    time_to_live,
)
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.costs.train_or_prompt import Measure, crossing_table, earliest, panel_ways
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.price_map import PriceMap, Winner
    from tunefront.reports.costs.train_or_prompt import Ways

TEXT = (
    "Training is paid for once, each query as often as it is asked. A cached prefix is paid for when it is read first, "
    "and again when it has expired: queries come at random at a constant rate, and each renews the cache."
)
BY_MODEL = {
    DEVICE: (
        "By device-hours, a cost is its seconds, of scoring in batches, times the price of an hour; what the device "
        "does in between is not priced. Seconds are those of these runs, and noise is never a break-even."
    ),
    TOKENS: (
        "By tokens, a query costs its text and its right answer, and its demonstrations at the price of input or of "
        "cached reads; training costs its tokens times the price of training, if there is one. A trained model is "
        "priced as the plain one, and a learned prompt is no text. Tokens are exact."
    ),
}


Maps = dict[str, dict[str, "PriceMap"]]
"""The map of the cheapest way by model of price and by the task's short name, without empty ones."""


def ledger(panel: Panel, names: Mapping[str, str], prices: Prices | None, maps: Maps) -> Ledger | None:
    """The ledger of a panel; None without prices."""
    if prices is None:
        return None
    ways, models = panel_ways(panel, names), models_shown(panel, prices)
    tables = [price_table(ways, prices, model) for model in models]
    soonest = []
    for model in models:
        measure = measure_of(prices, model)
        at_rest = {task: priced(own, prices, model) for task, own in ways.items()}
        soonest.append(earliest(at_rest, {entry.label for entry in panel.worthwhile}, measure))
        tables.append(crossing_table(at_rest, measure, f" {_kept(prices, model)}{prices.stamp}"))
        tables += [map_table(found, task, len(ways) > 1, prices) for task, found in maps.get(model, {}).items()]
    shown = tuple(table for table in tables if table is not None)
    unpriced = prices.device is not None and panel.timing_mismatch
    left = [f"Seconds are not priced: {panel.timing_mismatch}."] if unpriced else []
    texts = (f"{prices.stamp} {TEXT}", *(BY_MODEL[model] for model in models), *left)
    short = next(filter(None, soonest), "") if shown else "nothing has a price"
    return Ledger("prices", "Costs in money", short, texts, shown)


def models_shown(panel: Panel, prices: Prices) -> list[str]:
    """The models of price that a panel shows: seconds of different machines are not priced."""
    return [model for model in models_of(prices) if model != DEVICE or not panel.timing_mismatch]


def panel_maps(panel: Panel, names: Mapping[str, str], prices: Prices | None) -> Maps:
    """The maps of a panel. Methods that collapsed are never recommended."""
    if prices is None:
        return {}
    ways, labels = panel_ways(panel, names), [entry.label for entry in panel.worthwhile]
    compared = {task: candidates(own, labels) for task, own in ways.items()}
    found = {
        model: {task: price_map(own, prices, model) for task, own in compared.items()}
        for model in models_shown(panel, prices)
    }
    return {model: {task: made for task, made in own.items() if made is not None} for model, own in found.items()}


def measure_of(prices: Prices, model: str) -> Measure:
    """A model of price as a measure of ways that `priced` made."""
    currency = prices.currency
    name, less, write = (
        f"{currency} by {NAMES[model]}",
        f"less by {NAMES[model]}",
        partial(units.money, currency=currency),
    )
    return Measure(PRICE, name, less, currency, write, currency, model == DEVICE)


def price_table(ways_by_task: Ways, prices: Prices, model: str) -> Table | None:
    """What training, a million queries, and reading the prefix again cost; a row per task and way."""
    several = len(ways_by_task) > 1
    rows = []
    for task, ways in ways_by_task.items():
        for way in ways:
            price = medians(way, prices, model)
            if price is None:
                continue
            amounts = (price.start if way.trained else None, MILLION * price.query, price.miss or None)
            cells = [
                Cell(
                    units.money(amount, prices.currency),
                    title=units.exact(amount, prices.currency),
                    keys=() if amount is None else way.keys,
                )
                for amount in amounts
            ]
            rows.append((Cell(way.name), *((Cell(task),) if several else ()), *cells))
    if not rows:
        return None
    columns = (
        Column("method", numeric=False),
        *((Column("task", numeric=False),) if several else ()),
        Column("training", "once"),
        Column("queries", "a million"),
        Column("reading again", "each time"),
    )
    absent = _unpriced(ways_by_task, prices, model)
    note = (
        "Medians over the runs of a task. Queries: those that find what is read once. Reading again: what the first "
        f"query, and one after the cache has expired, costs in addition.{absent} {prices.stamp}"
    )
    return Table(f"Prices by {NAMES[model]}", columns, tuple(rows), note, leading=1 + several)


def _unpriced(ways_by_task: Ways, prices: Prices, model: str) -> str:
    """Why ways have no price."""
    ways = [way for own in ways_by_task.values() for way in own]
    missing = list(dict.fromkeys(way.name for way in ways if medians(way, prices, model) is None))
    if not missing:
        return ""
    table = prices.tokens if model == TOKENS else None
    wanted = [] if table is None or table.training is not None else ["of training"]
    wanted += [] if table is None or table.cached_read is not None else ["of cached reads"]
    why = f"; the prices have none {' and none '.join(wanted)}" if wanted else ""
    return f" Without a price: {', '.join(missing)}{why}."


def _kept(prices: Prices, model: str) -> str:
    """For which rate of queries a table holds."""
    seconds = time_to_live(prices, model)
    return "" if seconds is None else f"Here no cache expires within its {units.seconds(seconds)}. "


def map_table(found: PriceMap, task: str, several: bool, prices: Prices) -> Table:
    """The table of a map: a row per number of queries, a column per rate."""
    columns = (Column("queries", "in all"), *(Column(rate_text(rate), "an hour") for rate in found.rates))
    rows = tuple(
        (Cell(f"{total:,}"), *(_winner(winner, found.letters) for winner in row))
        for total, row in zip(found.totals, found.winners, strict=True)
    )
    note = (
        f"{legend(found)} The way that costs least in total, of trained methods and of prompts with demonstrations, "
        "whatever they score; methods that collapsed are left out. +1: as many others are not distinguished from it. "
        f"{_expires(prices, found)}{prices.stamp}"
    )
    caption = f"Cheapest way by {NAMES[found.model]}" + (f", {task}" if several else "")
    return Table(caption, columns, rows, note)


def _expires(prices: Prices, found: PriceMap) -> str:
    seconds = time_to_live(prices, found.model)
    if seconds is None:
        return "The prices have no time to live of a cache, so the queries of an hour change nothing. "
    if found.rates == (None,):
        return "Nothing is kept that could expire, so the queries of an hour change nothing. "
    return f"A cache expires {units.seconds(seconds)} after its last use. "


def rate_text(rate: float | None) -> str:
    """Queries an hour.

    >>> rate_text(0.3), rate_text(3000), rate_text(None)
    ('0.3', '3,000', 'any number')
    """
    return "any number" if rate is None else f"{rate:,.6g}"


def legend(found: PriceMap) -> str:
    """The way for which each letter stands."""
    return f"{'; '.join(f'{letter}: {name}' for name, letter in found.letters.items())}."


def _winner(winner: Winner | None, letters: Mapping[str, str]) -> Cell:
    if winner is None:
        return Cell(units.MISSING)
    more = f"+{len(winner.tied)}" if winner.tied else ""
    tied = f", not distinguished from {', '.join(winner.tied)}" if winner.tied else ""
    return Cell(letters[winner.name], more, f"{winner.name}{tied}")
