"""Where runs differ from the paper that their suite repeats, as it was found when they started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.records.deviations import Compared, grouped
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.records import Record

HEADING = "Beside the paper"
NOTE = (
    "Found by comparing settings, counts, initial values, losses and optimiser steps with what the paper's code does."
)


def paper_tables(records: Sequence[Record], names: Mapping[str, str]) -> tuple[Table, ...]:
    """For each paper its differences, those of every method first; nothing where no record was compared with one.
    `names` are the tasks' short ones."""
    comparisons = (Compared(r.paper, r.label, names[r.task], r.deviations) for r in _first_seen(records))
    columns = tuple(Column(head, numeric=False) for head in ("method", "task", "difference"))
    tables = []
    for paper, groups in grouped(comparisons).items():
        rows: list[tuple[Cell, ...]] = []
        for group in groups:
            where = (group.methods or "every method", group.tasks or "every task")
            rows += [tuple(map(Cell, (*where, deviation))) for deviation in group.deviations]
        if not rows:
            rows.append(tuple(map(Cell, ("every method", "every task", "none was found"))))
        caption = f"Where this differs from {paper}"
        kept = [0, 1, 2] if any(group.tasks for group in groups) else [0, 2]
        shown = tuple(tuple(row[place] for place in kept) for row in rows)
        tables.append(Table(caption, tuple(columns[place] for place in kept), shown, NOTE))
    return tuple(tables)


def _first_seen(records: Sequence[Record]) -> list[Record]:
    """By label, task and key, so that the same records make the same table in any order."""
    return sorted(records, key=lambda record: (record.label, record.task, record.key))
