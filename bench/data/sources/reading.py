"""Reads files of rows: JSON, CSV, TSV, Parquet, Arrow, Excel; problems are collected with their place and a remedy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.contents import MAGIC, decode, open_file, read_bytes
from tunefront.bench.data.sources.csv_file import read_csv
from tunefront.bench.data.sources.headers import is_unnamed
from tunefront.bench.data.sources.json_file import read_json
from tunefront.bench.data.sources.limits import VALUE_BYTES, Budget, Unreadable
from tunefront.bench.data.sources.tables import Layout, Table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tunefront.bench.data.sources.tables import Problems

JSON_FORMATS = (".jsonl", ".json", ".ndjson")
CSV_FORMATS = (".csv", ".tsv")
EXCEL = (".xlsx", ".xlsm")
FORMATS = (".jsonl", ".csv", ".parquet", ".json", ".tsv", ".ndjson", ".arrow", ".feather")
_UNNAMED = re.compile(r"Unnamed: \d+(_level_\d+)?(\.\d+)?|__index_level_\d+__")


def read_table(file: Path, problems: Problems, keep: Collection[str] = ("label",)) -> Table | None:
    """The rows of one file; see `read_tables`."""
    return read_tables((file,), problems, Budget.from_environment(), keep)


def read_tables(
    files: Sequence[Path], problems: Problems, budget: Budget, keep: Collection[str], layout: Layout | None = None
) -> Table | None:
    """The rows of a split's files, concatenated in order; None, with the reason in `problems`, if there are none.

    `budget`: the memory limit; `keep`: columns that are read even if they look like an index; `layout`: what a file may
    hold, by default the rows of a split.
    """
    known = len(problems.found)
    tables = []
    for file in files:
        try:
            tables.append(without_index(_read(file, problems, budget, keep, layout or Layout()), keep))
        except Unreadable as error:
            problems.add(str(error))
    filled = [table for table in tables if table.records]
    if not filled and len(problems.found) == known:
        problems.add(f"{files[0]} has no rows; add at least one, or delete the file.")
    if not filled or len(tables) < len(files):
        return None
    return _joined(filled, problems) if len(files) > 1 else filled[0]


def _joined(tables: Sequence[Table], problems: Problems) -> Table:
    """Concatenates tables; differing columns (except in JSON, where rows may differ) and classes are problems."""
    first = tables[0]
    for table in tables[1:]:
        other = set(table.columns) ^ set(first.columns)
        if other and format_of(first.file) not in JSON_FORMATS:
            listed = ", ".join(sorted(map(repr, other))[:5])
            problems.add(f"{table.file} has other columns than {first.file.name} ({listed}); make them equal.")
        if dict(table.class_names) != dict(first.class_names):
            problems.add(f"{table.file} has other class names than {first.file.name}; make them equal.")
    return replace(
        first,
        columns=tuple(dict.fromkeys(column for table in tables for column in table.columns)),
        records=[record for table in tables for record in table.records],
        places=[place for table in tables for place in table.places],
        notes=(*dict.fromkeys(note for table in tables for note in table.notes), f"{len(tables)} files joined"),
    )


def format_of(file: Path) -> str:
    """The suffix of the file's format, in lower case and without that of a compression."""
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix in MAGIC else suffix


def _format_within(file: Path) -> str:
    """The format of a file whose suffix names none, such as .txt, by its first bytes; empty for text."""
    with open_file(file) as raw:
        head = raw.read(4)
    if head.startswith(b"PAR1"):
        return ".parquet"
    return EXCEL[0] if head.startswith(b"PK") and file.suffix.lower() not in MAGIC else ""


def _read(file: Path, problems: Problems, budget: Budget, keep: Collection[str], layout: Layout) -> Table:
    notes: list[str] = []
    kind = format_of(file)
    if layout.whole and kind not in (*FORMATS, *EXCEL):
        kind = _format_within(file)
    if kind in EXCEL:
        from tunefront.bench.data.sources.excel_file import read_excel

        columns, records, places = read_excel(file, budget, notes, layout)
        return Table(file, tuple(columns), records, places, notes=tuple(notes))
    if kind not in (*CSV_FORMATS, *JSON_FORMATS, ""):
        from tunefront.bench.data.sources import arrow_file  # imports pyarrow, which JSON and CSV do not need

        reader = arrow_file.read_parquet if kind == ".parquet" else arrow_file.read_arrow
        columns, records, classes = reader(file, budget, keep, notes)
        places = [f"{file}, row {number}" for number in range(1, len(records) + 1)]
        return Table(file, tuple(columns), records, places, class_names=classes, notes=tuple(notes))
    data = read_bytes(file, budget)
    text, encoding = decode(file, data, notes)
    if not kind:
        kind = ".json" if text.lstrip()[:1] in ("{", "[") else ".csv"
    if kind in CSV_FORMATS:
        marks = b"\t" if kind == ".tsv" else b","
        _charge(file, data, (marks, b"\n"), budget)
        columns, records, places = read_csv(file, data, encoding, marks.decode(), problems, notes, layout)
    else:
        _charge(file, data, (b",", b"["), budget)
        records, places = read_json(file, text, problems, notes, layout)
        columns = list(dict.fromkeys(name for record in records for name in record))
    return Table(file, tuple(columns), records, places, typed=kind not in CSV_FORMATS, notes=tuple(notes))


def _charge(file: Path, data: bytes, marks: Sequence[bytes], budget: Budget) -> None:
    """Charges a text and its values, estimated from the number of `marks`; counted only if the budget is tight."""
    count = len(data) > budget.left_bytes // (2 + VALUE_BYTES)
    budget.spend(file, 2 * len(data), sum(data.count(mark) for mark in marks) if count else 0)


def without_index(table: Table, keep: Collection[str]) -> Table:
    """Drops unnamed columns: Excel's empty ones, and the index that pandas writes first."""
    notes, left_out = [], set[str]()
    for place, column in enumerate(table.columns):
        if column in keep or not (is_unnamed(column) or _UNNAMED.fullmatch(column)):
            continue
        index = place == 0 or column.startswith("__index")
        filled = sum(1 for record in table.records if record.get(column) not in (None, ""))
        left_out.add(column)
        name = f"column {place + 1} (unnamed)" if is_unnamed(column) else f"column {column!r}"
        if filled == len(table.records) and index:
            notes.append(f"{name} left out: pandas' index")
        elif filled:
            notes.append(f"{name} left out, although {filled} rows have a value: name the column to have it read")
    empty = len(left_out) - len(notes)
    if empty:
        notes.append(f"{empty} unnamed empty column{'s' * (empty > 1)} left out")
    if not left_out:
        return table
    for record in table.records:
        for column in left_out:
            record.pop(column, None)
    columns = tuple(column for column in table.columns if column not in left_out)
    return replace(table, columns=columns, notes=(*table.notes, *notes))
