"""Differences between runs and the paper that their suite reproduces, as recorded when they started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.records.deviations import Compared, grouped
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.records import Record

HEADING = "Differences from the paper"
NOTE = "Settings, counts, initial values, losses and optimiser steps were compared with the paper's code."


def paper_tables(records: Sequence[Record], names: Mapping[str, str]) -> tuple[Table, ...]:
    """A table of differences for each paper, those of all methods first; empty if no record was compared with a paper.
    `names` are the tasks' short names."""
    comparisons = (Compared(r.paper, r.label, names[r.task], r.deviations) for r in _first_seen(records))
    columns = tuple(Column(head, numeric=False) for head in ("method", "task", "difference"))
    tables = []
    for paper, groups in grouped(comparisons).items():
        rows: list[tuple[Cell, ...]] = []
        for group in groups:
            where = (group.methods or "every method", group.tasks or "every task")
            rows += [tuple(map(Cell, (*where, deviation))) for deviation in group.deviations]
        if not rows:
            rows.append(tuple(map(Cell, ("every method", "every task", "none"))))
        caption = f"Differences from {paper}"
        kept = [0, 1, 2] if any(group.tasks for group in groups) else [0, 2]
        shown = tuple(tuple(row[place] for place in kept) for row in rows)
        tables.append(Table(caption, tuple(columns[place] for place in kept), shown, NOTE))
    return tuple(tables)


def _first_seen(records: Sequence[Record]) -> list[Record]:
    """The records sorted by label, task and key, so that the table does not depend on their order."""
    return sorted(records, key=lambda record: (record.label, record.task, record.key))
