"""The files that a cell reads: what they are, whether a node has the same, and how it takes them from the driver."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tunefront.bench.cells import Cell
from tunefront.bench.data import cache, sources
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.cluster.received import Received
from tunefront.bench.execution.identity import FILE
from tunefront.bench.execution.places import Missing, Places
from tunefront.bench.models import checkpoints, locate

Kind = Literal["backbone", "task", "method", "file"]
TASK, TEMPLATES = "task.jsonl", "templates.yaml"
"""The files of a received task that is no folder: its rows, and its prompt templates."""
CHUNK_BYTES = 16 * 2**20
"""The most bytes of a file that are sent at once."""


@dataclass(frozen=True)
class Belonging:
    """A backbone, a task, the user's file that defines a method, or a file or folder that a method reads.

    Args: name, as the cell has it; fingerprint, a sha256 of the content; field, that of the method, for a file; names,
    of the files that the method reads in a folder.
    """

    kind: Kind
    name: str
    fingerprint: str
    field: str | None = None
    names: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"the {self.kind} {self.name}" if self.kind != "method" else f"the method file {self.name}"


def belongings(work: Work) -> tuple[Belonging, ...]:
    """All that a cell reads from disk."""
    cell, prints = work.cell, work.identity.fingerprints
    found = [Belonging("backbone", cell.backbone, prints["backbone"])]
    found += [Belonging("task", alone.task, sources.load_task(alone.task).fingerprint) for alone in cell.tasks]
    if cell.method_file is not None:
        found.append(Belonging("method", cell.method_file, _sha256(Path(cell.method_file).expanduser())))
    for field, path in checkpoints.files_of(cell.method).items():
        names = cell.method.folders.get(field)
        found.append(Belonging("file", path, prints[f"{FILE}{field}"], field, None if names is None else tuple(names)))
    return tuple(dict.fromkeys(found))


def contents(belonging: Belonging) -> Iterator[tuple[str, bytes]]:
    """On the driver: the files of a belonging, as (name in its folder, the next bytes of the file)."""
    with TemporaryDirectory() as made:
        for name, path in _files(belonging, Path(made)):
            with path.open("rb") as file:
                yield name, file.read(CHUNK_BYTES)
                while chunk := file.read(CHUNK_BYTES):
                    yield name, chunk


def _files(belonging: Belonging, made: Path) -> Iterator[tuple[str, Path]]:
    """(name in its folder, file) of a belonging; `made` is an empty folder for files that are made."""
    name = belonging.name
    if belonging.kind == "backbone":
        folder = locate.locate(name)
        yield from ((path.relative_to(folder).as_posix(), path) for path in locate.deciding_files(folder))
    elif belonging.kind == "task":
        task = sources.load_task(name)
        if task.folder is not None:
            paths = sorted(path for path in task.folder.rglob("*") if path.is_file())
            yield from ((path.relative_to(task.folder).as_posix(), path) for path in paths)
            return
        cache.write_task(made / TASK, task)
        yield TASK, made / TASK
        if task.templates is not None:
            yield TEMPLATES, task.templates
    elif belonging.names is not None:
        yield from ((each, Path(name, each).expanduser()) for each in belonging.names)
    else:
        path = Path(name).expanduser()
        yield path.name, path


class Found:
    """On a node: where the belongings of cells are, each with the content that the driver has."""

    def __init__(self, received: Received):
        self._received = received
        self._names: dict[Belonging, str] = {}

    def missing(self, wanted: tuple[Belonging, ...]) -> tuple[Belonging, ...]:
        """Those that this node lacks, or has with another content."""
        return tuple(belonging for belonging in wanted if self._find(belonging) is None)

    def adopt(self, cell: Cell, wanted: tuple[Belonging, ...]) -> Cell:
        """The cell with the paths that files which its method reads have here."""
        paths = {each.field: self._names[each] for each in wanted if each.field is not None}
        return replace(cell, method=replace(cell.method, **paths)) if paths else cell

    def method_file(self, wanted: tuple[Belonging, ...]) -> str | None:
        """The path that the user's file has here; None without one."""
        return next((self._names[each] for each in wanted if each.kind == "method"), None)

    def _find(self, belonging: Belonging) -> str | None:
        if belonging not in self._names:
            name = _here(belonging) or self._from_driver(belonging)
            if name is None:
                return None
            self._names[belonging] = name
        return self._names[belonging]

    def _from_driver(self, belonging: Belonging) -> str | None:
        """The name of a belonging that was received; None if there is none, or it is damaged."""
        folder = self._received.of(belonging.fingerprint)
        if not folder.is_dir():
            return None
        try:
            name = _provided(belonging, folder)
        except (OSError, ValueError, LookupError, StopIteration):  # damaged: it is taken again
            name = None
        if name is None:
            shutil.rmtree(folder, ignore_errors=True)
        return name


def _here(belonging: Belonging) -> str | None:
    """The name under which this machine has a belonging with the same content; None if it has not."""
    name, places = belonging.name, Places()
    try:
        if belonging.kind == "backbone":
            locate.check_downloaded(name)
            same = locate.fingerprint(name) == belonging.fingerprint
        elif belonging.kind == "task":
            same = sources.load_task(places.task(name, belonging.fingerprint)).fingerprint == belonging.fingerprint
        else:
            same = _digest(belonging, name) == belonging.fingerprint
    except (OSError, UserError, Missing):
        return None
    return name if same else None


def _provided(belonging: Belonging, folder: Path) -> str | None:
    """Makes what was received the belonging of this process; returns its name, None if its content is another one."""
    name = belonging.name
    if belonging.kind == "backbone":
        locate.forget_files()  # an earlier folder of this path may have been damaged
        if locate.fingerprint(str(folder)) != belonging.fingerprint:
            return None
        locate.provide(name, folder)
        return name
    if belonging.kind == "task":
        task = _task_in(folder, name)
        if task.fingerprint != belonging.fingerprint:
            return None
        sources.provide(task)
        return name
    path = str(folder if belonging.names is not None else next(folder.iterdir()))
    return path if _digest(belonging, path) == belonging.fingerprint else None


def _task_in(folder: Path, name: str) -> Task:
    """The task in a received folder, under its own name."""
    if not (folder / TASK).is_file():
        return replace(sources.read_again(f"dir:{folder}"), name=name)
    templates = folder / TEMPLATES
    return replace(cache.read_task(folder / TASK), name=name, templates=templates if templates.is_file() else None)


def _digest(belonging: Belonging, path: str) -> str:
    if belonging.kind == "method":
        return _sha256(Path(path).expanduser())
    return checkpoints.digest(path) if belonging.names is None else checkpoints.folder_digest(path, belonging.names)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
