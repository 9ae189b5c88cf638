"""Odd texts: nearly empty ones, copies, copies with other labels, and rows in two splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunefront.bench.check.findings import Finding, Level
from tunefront.bench.data.hashing import normalised
from tunefront.bench.data.reading import listed

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

Hashes = np.ndarray[Any, np.dtype[np.int64]]
_LETTERS = 3
"""Letters and digits below which a text is nearly empty; a Chinese or Japanese one counts as three."""
_ENOUGH = re.compile(r"[^\W_](?:.*?[^\W_]){2}|[\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]", re.DOTALL)
_MANY = 0.01
"""Share of a split from which such rows are a warning; rows in two splits always are."""
_OVERLAP = "Remove them from train: they are scored although they were learnt."
_CHOSEN = "Remove them from validation: they are scored although settings are chosen on them."
_EMPTY = "Remove them, or read more columns with --text."
_CONFLICT = "Correct their labels, or remove them."
_COPIES = "Remove them if they are no real cases."
_NO_PLACES: Sequence[int] = ()


def text_findings(task: Task) -> tuple[dict[str, Any], list[Finding]]:
    """(facts, findings) about all rows of a task. Facts: `near_empty`, `copies` and `conflicting` rows of each split,
    `overlap` of each other split with train, and of the test rows with validation (`overlap_with_validation`)."""
    empty, copies, conflicting, overlap = (dict.fromkeys(task.splits, _NO_PLACES) for _ in range(4))
    known: dict[str, Hashes] = {}
    for split, rows in task.splits.items():
        empty[split] = [place for place, row in enumerate(rows) if not _ENOUGH.search("\n".join(task.texts(row)))]
        hashes = _hashes(task, rows)
        copies[split], conflicting[split] = _copies(hashes, rows)
        known[split] = hashes
    for split, hashes in known.items():
        if split != "train":
            overlap[split] = np.flatnonzero(np.isin(hashes, known["train"])).tolist()
    chosen: dict[str, Sequence[int]] = {}
    if {"validation", "test"} <= known.keys():
        chosen["test"] = np.flatnonzero(np.isin(known["test"], known["validation"])).tolist()
    facts = {
        "near_empty": empty,
        "copies": copies,
        "conflicting": conflicting,
        "overlap": overlap,
        "overlap_with_validation": chosen,
    }
    findings = [
        *_found(task, "overlap", overlap, "also occur in train", _OVERLAP),
        *_found(task, "overlap", chosen, "also occur in validation", _CHOSEN),
        *_found(task, "near empty", empty, "have next to no letters", _EMPTY),
        *_found(task, "conflict", conflicting, "have the text of another row and another label", _CONFLICT),
        *_found(task, "copies", copies, "repeat the text of an earlier row", _COPIES),
    ]
    return {name: {split: len(places) for split, places in found.items()} for name, found in facts.items()}, findings


def _hashes(task: Task, rows: Sequence[Row]) -> Hashes:
    """A hash of each row's inputs up to case and spaces: eight bytes a row, since a million texts may be compared."""
    return np.fromiter((hash(tuple(map(normalised, task.texts(row)))) for row in rows), np.int64, len(rows))


def _copies(hashes: Hashes, rows: Sequence[Row]) -> tuple[list[int], list[int]]:
    """(places of rows whose inputs an earlier row has, places of rows whose inputs another row has with another
    label)."""
    _, first, group, times = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(times[group] > 1)
    labels: dict[int, set[float]] = {}
    for place in repeated.tolist():
        labels.setdefault(int(group[place]), set()).add(rows[place].label)
    places = repeated.tolist()
    return (
        [place for place in places if place != first[group[place]]],
        [place for place in places if len(labels[int(group[place])]) > 1],
    )


def _found(task: Task, kind: str, places: Mapping[str, Sequence[int]], does: str, remedy: str) -> list[Finding]:
    """One finding about the rows at these places of the splits, if there are any."""
    found = {split: each for split, each in places.items() if each}
    if not found:
        return []
    total = sum(map(len, found.values()))
    most = max(len(each) / len(task.splits[split]) for split, each in found.items())
    split, first = max(found.items(), key=lambda pair: len(pair[1]))
    row = task.splits[split][first[0]]
    counts = [f"{len(each):,} of {len(task.splits[name]):,} {name}" for name, each in found.items()]
    example = f"{split} row {row.id}" if len(task.splits) > 1 else f"row {row.id}"
    shown = f": {' '.join(' '.join(task.texts(row)).split())[:20]!r}" if kind == "near empty" else ""
    text = f"{listed(counts)} rows {does}, as {example}{shown}"
    level: Level = "warning" if kind == "overlap" or most >= _MANY else "note"
    return [Finding(kind, level, text, remedy, total, row.id)]
