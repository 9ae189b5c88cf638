"""What the columns are read as, and why others are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.check.findings import Column
from tunefront.bench.check.samples import sample, shortened
from tunefront.bench.data.sources.labels import missing

if TYPE_CHECKING:
    from tunefront.bench.data.sources.tables import Reading, Table
    from tunefront.bench.data.task import Task

_ROWS = 20_000
"""Rows in which values are counted."""


def columns_of(task: Task, reading: Reading | None) -> tuple[Column, ...]:
    """The columns of the file in its order; of a task without files its inputs and what it leaves out."""
    answers = task.label_names if task.kind == "multiple choice" else ()
    if reading is None:
        texts = [Column(name, "answer" if name in answers else "text") for name in task.input_fields]
        return (*texts, *(Column(name, "left out", why) for name, why in task.left_out.items()))
    table = reading.tables["train"]
    records = sample(table.records, _ROWS)
    known = {name: _read_as(name, task, reading) for name in table.columns}
    return tuple(_column(name, *known[name], table, [record.get(name) for record in records]) for name in known)


def _read_as(name: str, task: Task, reading: Reading) -> tuple[str, str]:
    """(what a column is read as, why)."""
    if name == reading.label:
        return "label", "guessed" if "label" in reading.task.guessed else ""
    if name == reading.id:
        return "id", ""
    if name == reading.group:
        return "group", "its rows are in one split"
    if name in task.input_fields:
        answer = task.kind == "multiple choice" and name in task.label_names
        return "answer" if answer else "text", "guessed" if "text" in reading.task.guessed and not answer else ""
    if name in task.left_out:
        return "left out", task.left_out[name]
    return "answer" if task.kind == "multiple choice" else "left out", ""


def _column(name: str, read_as: str, why: str, table: Table, values: list[object]) -> Column:
    filled = [value for value in values if not missing(value)]
    share = len(filled) / len(values) if values else None
    return Column(name, read_as, why, share, shortened(filled[0]) if filled else "")
