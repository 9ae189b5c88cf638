"""Reads JSON: one object per line (JSON Lines) or one array of objects, whatever the file's suffix."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.headers import has_header, without_header
from tunefront.bench.data.sources.limits import Unreadable
from tunefront.bench.data.sources.split_names import SPLIT, split_in

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.data.sources.tables import Layout, Problems, Record

_CONVERT = "write one JSON object per row, for example with pandas: to_json(..., orient='records', lines=True)"
_ROWS = ("data", "rows", "records", "examples")
"""Keys whose list of objects holds the rows, even next to a version or a title."""
_LINES = re.compile(r"\s*\{[^\n]*\}[ \t\r]*\n\{")
"""Two lines with one object each."""
_HALF = "\\ud"
"""Start of the escape of a lone surrogate, in lower case."""


def read_json(
    file: Path, text: str, problems: Problems, notes: list[str], layout: Layout
) -> tuple[list[Record], list[str]]:
    """(records, the place of each); invalid rows are added to `problems`. Errors: Unreadable."""
    start = text.lstrip()[:1]
    values = None
    if start == "{":
        values = (_splits(file, text, notes) if layout.whole else None) or _keyed(file, text, notes)
    elif start == "[":
        values = _array(file, text)
    if layout.whole and values is not None:
        values = _from_lists(file, values, notes, layout.header)
    return _lines(file, text, problems) if values is None else _rows(file, text, values, problems)


def explain(error: ValueError) -> str:
    """The error of a JSON parser without Python's own terms."""
    if "integer string conversion" in str(error):
        return "a number has more than 4,300 digits"
    return str(error)


def _lines(file: Path, text: str, problems: Problems) -> tuple[list[Record], list[str]]:
    records: list[Record] = []
    places = []
    for number, line in enumerate(text.split("\n" if "\n" in text else "\r"), 1):
        if not line.strip():
            continue
        place = f"{file}, line {number}"
        try:
            record = json.loads(line)
        except RecursionError:
            problems.add(f"{place}: nested too deeply; each line must be one flat JSON object.", str(file), "json")
            continue
        except ValueError as error:
            message = f"not valid JSON ({explain(error)}); each line must be one JSON object"
            problems.add(f"{place}: {message}.", str(file), "json")
            continue
        if (type(record) is not dict or "\\u" in line) and (wrong := _wrong(record, _HALF in line.lower())):
            problems.add(f"{place}: {wrong}", str(file), "json")
        else:
            records.append(record)
            places.append(place)
    return records, places


def _rows(file: Path, text: str, values: list[object], problems: Problems) -> tuple[list[Record], list[str]]:
    records: list[Record] = []
    places = []
    escaped = _HALF in text.lower()
    for number, value in enumerate(values, 1):
        place = f"{file}, row {number}"
        if wrong := _wrong(value, escaped):
            problems.add(f"{place}: {wrong}", str(file), "json")
        elif isinstance(value, dict):
            records.append(value)
            places.append(place)
    return records, places


def _wrong(record: object, escaped: bool) -> str:
    """The reason why a value is no row, else ""; `escaped`: whether it may contain escaped lone surrogates."""
    if not isinstance(record, dict):
        return f"expected a JSON object, got a {type(record).__name__}."
    try:
        if escaped:
            json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return f"{error.object[error.start]!a} is half of a surrogate pair; write both halves or none."
    except RecursionError:
        return "nested too deeply; each row must be one flat JSON object."
    return ""


def _array(file: Path, text: str) -> list[object] | None:
    """The array of the whole file; None if the file is JSON Lines."""
    try:
        value: list[object] = json.loads(text)
    except RecursionError:
        raise Unreadable(f"{file} is nested too deeply; {_CONVERT}.") from None
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None  # one value per line
        raise Unreadable(f"{file}, line {error.lineno}: not valid JSON ({error}); {_CONVERT}.") from None
    except ValueError as error:
        raise Unreadable(f"{file}: not valid JSON ({explain(error)}).") from None
    return value


def _keyed(file: Path, text: str, notes: list[str]) -> list[object] | None:
    """The rows in the one list of an object that is the whole file; None if each line is an object."""
    if _LINES.match(text):
        return None  # the common case, without reading twice
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # reported line by line
    lists = [key for key, item in value.items() if isinstance(item, list) and any(isinstance(r, dict) for r in item)]
    scalars = any(isinstance(item, (str, int, float)) for item in value.values())
    if len(lists) == 1 and (not scalars or lists[0] in _ROWS):
        notes.append(f"rows are read from the key {lists[0]!r}")
        rows: list[object] = value[lists[0]]
        return rows
    if (transposed := _transposed(value)) is not None:
        notes.append("rows are built from columns")
        return transposed
    if len(value) > 1 and all(isinstance(item, (dict, list)) for item in value.values()):
        raise Unreadable(f"{file} holds columns, not rows ({', '.join(list(map(repr, value))[:5])}); {_CONVERT}.")
    return [value] if "\n" in text.strip() else None


def _splits(file: Path, text: str, notes: list[str]) -> list[object] | None:
    """The rows of an object of splits, each with its split under SPLIT; None for anything else.

    The rows of a split are objects, or lists of one length, which become columns named by their places.
    """
    if _LINES.match(text):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None  # reported by the other readers
    if len(value) < 2 or not all(isinstance(rows, list) and split_in(key) for key, rows in value.items()):
        return None
    notes.append(f"rows are read from the keys {', '.join(value)}")
    named = {key: _from_lists(file, rows, [], False) for key, rows in value.items()}
    return [{**row, SPLIT: key} if isinstance(row, dict) else row for key, rows in named.items() for row in rows]


def _from_lists(file: Path, rows: list[object], notes: list[str], header: bool | None) -> list[object]:
    """Rows that are lists as objects; others unchanged. Errors: Unreadable if they differ in length."""
    lists = [row for row in rows if isinstance(row, list)]
    if not lists or len(lists) < len(rows):
        return rows
    if len({len(row) for row in lists}) > 1:
        raise Unreadable(f"{file}: its rows are lists of different lengths; {_CONVERT}.")
    if header or (header is None and has_header(lists[0], lists[1:])):
        columns, lists = [str(name) for name in lists[0]], lists[1:]
    else:
        columns = without_header(len(lists[0]), notes)
    return [dict(zip(columns, row, strict=True)) for row in lists]


def _transposed(value: dict[str, object]) -> list[object] | None:
    """The rows of an object of columns, each a list or, as in pandas, an object by row number; else None."""
    columns = list(value.values())
    if len(columns) < 2:
        return None
    lists = [column for column in columns if isinstance(column, list)]
    if len(lists) == len(columns) and len({len(column) for column in lists}) == 1:
        return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)]
    objects = [column for column in columns if isinstance(column, dict)]
    if len(objects) < len(columns) or any(column.keys() != objects[0].keys() for column in objects):
        return None
    if all(number.isdecimal() for number in objects[0]):
        return [{name: column[number] for name, column in zip(value, objects, strict=True)} for number in objects[0]]
    return list(objects) if all(number.isdecimal() for number in value) else None  # rows by number
