"""Where tasks come from, by how they are spelled: docstrings/<task>, dir:<path> or hub:<dataset>[/<config>]."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from tunefront.bench.data.overlap import overlap_warnings
from tunefront.bench.errors import Mistake, unknown

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task

__all__ = ["known_tasks", "load_task", "outline_task"]

_EMBEDDED = ("kind", "library", "match", "param_type")


def known_tasks() -> list[str]:
    """The tasks that need neither files nor a network."""
    return [f"docstrings/{name}" for name in _EMBEDDED]


def load_task(name: str) -> Task:
    """The task of this name, its `warnings` naming rows that occur in both train and an evaluation split.

    Loaded once per process (and, for a relative `dir:`, per working folder): files changed later are not seen.
    Errors: Mistake for a name, a folder or data that are wrong.
    """
    return _loaded(name, os.getcwd() if name.startswith("dir:") else "")


def outline_task(name: str) -> Task:
    """The task as far as it is known where nothing is made, downloaded or kept: that of a folder is whole, any other
    has what decides about its cells (name, kind, templates) and perhaps no rows.

    Errors: Mistake for a name or a folder that is wrong.
    """
    if name in known_tasks():
        from tunefront.bench.data.task import Task

        return Task(name, "classification", {}, (), (), ())
    if name.startswith("hub:") and name != "hub:":
        from tunefront.bench.data.sources import hub

        return hub.outline(name.removeprefix("hub:"))
    return load_task(name)


@cache
def _loaded(name: str, _working_folder: str) -> Task:
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
    raise Mistake(unknown("task", name, known_tasks(), "Or dir:<path>, or hub:<dataset>[/<config>]."))
