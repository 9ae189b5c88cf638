"""Tables of in-context learning: which demonstrations fit, and the cost of reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare import measures
from tunefront.reports.compare.factors import rows_used
from tunefront.reports.compare.measures import Cost
from tunefront.reports.compare.statistics import complete_rows, finite_values, median
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

TOKENS, TEXT = Cost("prompt.prefix_tokens"), Cost("storage.demonstration_bytes", unit="B")
ONCE, ONCE_SECONDS = Cost("flops.prefix", unit="FLOP"), Cost("seconds.prefix", unit="s", timed=True)
CACHE = Cost("prompt.kv_cache_bytes", unit="B")


def fitting_table(panel: Panel, index: int) -> Table:
    """The demonstrations that fit, prompts that lost some, truncated queries, and the size of the stored text."""
    columns = (
        Column("method", numeric=False),
        Column("demonstrations", "kept of requested"),
        Column("prompts", "that lost some"),
        Column("queries", "truncated"),
        Column("demonstrations", "tokens"),
        Column("demonstrations", "bytes of text"),
    )
    rows = tuple(
        (
            Cell(entry.label),
            _kept(entry, anchor(index, e)),
            _share(entry.all, lambda record: record.prompt.shortened_test, anchor(index, e)),
            _share(entry.all, lambda record: record.data.truncated_test, anchor(index, e)),
            TOKENS.cell(panel, entry, anchor(index, e)),
            TEXT.cell(panel, entry, anchor(index, e)),
        )
        for e, entry in _untrained(panel)
    )
    note = (
        "Demonstrations: mean number in the prompt of a scored row, median over tasks and runs. A prompt that is too "
        "long for the model loses demonstrations before its query is truncated. Prompts that lost some, and queries "
        "longer than max_length: out of the scored rows of all runs. Tokens and bytes: all prompts of a run, medians. "
        "A dash: no demonstrations, or not measured."
    )
    return Table("Which demonstrations fit", columns, rows, note)


def reading_table(panel: Panel, index: int) -> Table:
    """The cost of demonstrations once and per query, with and without reuse of the cache."""
    columns = (
        Column("method", numeric=False),
        Column("once", "FLOPs"),
        Column("once", "time"),
        Column("cache", "keys, values"),
        Column("per query", "FLOPs"),
        Column("per query", "FLOPs, no reuse"),
    )
    rows = tuple(
        (
            Cell(entry.label),
            *(cost.cell(panel, entry, anchor(index, e)) for cost in (ONCE, ONCE_SECONDS, CACHE)),
            measures.INFERENCE_FLOPS.cell(panel, entry, anchor(index, e)),
            _without_reuse(panel, entry, anchor(index, e)),
        )
        for e, entry in _untrained(panel)
    )
    note = (
        "Medians over tasks and runs. Once: running the demonstrations through the model before the first query, and "
        "calibration. Per query: a scored row with all its choices, reusing the cache. No reuse: the same if every "
        "query processed its demonstrations again, with the ratio to the FLOPs with reuse. A dash: no demonstrations, "
        "not measured, or a model that cannot keep a cache between queries."
    )
    if panel.timing_mismatch:
        note += f" Times cannot be compared and are left out: {panel.timing_mismatch}."
    return Table("Cost of reading demonstrations", columns, rows, note)


def _untrained(panel: Panel) -> list[tuple[int, Entry]]:
    """The entries with demonstrations, or with neither training nor demonstrations."""
    return [
        (e, entry)
        for e, entry in enumerate(panel.entries)
        if any(record.prompt.demonstration_ids or rows_used(record) == 0 for record in entry.all)
    ]


def _kept(entry: Entry, link: str) -> Cell:
    requested = sorted(set(finite_values((r for r in entry.all if r.prompt.demonstration_ids), rows_used)))
    kept = entry.median(lambda record: record.prompt.demonstrations_per_row)
    if kept is None:
        return Cell(units.MISSING)
    amounts = (
        f"{requested[0]:g}"
        if len(requested) == 1
        else f"{requested[0]:g}–{requested[-1]:g}"
        if requested
        else units.MISSING
    )
    return Cell(f"{kept:.3g} of {amounts}", title=units.exact(kept), link=link)


def _without_reuse(panel: Panel, entry: Entry, link: str) -> Cell:
    """The FLOPs without reuse, and their ratio to the FLOPs with reuse."""
    cell = measures.WITHOUT_REUSE.cell(panel, entry, link)
    shown = [record for record in entry.all if record.prompt.demonstration_ids]
    pairs = complete_rows(shown, measures.WITHOUT_REUSE.read, measures.INFERENCE_FLOPS.read)
    ratio = median([without / reused for without, reused in pairs if reused])
    return cell if ratio is None else Cell(cell.text, f"× {units.significant(ratio, 2)}", cell.title, cell.link)


def _share(records: Iterable[Record], part: Callable[[Record], int | None], link: str) -> Cell:
    """The number of affected rows out of all scored rows of the records; a dash if no record has it."""
    known = [record for record in records if part(record) is not None and record.data.n_test]
    if not known:
        return Cell(units.MISSING)
    some = sum(finite_values(known, part))
    whole = sum(finite_values(known, lambda record: record.data.n_test))
    return Cell(
        f"{units.count(some)} of {units.count(whole)}", "", units.percent(some, whole), link_if_present(some, link)
    )
