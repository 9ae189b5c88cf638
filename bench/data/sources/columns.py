"""Which columns of a table a model reads, why the others are left out, and which give the label away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunefront.bench.data.sources.labels import missing, number

ROW_NUMBERS = frozenset({"idx", "id"})
_ID_NAME = re.compile(r"(?i:(.*[_\-. ])?(id|idx|uid|uuid|guid|key|hash|index))|.*[a-z](ID|Id)")
_CODE = re.compile(r"\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?|[0-9a-f]{24}|[0-9a-f]{40}", re.IGNORECASE)
"""A UUID, or as many digits as a usual hash has."""
_ROWS_A_VALUE = 3
"""Rows of train that each value of a column must have for it to tell: texts differ from row to row anyway."""


@dataclass(frozen=True)
class Columns:
    """The columns that are read, in order; why each of the others is not; and what is worth saying of those read."""

    inputs: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()


def text_columns(columns: Mapping[str, Sequence[object]], labels: Sequence[object]) -> Columns:
    """Of columns by name, each with a value a row, those of text; `labels` has the rows' labels.

    Left out are columns without a value, of lists and other nested values, of numbers (a column of texts may hold a few
    numbers, which are read as texts), of ids, and one that says the label in other words, if another is left.
    """
    left_out, inputs, notes = {}, [], []
    for name, values in columns.items():
        why = _why_not(name, [value for value in values if not missing(value)])
        if why:
            left_out[name] = why
        else:
            inputs.append(name)
    classes = len(set(map(str, labels)))
    for name, count in telling({name: columns[name] for name in inputs}, labels).items():
        if len(inputs) > 1 and count == classes:
            left_out[name] = "says the label in other words"
            inputs.remove(name)
    for name in inputs:
        filled = [value for value in columns[name] if not missing(value)]
        numbers = sum(not isinstance(value, str) for value in filled)
        if numbers:
            what = "is a number, read as text" if numbers == 1 else "are numbers, read as texts"
            notes.append(f"{numbers} of {len(filled)} values of {name!r} {what}")
    return Columns(tuple(inputs), left_out, tuple(notes))


def telling(columns: Mapping[str, Sequence[object]], labels: Sequence[object]) -> dict[str, int]:
    """Column -> how many values it has, of those whose value alone determines the label on all rows."""
    found = {name: _says(values, labels) for name, values in columns.items()}
    return {name: count for name, count in found.items() if count and count * _ROWS_A_VALUE <= len(labels)}


def _why_not(name: str, filled: Sequence[object]) -> str | None:
    """Why a column is no input, None where it is one."""
    if not filled:
        return "empty"
    nested = next((value for value in filled if not isinstance(value, (str, int, float))), None)
    if nested is not None:
        return "lists" if isinstance(nested, (list, tuple)) else f"values of type {type(nested).__name__}"
    if name in ROW_NUMBERS:
        return "numbers the rows"
    texts = [value for value in filled if isinstance(value, str) and number(value) is None]
    if not texts:
        return "numbers"
    if len(texts) * 2 < len(filled):
        return f"numbers, but for {len(texts)} of {len(filled)}"
    unbroken = not any(len(text.split()) > 1 for text in texts)
    if unbroken and (_ID_NAME.fullmatch(name) or all(_CODE.fullmatch(text.strip()) for text in texts)):
        return "ids"
    return None


def _says(values: Sequence[object], labels: Sequence[object]) -> int | None:
    """How many different values a column has, where each goes with one label only; None where one does not."""
    meant: dict[str, object] = {}
    for value, label in zip(values, labels, strict=True):
        if missing(value) or meant.setdefault(str(value), str(label)) != str(label):
            return None
    return len(meant) if len(meant) > 1 else None
