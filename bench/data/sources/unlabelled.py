"""Rows of a task without their labels, from a file: what a fitted method is to answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.advice import FILE as FILE_ADVICE
from tunefront.bench.data.sources.choices import spelled_list, unfolded
from tunefront.bench.data.sources.labels import missing
from tunefront.bench.data.sources.limits import Budget
from tunefront.bench.data.sources.own_tables import place_of, reading_of
from tunefront.bench.data.sources.reading import read_tables
from tunefront.bench.data.sources.rows import plain_value
from tunefront.bench.data.sources.tables import Layout, Problems
from tunefront.bench.data.task import Row, Task
from tunefront.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.data.sources.tables import Record, Table
    from tunefront.bench.data.task import Value

_ELEMENT = re.compile(r"(.+)\[(\d+)\]")
"""A field of a column of lists, such as endings[0]."""
IDS = ("idx", "id")
"""Columns that are taken as ids of rows, the first that is there."""


@dataclass(frozen=True)
class UnlabelledRow:
    """A row: its number in the file from 1, its id there, None without one, whether any input has text, and whether
    one of the columns that are its choices has none."""

    number: int
    id: str | None
    row: Row
    has_text: bool
    lacks_choice: bool = False


def read_unlabelled(file: Path | str, task: Task) -> list[UnlabelledRow]:
    """The rows of a file (CSV, JSONL, Parquet, Excel, and what else a task can be read from), in its order.

    Errors: UserErrors for a file that cannot be read, or lacks a column that the task reads.
    """
    problems = Problems(advice=FILE_ADVICE)
    with reading_of(str(file)):
        path = place_of(str(file))
        if path.is_dir():
            raise UserError(f"{path} is a folder; give a file of rows.")
        lists = {found[1] for name in _elements(task) if (found := _ELEMENT.fullmatch(name))}
        keep = {*task.input_fields, *lists, *IDS}
        table = read_tables((path,), problems, Budget.from_environment(), keep, Layout(keeps_empty=True))
        problems.raise_any()
        if table is None:
            raise UserError(f"{path} has no rows.")
        _check_columns(table, task, lists)
        id_column = next((name for name in IDS if name in table.columns and name not in task.input_fields), None)
        return [
            _row(number, record, task, lists, id_column, typed=table.typed)
            for number, record in enumerate(table.records, 1)
        ]


def _check_columns(table: Table, task: Task, lists: set[str]) -> None:
    """UserError with every column that the table lacks. Single choices may be absent: a row may have fewer."""
    needed = [name for name in task.input_fields if name not in _elements(task)]
    if _has_choices(task):
        needed = [name for name in needed if name not in task.label_names]
    absent = [name for name in (*needed, *sorted(lists)) if name not in table.columns]
    if absent:
        known = ", ".join(map(repr, table.columns[:20])) or "none"
        near = unknown("column", absent[0], table.columns)
        raise UserError(
            f"{table.file} lacks {len(absent)} of the columns that the checkpoint of {task.name} reads: {near} It "
            f"reads {', '.join(map(repr, task.input_fields))}; the file has {known}. Rename its columns."
        )


def _row(number: int, record: Record, task: Task, lists: set[str], id_column: str | None, typed: bool) -> UnlabelledRow:
    content: Mapping[str, object] = record
    for column in lists:
        most = sum(name.rpartition("[")[0] == column for name in _elements(task))
        listed = record if typed else {**record, column: spelled_list(record.get(column))}
        content = {**content, **unfolded(listed, column, most)}
    fields: dict[str, Value] = dict.fromkeys(task.input_fields)
    for name, value in content.items():
        plain, is_kept = plain_value(value)
        if is_kept and name != "label":
            fields[name] = plain
    own = record.get(id_column) if id_column else None
    identity = None if missing(own) else str(own)
    choices = [name for name in task.label_names if name in task.input_fields] if _has_choices(task) else []
    for name in choices:
        fields[name] = fields.get(name) if _is_filled(fields.get(name)) else None
    lacks = any(fields[name] is None for name in choices)
    return UnlabelledRow(number, identity, Row(str(number), fields, 0), _has_text(fields, task), lacks)


def _elements(task: Task) -> list[str]:
    """The input fields that are single choices of a column of lists."""
    return [name for name in task.input_fields if _ELEMENT.fullmatch(name)] if _has_choices(task) else []


def _has_choices(task: Task) -> bool:
    return task.kind == "multiple choice"


def _is_filled(value: Value) -> bool:
    return not missing(value) and bool(str(value).strip())


def _has_text(fields: Mapping[str, Value], task: Task) -> bool:
    """Whether an input that is no choice has text."""
    choices = task.label_names if _has_choices(task) else ()
    asked = [name for name in task.input_fields if name not in choices and name not in _elements(task)]
    return any(_is_filled(fields.get(name)) for name in asked or task.input_fields)
