"""Converts the records of a split to rows: a row needs a label and text in at least one input."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from tunefront.bench.data.sources import choices
from tunefront.bench.data.sources.labels import class_of, missing, value_of
from tunefront.bench.data.sources.schema import no_column
from tunefront.bench.data.task import Row, Value

if TYPE_CHECKING:
    from tunefront.bench.data.sources.advice import Advice
    from tunefront.bench.data.sources.schema import Schema
    from tunefront.bench.data.sources.tables import Problems, Record, Table

_DEEPEST = 20
"""Maximum nesting of lists and mappings in a row's fields."""


def read_rows(table: Table, schema: Schema, problems: Problems) -> list[Row]:
    """The table's rows; invalid labels and rows without text are added to `problems`.

    The id is `idx` if it is unique, else the row's number from 0. Fields are all values of the record except the label;
    values other than text, numbers, lists and mappings are left out.
    """
    needed = [name for name in schema.read_fields if name not in (schema.label_names if _named(schema) else ())]
    absent = [name for name in (schema.label_field, *needed) if name not in table.columns]
    for name in absent:
        what = "label column" if name == schema.label_field else "column"
        problems.add(no_column(table, name, what, advice=problems.advice))
    if absent:
        return []
    rows = []
    for identity, original, place in zip(_ids(table.records), table.records, table.places, strict=True):
        record: Record = original
        if schema.answers is not None:
            record = choices.unfolded(original, schema.answers, len(schema.label_names))
        problem = _wrong_inputs(record, schema)
        if problem:
            problems.add(f"{place}: {problem}", str(table.file), "input")
        label = _label(record, schema, problems.advice)
        if isinstance(label, str):
            problems.add(f"{place}: {label}", str(table.file), "label")
            continue
        rows.append(Row(identity, _fields(record, schema), label))
    return rows


def empty_notes(splits: Mapping[str, Sequence[Row]], schema: Schema) -> list[str]:
    """A note for each input that is empty in some rows, except answers, of which a row may have fewer."""
    notes = []
    for name in schema.input_fields if len(schema.input_fields) > 1 else ():
        empty = {
            split: sum(not str(row.fields.get(name) or "").strip() for row in rows) for split, rows in splits.items()
        }
        if name not in schema.choices and any(empty.values()):
            listed = ", ".join(f"{count} of {len(splits[split])} {split}" for split, count in empty.items() if count)
            notes.append(f"{name!r} is empty in {listed} rows")
    return notes


def _wrong_inputs(record: Record, schema: Schema) -> str | None:
    """The message for a row without text or with an input that is no text; None for a valid row."""
    filled = 0
    for name in schema.input_fields:
        value = record.get(name)
        if missing(value) or not str(value).strip():
            continue
        if not isinstance(value, (str, int, float)):
            return f"{name!r} is a {type(value).__name__}; an input must be text."
        filled += name not in schema.choices
    questions = [name for name in schema.input_fields if name not in schema.choices]
    if questions and not filled:
        listed = " and ".join(map(repr, questions))
        return f"{listed} {'is' if len(questions) == 1 else 'are'} empty; fill in one of them or remove the row."
    return None


def _fields(record: Record, schema: Schema) -> dict[str, Value]:
    """The fields for templates. An empty choice is None."""
    fields: dict[str, Value] = {}
    for name, value in record.items():
        if name == schema.label_field == "label":
            continue  # templates get the label's number under this name
        plain, kept = plain_value(value)
        if kept:
            fields[name] = None if name in schema.choices and isinstance(plain, str) and not plain.strip() else plain
    if any(name in fields for name in schema.choices):  # else label_names names no column, which the template reports
        fields = {**dict.fromkeys(schema.choices), **fields}
    return fields


def plain_value(value: object, level: int = 0) -> tuple[Value, bool]:
    """(value as in JSON, whether it can be kept)."""
    if isinstance(value, float) and math.isnan(value):
        return None, True
    if isinstance(value, Decimal):
        return float(value), True
    if value is None or isinstance(value, (str, int, float)):
        return value, True
    if level == _DEEPEST or not isinstance(value, (list, tuple, Mapping)):
        return None, False
    within = value.values() if isinstance(value, Mapping) else value
    converted = [plain_value(item, level + 1) for item in within]
    plain = [item for item, _ in converted]
    kept = all(kept for _, kept in converted)
    return (dict(zip(map(str, value), plain, strict=True)) if isinstance(value, Mapping) else plain), kept


def _label(record: Record, schema: Schema, advice: Advice) -> int | float | str:
    """The label of the row, or a message for an invalid value."""
    value = record.get(schema.label_field)
    if missing(value):
        return f"{schema.label_field!r} is empty; every row needs a label."
    if schema.kind == "regression":
        return value_of(value)
    if schema.answers is not None:
        answers = choices.answers_in(record.get(schema.answers))
        if answers is None:
            return f"{schema.answers!r} is not a list of answers."
        place = choices.place_of(value, answers)
        return f"{choices.misfit(value, answers)}." if place is None else place
    return class_of(value, schema.label_names, schema.declared, advice)


def _named(schema: Schema) -> bool:
    """Whether the labels of multiple choice name columns, some of which a split may lack."""
    return schema.kind == "multiple choice" and schema.answers is None


def _ids(records: list[Record]) -> list[str]:
    ids = [record.get("idx") for record in records]
    plain = all(isinstance(value, (str, int)) and value != "" for value in ids)
    if plain and max(Counter(map(str, ids)).values()) == 1:
        return [str(value) for value in ids]
    return [str(number) for number in range(len(records))]
