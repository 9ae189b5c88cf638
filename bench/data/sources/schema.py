"""From records to rows: which column is the label, which columns are read, and what each label means.

Where nobody says (no meta.json), it is inferred from the training records:

- the label is the column `label`;
- inputs are the columns that hold text, in order; `idx`, `id` and the label are not, nor is a CSV column of numbers;
- numbers that are not all whole make a regression task;
- any other labels are names: the distinct ones of train, sorted (whole numbers by size), are the classes.

Where label_names are given, a whole number is an index into them and text is a name (or, if no name, an index).
"""

from __future__ import annotations

import math
import re
import reprlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.bench.data.task import Kind, Row
from tunefront.bench.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tunefront.bench.data.sources.meta import Meta
    from tunefront.bench.data.sources.tables import Problems, Record, Table

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_WHOLE = re.compile(r"\s*[+-]?\d{1,1000}\s*")  # int() refuses texts of more than 4300 digits
_NOT_TEXT = frozenset({"idx", "id"})


@dataclass(frozen=True)
class Schema:
    """How a task's records are read; `declared` where label_names were given, so that whole numbers index them."""

    kind: Kind
    label_field: str
    label_names: tuple[str, ...]
    input_fields: tuple[str, ...]
    declared: bool


def infer_schema(train: Table, meta: Meta, problems: Problems) -> Schema | None:
    """What `meta` says, the rest from the training records; None, with the reason noted, where that cannot be."""
    if meta.label_field not in train.columns:
        problems.add(_no_column(train, meta.label_field, "label column"))
        return None
    inputs = tuple(meta.input_fields or _text_columns(train, meta.label_field))
    for name in inputs:
        if name not in train.columns:
            problems.add(_no_column(train, name, "column", "input_fields of meta.json names it"))
        elif name == meta.label_field:
            problems.add(f"{train.file.parent}: the label would be an input; take {name!r} out of input_fields.")
    if not inputs:
        problems.add(f"{train.file}: no column but {meta.label_field!r} holds text; give each row at least one text.")
    values = [value for record in train.records if not _missing(value := record.get(meta.label_field))]
    kind = meta.task_type or ("classification" if meta.label_names else _kind(values))
    names = () if kind == "regression" else tuple(meta.label_names or _names(values))
    if kind == "regression" and meta.label_names:
        problems.add(f"{train.file.parent}: a regression task has no label_names; leave them out of meta.json.")
    if kind != "regression" and len(names) < 2:
        named = f"only {names[0]!r}" if names else "none"
        problems.add(f"{train.file}: at least two different labels are needed, {named} was found.")
    return Schema(kind, meta.label_field, names, inputs, bool(meta.label_names))


def read_rows(table: Table, schema: Schema, problems: Problems) -> list[Row]:
    """The table's rows; every label that means nothing and every empty text is noted.

    The id is `idx` where every row has another, else the row's number from 0. Fields are all scalars of the record but
    the label; lists and other nested values are left out.
    """
    missing = [name for name in (schema.label_field, *schema.input_fields) if name not in table.columns]
    for name in missing:
        problems.add(_no_column(table, name, "label column" if name == schema.label_field else "column"))
    if missing:
        return []
    rows = []
    for identity, record, place in zip(_ids(table.records), table.records, table.places, strict=True):
        for name in schema.input_fields:
            value = record.get(name)
            if _missing(value) or not str(value).strip():
                problems.add(
                    f"{place}: {name!r} is empty; fill it in or remove the row.", str(table.file), "empty text"
                )
            elif not isinstance(value, (str, int, float)):
                kind = type(value).__name__
                problems.add(f"{place}: {name!r} is a {kind}, but an input is text.", str(table.file), "nested")
        label = _label(record.get(schema.label_field), schema)
        if isinstance(label, str):
            problems.add(f"{place}: {label}", str(table.file), "label")
            continue
        fields = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in record.items()
            if name != schema.label_field and isinstance(value, (str, int, float, bool, type(None)))
        }
        rows.append(Row(identity, fields, label))
    return rows


def _label(value: object, schema: Schema) -> int | float | str:
    """The label as a task has it, or a sentence that says why the value is none."""
    if _missing(value):
        return f"{schema.label_field!r} is empty; every row needs a label."
    if schema.kind == "regression":
        return _value(value)
    names = schema.label_names
    if not schema.declared or (isinstance(value, str) and value in names):
        name = _name(value)
        return names.index(name) if name in names else unknown("label", name, names, _hint(value, schema))
    index = _whole(value)
    if index is not None and 0 <= index < len(names):
        return index
    if index is None:
        return unknown("label", str(value), names, _hint(value, schema))
    return f"label {index} is outside label_names: 0 to {len(names) - 1} are {', '.join(names)}.{_hint(value, schema)}"


def _hint(value: object, schema: Schema) -> str:
    if _whole(value) == -1:
        return " -1 often stands for a hidden label: leave that split out."
    return "" if schema.declared else "Classes are the labels that occur in train; meta.json can name others."


def _value(value: object) -> float | str:
    try:
        number = float(value) if not isinstance(value, bool) and _NUMBER.fullmatch(str(value)) else math.nan  # type: ignore[arg-type]
    except OverflowError:  # a whole number of more than 308 digits
        number = math.inf
    return (
        number
        if math.isfinite(number)
        else f"label {reprlib.repr(value)} is not a finite number, which regression needs."
    )


def _missing(value: object) -> bool:
    """Nothing, an empty text, or the NaN that stands for nothing in Parquet and in what pandas writes."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _whole(value: object) -> int | None:
    if isinstance(value, (bool, int)) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else None


def _name(value: object) -> str:
    """A label as a class's name: whole numbers without a point, all else as written."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _kind(values: list[object]) -> Kind:
    numbers = all(not isinstance(value, bool) and _NUMBER.fullmatch(str(value)) for value in values)
    return "regression" if numbers and any(_whole(value) is None for value in values) else "classification"


def _names(values: list[object]) -> list[str]:
    names = {_name(value) for value in values}
    return sorted(names, key=int) if all(_WHOLE.fullmatch(name) for name in names) else sorted(names)


def _text_columns(table: Table, label_field: str) -> list[str]:
    columns = (name for name in table.columns if name != label_field and name not in _NOT_TEXT)
    return [name for name in columns if _is_text([r.get(name) for r in table.records], table.typed)]


def _is_text(values: Iterable[object], typed: bool) -> bool:
    filled = [value for value in values if not _missing(value)]
    if not all(isinstance(value, str) for value in filled):
        return False
    return bool(filled) and (typed or not all(_NUMBER.fullmatch(str(value)) for value in filled))


def _ids(records: list[Record]) -> list[str]:
    given = [record.get("idx") for record in records]
    plain = all(isinstance(value, (str, int)) and value != "" for value in given)
    if plain and max(Counter(map(str, given)).values()) == 1:
        return [str(value) for value in given]
    return [str(number) for number in range(len(records))]


def _no_column(table: Table, name: str, what: str, why: str = "") -> str:
    add = "Name the right one as label_field in meta.json." if what == "label column" else ""
    return f"{table.file}: {unknown(what, name, table.columns, add)}{f' ({why}.)' if why else ''}"
