"""How long a single query takes: a first one, later ones, and later ones on merged weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.statistics import finite_values
from tunefront.reports.costs.breakdown import Ledger
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from tunefront.bench.records import Percentiles, Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

SERIES = {"first": "first query", "after_prefix": "later query", "merged": "merged"}
"""The series of a record and the head of their columns."""
SHOWN = {"first": ("p50", "p95"), "after_prefix": ("p50", "p95", "p99"), "merged": ("p50", "p95")}
TEXT = (
    "One query at a time, with tokens that are ready, on the model that was scored. A first query also reads what is "
    "kept for later ones: demonstrations, or a learned prompt. Merged: what the method inserted is folded into the "
    "backbone's weights, so that the model is a plain one with the head; where nothing is inserted, any query is that "
    "of a plain model. Half of the queries took at most p50, 95 of 100 at most p95."
)


def ledger(panel: Panel, index: int) -> Ledger | None:
    """The ledger of a panel; None if no single query was timed, or if seconds cannot be compared."""
    if panel.timing_mismatch or not any(record.latency_seconds.after_prefix for record in panel.records):
        return None
    return Ledger("latency", "Seconds of a single query", _short(panel), (TEXT,), (_table(panel, index),))


def _table(panel: Panel, index: int) -> Table:
    shown = [(series, part) for series, parts in SHOWN.items() for part in parts if _any(panel, series, part)]
    columns = (
        Column("method", numeric=False),
        *(Column(SERIES[series], part) for series, part in shown),
        Column("queries", "timed"),
    )
    rows = tuple(
        (
            Cell(entry.label),
            *(_cell(value_of(entry, series, part), anchor(index, e)) for series, part in shown),
            _count(entry),
        )
        for e, entry in enumerate(panel.entries)
    )
    note = (
        "Medians over tasks and runs. A dash: nothing is read before the first query, nothing can be merged, or too "
        "few queries were timed to tell this one from the slowest. More are timed with --set latency_queries=100."
    )
    return Table("Seconds of a single query", columns, rows, note)


def value_of(entry: Entry, series: str, part: str) -> float | None:
    """The median of a percentile over an entry's tasks and runs."""
    return entry.median(lambda record: _read(record, series, part))


def _read(record: Record, series: str, part: str) -> float | None:
    found: Percentiles | None = getattr(record.latency_seconds, series)
    value: float | None = None if found is None else getattr(found, part)
    return value


def _any(panel: Panel, series: str, part: str) -> bool:
    return any(value_of(entry, series, part) is not None for entry in panel.entries)


def _cell(value: float | None, link: str) -> Cell:
    return Cell(units.instant(value), title=units.exact(value, "s"), link=link_if_present(value, link))


def _count(entry: Entry) -> Cell:
    """The fewest queries of a run."""
    counts = finite_values(entry.all, lambda record: getattr(record.latency_seconds.after_prefix, "count", None))
    return Cell(units.count(min(counts, default=None)))


def _short(panel: Panel) -> str:
    """The shortest and the longest median of a later query."""
    medians = {entry.label: value_of(entry, "after_prefix", "p50") for entry in panel.worthwhile}
    known = sorted((value, label) for label, value in medians.items() if value is not None)
    if not known:
        return ""
    (short, first), (long, last) = known[0], known[-1]
    return f"p50 of a later query: {units.instant(short)} ({first}) to {units.instant(long)} ({last})"
