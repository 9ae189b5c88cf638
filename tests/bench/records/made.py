"""Records from a few fields given by dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefront.bench.records import GROUPS, Record


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by their dotted names (`flops.train`; as keywords `flops__train`) as `Record` takes them.

    >>> nested({"flops.train": 3, "flops__prefix": 4, "seed": 0})
    {'flops': {'train': 3, 'prefix': 4}, 'seed': 0}
    """
    groups: dict[str, Any] = {}
    for name, value in dotted(fields).items():
        group, dot, leaf = name.partition(".")
        if dot:
            groups.setdefault(group, {})[leaf] = value
        else:
            groups[name] = value
    return groups


def dotted(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by their dotted names.

    >>> dotted({"flops__prefix": 4})
    {'flops.prefix': 4}
    """
    return {name.replace("__", "."): value for name, value in fields.items()}


def changed(record: Record, fields: Mapping[str, Any]) -> Record:
    """A copy of a record with other values in some fields, named as in `nested`; nothing is validated."""
    update = nested(fields)
    for name in GROUPS.keys() & update.keys():
        update[name] = getattr(record, name).model_copy(update=update[name])
    return record.model_copy(update=update)
