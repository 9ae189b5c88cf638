"""Records whose texts are fit to print: what they hold was written by anyone, and every format shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.records import Record
from tunefront.reports.compare.frame import LONG
from tunefront.reports.names import visible
from tunefront.reports.units import finite

if TYPE_CHECKING:
    from collections.abc import Sequence


def printable(records: Sequence[Record]) -> list[Record]:
    """The records with every text, names of recipes, settings, scores and versions among them, made visible, and
    numbers that nothing can have measured missing. Ids of rows, which no format shows, are as they are."""
    return [_printable(record) for record in records]


def _printable(record: Record) -> Record:
    changed = {}
    for name, field in Record.model_fields.items():
        value = getattr(record, name)
        if name not in LONG and (shown := _shown(value)) is not value:
            changed[name] = value if shown is None and field.default is not None else shown
    return record.model_copy(update=changed) if changed else record


def _shown(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, int | float):
        return value if finite(value) else None
    if isinstance(value, dict):
        shown = {visible(str(name)): (_shown(inner), inner is None) for name, inner in value.items()}
        kept = {name: inner for name, (inner, was_none) in shown.items() if inner is not None or was_none}
        return value if kept == value else kept
    if isinstance(value, tuple):
        return value if (texts := tuple(map(_shown, value))) == value else texts
    return value
