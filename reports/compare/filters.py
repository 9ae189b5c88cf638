"""`where`: selects records by the values of their fields."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.records import Record, leaves
from tunefront.bench.records.frame import LONG, MAPPINGS
from tunefront.reports.units import number

Where = Mapping[str, object] | Iterable[str] | None
"""`{"dtype": "float32"}`, or strings: `["dtype=float32", "task=a", "task=b"]`. A record is kept if every field has one
of its values. `field!=value` (in a mapping: the field's name followed by `!`) excludes records."""


_LEAVES = [name for name in leaves() if name not in (*MAPPINGS, *LONG)]
_ENDS = Counter(name.rpartition(".")[2] for name in leaves())
_SHORT = {end: name for name in _LEAVES if _ENDS[end := name.rpartition(".")[2]] == 1}
"""Fields by the last part of their names, where that part is unique."""


def fields_of(record: Record) -> dict[str, object]:
    """The fields by which a record can be filtered: its own (`data.n_train`, or `n_train` if unique), those of its
    recipe and settings, package versions, and `method_fingerprint`, `backbone_fingerprint`, `task_fingerprint`."""
    fields: dict[str, object] = {f"{name}_fingerprint": value for name, value in record.fingerprints.items()}
    for nested in (record.versions, record.settings, record.recipe):
        fields.update(nested)
    fields.update({end: attrgetter(name)(record) for end, name in _SHORT.items()})
    fields.update({name: attrgetter(name)(record) for name in _LEAVES})
    return fields


def select(records: Sequence[Record], where: Where) -> list[Record]:
    """The records that match. UserError for an unknown field or if no record matches."""
    wanted = parse(where)
    if not wanted:
        return list(records)
    table = [(record, fields_of(record)) for record in records]
    known = {name for _, fields in table for name in fields}
    for name in wanted:
        if name.removesuffix("!") not in known:
            raise UserError(unknown("field", name.removesuffix("!"), known))
    kept = [
        record for record, fields in table if all(_has(record, name, fields, values) for name, values in wanted.items())
    ]
    if not kept:
        requested = " and ".join(f"{name}={' or '.join(map(number, values))}" for name, values in wanted.items())
        present = "; ".join(
            f"{name} is {', '.join(sorted({number(fields.get(name)) for _, fields in table})[:8])}"
            for name in dict.fromkeys(name.removesuffix("!") for name in wanted)
        )
        raise UserError(f"no record has {requested}; in these {len(records)} records, {present}.")
    return kept


def parse(where: Where) -> dict[str, list[object]]:
    """`where` as field -> values. UserError for a string without `=`."""
    if where is None:
        return {}
    if isinstance(where, Mapping):
        return {name: list(value) if isinstance(value, list | tuple) else [value] for name, value in where.items()}
    wanted: dict[str, list[object]] = {}
    for pair in [where] if isinstance(where, str) else where:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UserError(
                f"--where takes field=value or field!=value, got {pair!r}; for example --where dtype=float32."
            )
        wanted.setdefault(name.strip(), []).append(value.strip())
    return wanted


def _has(record: Record, name: str, fields: dict[str, object], values: list[object]) -> bool:
    """Whether a record has one of the values (after `!`: none of them). Skipped and failed records without the field
    match."""
    field = name.removesuffix("!")
    if field not in fields and record.status != "ok":
        return True
    return any(_same(field, fields.get(field), value) for value in values) != name.endswith("!")


def _same(name: str, value: object, requested: object) -> bool:
    if value == requested or number(value) == number(requested).lower():
        return True
    if name.endswith("_fingerprint") or name == "key":
        return (
            isinstance(value, str)
            and isinstance(requested, str)
            and len(requested) >= 6
            and value.startswith(requested)
        )
    if value is None or isinstance(value, bool):
        return value is None and str(requested).lower() in ("none", "null", "")
    if isinstance(value, int | float) and isinstance(requested, str):
        with contextlib.suppress(ValueError):
            return float(requested) == float(value)
    return False
