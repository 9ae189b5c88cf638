"""`where`: selects records by the values of their fields."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TypeVar

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.records import Record, Records, Stored, leaves
from tunefront.bench.records.frame import LONG, MAPPINGS
from tunefront.bench.records.merge import identity, merge
from tunefront.reports.names import make_visible
from tunefront.reports.units import number

R = TypeVar("R", bound=Sequence[Record])
Where = Mapping[str, object] | Iterable[str] | None
"""`{"dtype": "float32"}`, or strings: `["dtype=float32", "task=a", "task=b"]`. A record is kept if every field has one
of its values. `field!=value` (in a mapping: the field's name followed by `!`) excludes records. The field `results` is
the folder of a record."""
RESULTS = "results"


_LEAVES = [name for name in leaves() if name not in (*MAPPINGS, *LONG)]
_ENDS = Counter(name.rpartition(".")[2] for name in leaves())
_SHORT = {end: name for name in _LEAVES if _ENDS[end := name.rpartition(".")[2]] == 1}
"""Fields by the last part of their names, where that part is unique."""


_READERS = {name: attrgetter(field) for name, field in {**_SHORT, **{name: name for name in _LEAVES}}.items()}
"""What reads a field of its own from a record, by its name or the last part of its name."""
_FINGERPRINT = "_fingerprint"


def field_of(record: Record, name: str, default: object = None) -> object:
    """One of the fields of `fields_of`, without reading the others; `default` if the record has none of this name."""
    if name in _READERS:
        return _READERS[name](record)
    for nested in (record.recipe, record.settings, record.versions):
        if name in nested:
            return nested[name]
    whole = name.removesuffix(_FINGERPRINT)
    return default if whole == name else record.fingerprints.get(whole, default)


def fields_of(record: Record) -> dict[str, object]:
    """The fields by which a record can be filtered: its own (`data.n_train`, or `n_train` if unique), those of its
    recipe and settings, package versions, and `method_fingerprint`, `backbone_fingerprint`, `task_fingerprint`."""
    fields: dict[str, object] = {f"{name}{_FINGERPRINT}": value for name, value in record.fingerprints.items()}
    for nested in (record.versions, record.settings, record.recipe):
        fields.update(nested)
    fields.update({name: read(record) for name, read in _READERS.items()})
    return fields


def in_folders(records: R, where: Where) -> tuple[R | Records, Where]:
    """Applies the conditions on `results`, the folder of a record; returns the records and the other conditions.

    A folder is named as it was given, by its path in another spelling, or by the last parts of its path. A cell that is
    in several folders is found in each: of its records, the first in a wanted folder is used. UserError if the records
    come from no folder, or if none matches.
    """
    where = where if where is None or isinstance(where, str | Mapping) else list(where)
    wanted = parse(where)
    conditions = {name: wanted.pop(name) for name in (RESULTS, f"{RESULTS}!") if name in wanted}
    if not conditions:
        return records, where
    if not isinstance(records, Records) or not records.folders:
        raise UserError("--where results=FOLDER selects by folder, and it is not known from which these records are.")
    kept = [
        folder
        for folder in records.folders
        if all(
            any(_is_folder(folder, value) for value in values) != name.endswith("!")
            for name, values in conditions.items()
        )
    ]
    copies = [*(Stored(records.places[record.key], record) for record in records), *records.others]
    chosen = merge(copy for copy in copies if copy.folder in kept)
    if not chosen:
        requested = " and ".join(f"{name}={' or '.join(map(str, values))}" for name, values in conditions.items())
        raise UserError(f"no record has {requested}; these records are from {', '.join(map(repr, records.folders))}.")
    return chosen, wanted


def _is_folder(folder: str, requested: object) -> bool:
    text = str(requested)
    if not text.strip("/ "):
        return False
    if text == folder or make_visible(folder) == text or identity(text) == identity(folder):
        return True
    parts, end = folder.rstrip("/").split("/"), text.rstrip("/").split("/")
    return parts[-len(end) :] == end


def select(records: Sequence[Record], where: Where) -> list[Record]:
    """The records that match. UserError for an unknown field or if no record matches."""
    wanted = parse(where)
    if not wanted:
        return list(records)
    if {RESULTS, f"{RESULTS}!"} & set(wanted):
        raise UserError("results=FOLDER selects among the folders of one report; here, give only the folders you mean.")
    table = [(record, fields_of(record)) for record in records]
    known = {name for _, fields in table for name in fields}
    for name in wanted:
        if name.removesuffix("!") not in known:
            raise UserError(unknown("field", name.removesuffix("!"), known | {RESULTS}))
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
