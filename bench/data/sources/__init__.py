"""Loads tasks by name: docstrings/<task>, dir:<path> or hub:<dataset>[/<config>]."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.overlap import overlap_warnings
from tunefront.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task

__all__ = ["known_tasks", "load_task", "preview_task"]

_EMBEDDED = ("kind", "library", "match", "param_type")


def known_tasks() -> list[str]:
    """The embedded tasks, which need neither files nor a network."""
    return [f"docstrings/{name}" for name in _EMBEDDED]


def load_task(name: str) -> Task:
    """The task of this name; its `warnings` name rows that occur in both train and an evaluation split.

    Cached per process (and, for a relative `dir:`, per working folder): files changed later are not seen.
    Errors: UserError for an unknown name or invalid data.
    """
    return _loaded(name, _working_folder() if name.startswith("dir:") else "")


def preview_task(name: str) -> Task:
    """The task as far as it is known without preparing, downloading or saving anything: a folder's task is complete,
    any other has what decides about its cells (name, kind, templates) and may have no rows.

    Errors: UserError for an unknown name or an invalid folder.
    """
    if name in known_tasks():
        from tunefront.bench.data.task import Task

        return Task(name, "classification", {}, (), (), ())
    if name.startswith("hub:") and name != "hub:":
        from tunefront.bench.data.sources import hub

        return hub.preview(name.removeprefix("hub:"))
    return load_task(name)


@cache
def _loaded(name: str, _seen_from: str) -> Task:
    task = _load(name)
    return replace(task, warnings=(*task.warnings, *overlap_warnings(task)))


def _load(name: str) -> Task:
    source, colon, rest = name.partition(":")
    if colon and source == "dir" and rest:
        from tunefront.bench.data.sources import folder

        return folder.load(rest)
    if colon and source == "hub" and rest:
        from tunefront.bench.data.sources import hub

        return hub.load(rest)
    if name in known_tasks():
        from tunefront.bench.data.sources import docstrings

        return docstrings.load(name.removeprefix("docstrings/"))
    raise UserError(
        unknown("task", name, known_tasks(), _spelled(name) + "Or dir:<path>, or hub:<dataset>[/<config>].")
    )


def _spelled(name: str) -> str:
    """A hint for a name that is a path, or looks like one: its spelling with `dir:`."""
    try:
        path = Path(name).expanduser()
        folder = path if path.is_dir() else path.parent if path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return ""
    if folder is None:
        return f"There is no folder {name} either. " if name.startswith(("/", "./", "../", "~")) else ""
    if folder is path:
        return f"{name} is a folder: did you mean 'dir:{name.rstrip('/') or name}'? "
    return f"{name} is a file; a task is the folder of its train and test files: 'dir:{Path(name).parent}'. "


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed; absolute paths still work
        return ""
