"""The cache folder: what is prepared once and read again; anything in it may be deleted at any time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import Mistake
from tunefront.bench.files import ROOT, expanded, sweep, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger("tunefront")

LAYOUT = 2
"""Of the entries in `tasks/`; a change of layout changes their names."""


def folder(room: str = "") -> Path:
    """$TUNEFRONT_CACHE, else data_cache/ of a checkout that can be written, else the user's cache; or a room of it."""
    chosen = os.environ.get("TUNEFRONT_CACHE")
    if chosen:
        try:
            return expanded(chosen) / room
        except Mistake as error:
            raise Mistake(f"TUNEFRONT_CACHE: {error}") from error
    checkout = ROOT / "data_cache"
    if (ROOT / "pyproject.toml").is_file() and checkout.is_dir() and os.access(checkout, os.W_OK):
        return checkout / room
    import platformdirs

    return Path(platformdirs.user_cache_dir("tunefront", appauthor=False)) / room


def task_path(name: str, made_from: Mapping[str, str]) -> Path:
    """Where a prepared task lies: its name, and a hash over all that its rows were made from (versions, code)."""
    digest = hashlib.sha256(json.dumps([LAYOUT, name, sorted(made_from.items())]).encode()).hexdigest()
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return folder("tasks") / f"{plain}-{digest[:16]}.jsonl"


def prepared(path: Path, make: Callable[[], Task]) -> Task:
    """The task kept at `path`, else what `make` gives, which is then kept there.

    An entry that cannot be read or does not match its fingerprint is named in a warning and made again. Where nothing
    can be written, the task is made each time, with a warning.
    """
    if (kept := peek(path)) is not None:
        return kept
    task = make()
    keep(path, task)
    return task


def peek(path: Path) -> Task | None:
    """The task kept at `path`; None, with a warning, where it is not whole any more."""
    try:
        if not path.exists():
            return None
    except OSError as error:
        log.warning("the cache %s cannot be entered (%s); what is in it is made again", path.parent, error.strerror)
        return None
    try:
        return read_task(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.warning("cache entry %s is corrupted (%s); it has to be made again", path, error)
        return None


def keep(path: Path, task: Task) -> None:
    """Write the task to `path`; a warning where that cannot be done."""
    try:
        write_task(path, task)
        sweep(path.parent)
    except OSError as error:
        log.warning("%s cannot be kept (%s); set TUNEFRONT_CACHE to a folder that can be written", path, error)


def write_task(path: Path, task: Task) -> None:
    """JSON Lines: first all but the rows, with the fingerprint; then a row a line, split by split."""
    head = {
        "name": task.name,
        "kind": task.kind,
        "splits": {split: len(rows) for split, rows in task.splits.items()},
        "input_fields": task.input_fields,
        "label_names": task.label_names,
        "metrics": [[metric.name, metric.labels] for metric in task.metrics],
        "origin": task.origin,
        "left_out": dict(task.left_out),
        "notes": task.notes,
        "warnings": task.warnings,
        "fingerprint": task.fingerprint,
    }
    with writing(path) as file:
        for line in (head, *([r.id, dict(r.fields), r.label] for rows in task.splits.values() for r in rows)):
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")


def read_task(path: Path) -> Task:
    """What `write_task` wrote; an ordinary exception where it is not whole any more."""
    with path.open(encoding="utf-8") as file:
        head = json.loads(next(file, ""))
        rows = [Row(*json.loads(line)) for line in file]
    splits, start = {}, 0
    for split, count in head["splits"].items():
        splits[split] = rows[start : start + count]
        start += count
    task = Task(
        name=head["name"],
        kind=head["kind"],
        splits=splits,
        input_fields=tuple(head["input_fields"]),
        label_names=tuple(head["label_names"]),
        metrics=tuple(MetricSpec(name, labels and tuple(labels)) for name, labels in head["metrics"]),
        origin=tuple(head["origin"]),
        left_out=dict(head["left_out"]),
        notes=tuple(head["notes"]),
        warnings=tuple(head["warnings"]),
    )
    if task.fingerprint != head["fingerprint"] or start != len(rows):
        raise ValueError("its rows do not match its fingerprint")
    return task
