"""Loads tasks by name: an embedded one as docstrings/<task>, file:<path>, dir:<path> or hub:<dataset>[/<config>]."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.data.archives.catalog import ARCHIVES
from tunefront.bench.data.overlap import overlap_warnings
from tunefront.bench.data.sources.file_name import is_file_name, spelled
from tunefront.bench.errors import UserError, nearest, unknown
from tunefront.bench.files import ROOT

if TYPE_CHECKING:
    from tunefront.bench.data.task import Kind, Task

__all__ = [
    "TaskEntry",
    "describe_tasks",
    "known_tasks",
    "load_task",
    "names_a_task",
    "preview_task",
    "provide",
    "read_again",
]

_DOCSTRINGS = {
    "docstrings/kind": "Does a docstring's summary describe a class, a function or a module?",
    "docstrings/library": "Which library does a docstring's summary come from?",
    "docstrings/match": "Does a docstring's summary belong to a signature?",
    "docstrings/param_type": "Which type has a parameter with this description?",
}
PROMPTS = ROOT / "bench" / "data" / "prompts"
"""Prompt templates of embedded tasks, one file each."""


def known_tasks() -> list[str]:
    """The embedded tasks; those of an archive have to be fetched once (`tunefront fetch`)."""
    return [entry.name for entry in describe_tasks()]


def names_a_task(text: str, is_read: bool) -> bool:
    """Whether a text is the name of a task, and not the path of a file or folder.

    A folder, `dir:PATH`, is a task unless options say how to read its files (`is_read`).
    """
    full = spelled(text)
    if text in known_tasks() or text.startswith("hub:") or is_file_name(text) or (is_file_name(full) and "?" in full):
        return True
    return text.startswith("dir:") and full == text and not is_read


@dataclass(frozen=True)
class TaskEntry:
    """An embedded task: what it asks, where its rows come from and under which licence, and the name of the archive
    that has to be fetched for it, None where none has to."""

    name: str
    about: str
    source: str
    licence: str
    archive: str | None = None


def describe_tasks() -> list[TaskEntry]:
    """The embedded tasks."""
    own = [TaskEntry(name, about, "docstrings of installed packages", "theirs") for name, about in _DOCSTRINGS.items()]
    fetched = [
        TaskEntry(name, about, archive.owners, archive.licence, archive.name)
        for archive in ARCHIVES.values()
        for name, about in archive.tasks.items()
    ]
    return own + fetched


def load_task(name: str) -> Task:
    """The task of this name; its `warnings` name rows that occur in both train and an evaluation split.

    Cached per process (and, for a relative `file:` or `dir:`, per working folder): files changed later are not seen.
    Errors: UserError for an unknown name or invalid data.
    """
    if name in _provided:
        return _provided[name]
    return _loaded(name, "" if name.startswith("hub:") or name in known_tasks() else _working_folder())


_provided: dict[str, Task] = {}


def provide(task: Task) -> None:
    """Makes a task, as another machine loaded it, the one of its name in this process."""
    _provided[task.name] = task


def preview_task(name: str) -> Task:
    """The task as far as it is known without preparing, downloading or saving anything: a folder's task is complete,
    any other has what decides about its cells (name, kind, templates) and may have no rows.

    Errors: UserError for an unknown name or an invalid folder.
    """
    if name in known_tasks():
        from tunefront.bench.data.task import Task

        kind: Kind = "regression" if name.endswith("_rating") else "classification"
        return Task(name, kind, {}, (), (), (), templates=_prompts_of(name))
    if name.startswith("hub:") and name != "hub:":
        from tunefront.bench.data.sources import hub

        return hub.preview(name.removeprefix("hub:"))
    return load_task(name)


@cache
def _loaded(name: str, _seen_from: str) -> Task:
    return read_again(name)


def read_again(name: str) -> Task:
    """As `load_task`, but not cached: files that have changed are seen."""
    task = _load(name)
    return replace(task, warnings=(*task.warnings, *overlap_warnings(task)))


def _load(name: str) -> Task:
    source, colon, rest = name.partition(":")
    if name not in known_tasks() and is_file_name(full := spelled(name)):
        from tunefront.bench.data.sources import own_file

        return own_file.load(full, name)
    if colon and source == "dir" and rest:
        from tunefront.bench.data.sources import folder

        return folder.load(rest)
    if colon and source == "hub" and rest:
        from tunefront.bench.data.sources import hub

        return hub.load(rest)
    if name in known_tasks():
        return replace(_load_embedded(*name.split("/")), templates=_prompts_of(name))
    raise UserError(
        unknown(
            "task",
            name,
            known_tasks(),
            _spelled(name) + "Or the path of a file, dir:<path>, or hub:<dataset>[/<config>].",
        )
    )


def _load_embedded(group: str, name: str) -> Task:
    from tunefront.bench.data.sources import docstrings, news, sentiment

    return {"docstrings": docstrings, "news": news, "sentiment": sentiment}[group].load(name)


def _prompts_of(name: str) -> Path | None:
    """The file of an embedded task's prompt templates; None for a task without answers."""
    file = PROMPTS / f"{name.replace('/', '_')}.yaml"
    return file if file.is_file() else None


def _spelled(name: str) -> str:
    """A hint for a name that is a folder, or looks like a path."""
    from tunefront.bench.data.sources.reading import EXCEL, FORMATS, format_of

    try:
        path = Path(name).expanduser()
        if path.is_dir():
            return f"{name} is a folder: did you mean 'dir:{name.rstrip('/') or name}'? "
    except (OSError, ValueError, RuntimeError):
        return ""
    if not name.startswith(("/", "./", "../", "~")) and format_of(path) not in (*FORMATS, *EXCEL):
        return ""
    near = nearest(path.name, _files_of(path.parent))
    return f"There is no file or folder {name} either{f'; did you mean {path.with_name(near)}?' if near else '.'} "


def _files_of(folder: Path) -> list[str]:
    try:
        return [file.name for file in folder.iterdir()]
    except OSError:
        return []


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed; absolute paths still work
        return ""
