"""The cache folder of prepared tasks and features; anything in it may be deleted at any time."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.files import ROOT, expanded, sweep, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger("tunefront")

LAYOUT = 2
"""Version of the layout of entries in `tasks/`, part of their names."""


def folder(room: str = "") -> Path:
    """$TUNEFRONT_CACHE, else data_cache/ of a writable checkout, else the user's cache; or the subfolder `room`."""
    chosen = os.environ.get("TUNEFRONT_CACHE")
    if chosen:
        try:
            return expanded(chosen) / room
        except UserError as error:
            raise UserError(f"TUNEFRONT_CACHE: {error}") from error
    checkout = ROOT / "data_cache"
    if (ROOT / "pyproject.toml").is_file() and checkout.is_dir() and os.access(checkout, os.W_OK):
        return checkout / room
    import platformdirs

    return Path(platformdirs.user_cache_dir("tunefront", appauthor=False)) / room


def task_path(name: str, made_from: Mapping[str, str]) -> Path:
    """The path of a prepared task: its name, and a hash over everything that decides its rows (versions, code)."""
    digest = hashlib.sha256(json.dumps([LAYOUT, name, sorted(made_from.items())]).encode()).hexdigest()
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    return folder("tasks") / f"{plain}-{digest[:16]}.jsonl"


def load_or_make(path: Path, make: Callable[[], Task]) -> Task:
    """The task saved at `path`; otherwise calls `make` and saves the result there.

    An entry that is unreadable or does not match its fingerprint is made again, with a warning. If the cache cannot be
    written, the task is made each time, with a warning.
    """
    if (cached := load_cached(path)) is not None:
        return cached
    task = make()
    save_cached(path, task)
    return task


def load_cached(path: Path) -> Task | None:
    """The task saved at `path`, None if there is none; None with a warning if it is corrupted."""
    try:
        if not path.exists():
            return None
    except OSError as error:
        log.warning("the cache %s cannot be read (%s); its entries are made again", path.parent, error.strerror)
        return None
    try:
        return read_task(path)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.warning("cache entry %s is corrupted (%s); it is made again", path, error)
        return None


def save_cached(path: Path, task: Task) -> None:
    """Writes the task to `path`; a warning if that fails."""
    try:
        write_task(path, task)
        sweep(path.parent)
    except OSError as error:
        log.warning("%s cannot be written (%s); set TUNEFRONT_CACHE to a writable folder", path, error)


def write_task(path: Path, task: Task) -> None:
    """Writes JSON Lines: first everything but the rows, with the fingerprint; then one row per line, split by split."""
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
    """Reads what `write_task` wrote. Errors: an ordinary exception if it is corrupted."""
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
