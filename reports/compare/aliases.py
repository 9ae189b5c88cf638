"""One name per task and backbone, also where a folder was moved or its path is spelled in several ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from tunefront.bench.records import Record


def unify_names(records: Sequence[Record]) -> list[Record]:
    """Gives records with the same task rows one task name, and records with the same backbone files one backbone name.

    The shortest name wins. Backbones with different pooling stay apart. A record without fingerprints is matched by
    its name.
    """
    tasks = _names(records, lambda record: record.task, lambda record: record.fingerprints.get("task"))
    backbones = _names(records, lambda record: record.backbone, _weights)
    renamed = []
    for record, task, backbone in zip(records, tasks, backbones, strict=True):
        same = (record.task, record.backbone) == (task, backbone)
        renamed.append(record if same else record.model_copy(update={"task": task, "backbone": backbone}))
    return renamed


def _weights(record: Record) -> Hashable:
    fingerprint = record.fingerprints.get("backbone")
    return None if fingerprint is None or record.model.pooling is None else (fingerprint, record.model.pooling)


def _names(
    records: Sequence[Record], name: Callable[[Record], str], identity: Callable[[Record], Hashable]
) -> list[str]:
    """Each record's name: the shortest of its identity's names. A record without an identity keeps its own name, unless
    that name belongs to exactly one identity."""
    spelled: dict[Hashable, set[str]] = {}
    for record in records:
        if identity(record) is not None:
            spelled.setdefault(identity(record), set()).add(name(record))
    chosen = {what: min(names, key=lambda text: (len(text), text)) for what, names in spelled.items()}
    meant: dict[str, set[str]] = {}
    for what, names in spelled.items():
        for text in names:
            meant.setdefault(text, set()).add(chosen[what])
    chosen_names = []
    for record in records:
        own = name(record)
        sole = meant.get(own, set())
        chosen_names.append(chosen.get(identity(record)) or (next(iter(sole)) if len(sole) == 1 else own))
    return chosen_names
