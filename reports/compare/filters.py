"""`where`: keep the records whose fields have given values."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.records import Record, leaves
from tunefront.reports.compare.frame import LONG, MAPPINGS
from tunefront.reports.units import number

Where = Mapping[str, object] | Iterable[str] | None
"""`{"dtype": "float32"}`, or pairs as typed: `["dtype=float32", "task=a", "task=b"]`: any value, all fields.
`field!=value` (in a mapping the field's name followed by `!`) leaves records out."""


_LEAVES = [name for name in leaves() if name not in (*MAPPINGS, *LONG)]
_ENDS = Counter(name.rpartition(".")[2] for name in leaves())
_SHORT = {end: name for name in _LEAVES if _ENDS[end := name.rpartition(".")[2]] == 1}
"""A field by the last part of its name, where no other ends so."""


def fields_of(record: Record) -> dict[str, object]:
    """What a record can be filtered by: its own fields (`data.n_train`, or `n_train` where no other ends so), those of
    the recipe and settings, package versions, and `method_fingerprint`, `backbone_fingerprint`, `task_fingerprint`."""
    found: dict[str, object] = {f"{name}_fingerprint": value for name, value in record.fingerprints.items()}
    for nested in (record.versions, record.settings, record.recipe):
        found.update(nested)
    found.update({end: attrgetter(name)(record) for end, name in _SHORT.items()})
    found.update({name: attrgetter(name)(record) for name in _LEAVES})
    return found


def select(records: Sequence[Record], where: Where) -> list[Record]:
    """The records that have the values; UserError for an unknown field, or where nothing is left."""
    wanted = parse(where)
    if not wanted:
        return list(records)
    table = [(record, fields_of(record)) for record in records]
    known = {name for _, found in table for name in found}
    for name in wanted:
        if name.removesuffix("!") not in known:
            raise UserError(unknown("field", name.removesuffix("!"), known))
    kept = [
        record for record, found in table if all(_has(record, name, found, values) for name, values in wanted.items())
    ]
    if not kept:
        asked = " and ".join(f"{name}={' or '.join(map(number, values))}" for name, values in wanted.items())
        there = "; ".join(
            f"{name} is {', '.join(sorted({number(found.get(name)) for _, found in table})[:8])}"
            for name in dict.fromkeys(name.removesuffix("!") for name in wanted)
        )
        raise UserError(f"no record has {asked}: in these {len(records)} records {there}.")
    return kept


def parse(where: Where) -> dict[str, list[object]]:
    """`where` as field -> values; UserError for a pair without `=`."""
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


def _has(record: Record, name: str, found: dict[str, object], values: list[object]) -> bool:
    """Whether a record has one of the values (none, after `!`). A skipped or failed one without the field stays."""
    field = name.removesuffix("!")
    if field not in found and record.status != "ok":
        return True
    return any(_same(field, found.get(field), value) for value in values) != name.endswith("!")


def _same(name: str, found: object, asked: object) -> bool:
    if found == asked or number(found) == number(asked).lower():
        return True
    if name.endswith("_fingerprint") or name == "key":
        return isinstance(found, str) and isinstance(asked, str) and len(asked) >= 6 and found.startswith(asked)
    if found is None or isinstance(found, bool):
        return found is None and str(asked).lower() in ("none", "null", "")
    if isinstance(found, int | float) and isinstance(asked, str):
        with contextlib.suppress(ValueError):
            return float(asked) == float(found)
    return False
