"""Makes records safe to print: their texts come from users and are shown in every format."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from tunefront.bench.records.frame import LONG
from tunefront.reports.names import LONGEST, make_visible
from tunefront.reports.units import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.bench.records import Record

M = TypeVar("M", bound=BaseModel)


def make_printable(records: Sequence[Record]) -> list[Record]:
    """The records with invisible characters escaped in every text, also in names of recipe fields, settings, scores and
    versions. Impossible numbers become missing. Row ids stay unchanged: no format shows them."""
    return [_printable(record) for record in records]


def _printable(part: M, place: str = "") -> M:
    """The same for a record or for a group of its fields. `place` is the group's name with a dot."""
    changed = {}
    fields = type(part).model_fields
    for name in fields:
        value = getattr(part, name)
        if place + name in LONG or _is_printable(value):
            continue
        shown = _printable(value, f"{name}.") if isinstance(value, BaseModel) else _shown(value)
        if shown is not value:
            changed[name] = value if shown is None and fields[name].default is not None else shown
    return part.model_copy(update=changed) if changed else part


def _is_printable(value: object) -> bool:
    """Whether a value is sure to stay as it is; most are, and need no copy."""
    if value is None:
        return True
    if isinstance(value, str):
        return len(value) <= LONGEST and value.isprintable()
    if isinstance(value, int | float):
        return finite(value)
    if isinstance(value, tuple):
        return all(map(_is_printable, value))
    return isinstance(value, dict) and all(map(_is_printable, (*value, *value.values())))


def _shown(value: object) -> object:
    if isinstance(value, str):
        return make_visible(value)
    if isinstance(value, int | float):
        return value if finite(value) else None
    if isinstance(value, dict):
        shown = {make_visible(str(name)): (_shown(inner), inner is None) for name, inner in value.items()}
        kept = {name: inner for name, (inner, was_none) in shown.items() if inner is not None or was_none}
        return value if kept == value else kept
    if isinstance(value, tuple):
        return value if (texts := tuple(map(_shown, value))) == value else texts
    return value
