"""One name per task and backbone, also where a folder was moved or its path is spelled in several ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.records import EARLIER

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from tunefront.bench.records import Record, Stream


def unify_names(records: Sequence[Record]) -> list[Record]:
    """Gives records with the same task rows one task name, and records with the same backbone files one backbone name.

    The shortest name wins. Backbones with different pooling stay apart. A record without fingerprints is matched by
    its name. The earlier tasks of a stream are named as the tasks are.
    """
    backbones = _names([(record.backbone, _weights(record)) for record in records])
    steps = [record for record in records if record.stream.earlier]
    earlier = [entry for record in steps for entry in _earlier(record)]
    names = _names([*((record.task, record.fingerprints.get("task")) for record in records), *earlier])
    tasks, of_earlier = names[: len(records)], iter(names[len(records) :])
    streams = {id(record): _renamed(record.stream, of_earlier) for record in steps}
    renamed = []
    for record, task, backbone in zip(records, tasks, backbones, strict=True):
        stream = streams.get(id(record), record.stream)
        same = (record.task, record.backbone, record.stream) == (task, backbone, stream)
        changes = {"task": task, "backbone": backbone, "stream": stream}
        renamed.append(record if same else record.model_copy(update=changes))
    return renamed


def _earlier(record: Record) -> list[tuple[str, Hashable]]:
    """The earlier tasks of a step, with their fingerprints."""
    return [
        (task, record.fingerprints.get(f"{EARLIER}{number}"))
        for number, task in enumerate(record.stream.earlier or (), 1)
    ]


def _renamed(stream: Stream, names: Iterator[str]) -> Stream:
    """The step with other names of its earlier tasks, in order."""
    old = stream.earlier or ()
    new = dict(zip(old, names, strict=False))
    groups = ("earlier_scores", "earlier_headlines", "earlier_n_test", "earlier_sha256")
    renamed = {
        group: None
        if (values := getattr(stream, group)) is None
        else {new[name]: value for name, value in values.items()}
        for group in groups
    }
    return stream.model_copy(update={"earlier": tuple(new[name] for name in old), **renamed})


def _weights(record: Record) -> Hashable:
    fingerprint = record.fingerprints.get("backbone")
    return None if fingerprint is None or record.model.pooling is None else (fingerprint, record.model.pooling)


def _names(items: Sequence[tuple[str, Hashable]]) -> list[str]:
    """The name of each item, given its own name and its identity: the shortest of its identity's names. An item without
    an identity keeps its own name, unless that name belongs to exactly one identity."""
    spelled: dict[Hashable, set[str]] = {}
    for name, identity in items:
        if identity is not None:
            spelled.setdefault(identity, set()).add(name)
    chosen = {what: min(names, key=lambda text: (len(text), text)) for what, names in spelled.items()}
    meant: dict[str, set[str]] = {}
    for what, names in spelled.items():
        for text in names:
            meant.setdefault(text, set()).add(chosen[what])
    chosen_names = []
    for own, identity in items:
        sole = meant.get(own, set())
        chosen_names.append(chosen.get(identity) or (next(iter(sole)) if len(sole) == 1 else own))
    return chosen_names
