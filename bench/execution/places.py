"""Finds files named in records, from the working directory or from the folders above the results."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tunefront.bench.data.sources import load_task, preview_task
from tunefront.bench.data.sources.file_name import FRAME, FileName, is_file_name
from tunefront.bench.data.sources.frames import is_stored
from tunefront.bench.errors import UserError
from tunefront.bench.files import ROOT, expanded
from tunefront.bench.models.gguf.names import is_gguf
from tunefront.bench.records.ordinary import Unreadable, read_regular

UP = 3
"""Number of folders above the results to search for relative paths: most runs write `results` where they start."""
SOURCE_BYTES = 16 * 2**20
"""The largest source file of a method that is read."""
_SHIPPED = "tunefront.methods."


class Missing(Exception):
    """A file or name in a record cannot be found from here; the message names it."""


class Places:
    """Possible base folders of relative paths: the working directory, and the folders above a results folder."""

    def __init__(self, results: Path | None = None):
        parents = [] if results is None else list(Path(os.path.abspath(results)).parents)[:UP]
        self.starts = list(dict.fromkeys([Path(os.getcwd()), *parents]))

    def of(self, path: str) -> list[str]:
        """The existing paths that a path may refer to; the path as written comes first."""
        try:
            written = expanded(path)
        except UserError:  # an unknown home folder, or an invalid path
            return []
        if written.is_absolute():
            return [path] if _exists(written) else []
        first = [path] if _exists(written) else []
        return [*first, *(str(start / written) for start in self.starts[1:] if _exists(start / written))]

    def backbone(self, name: str, recorded: str | None) -> str:
        """The name under which a backbone is found from here, preferably one with the recorded fingerprint; Missing if
        there is none, or it would have to be downloaded or fetched."""
        from tunefront.bench.models.locate import check_downloaded, known_backbones

        paths = [] if name in known_backbones() else self.of(name)
        if places := [path for path in paths if Path(path).expanduser().is_dir() or is_gguf(path)]:
            return _best(places, recorded, _backbone_fingerprint)
        try:
            check_downloaded(name)
        except UserError as error:
            raise Missing(f"backbone {name}") from error
        if _is_path(name):
            raise Missing(f"backbone {name}")
        return name

    def task(self, name: str, recorded: str | None) -> str:
        """The name under which a task is found from here; otherwise as `backbone`."""
        if name.startswith("hub:") and not preview_task(name).splits:
            raise Missing(f"task {name}")
        if is_file_name(name):
            return self._own(name, recorded)
        if not name.startswith("dir:"):
            return name
        folders = [f"dir:{path}" for path in self.of(name.removeprefix("dir:"))]
        if not folders:
            raise Missing(f"task {name}")
        return _best(folders, recorded, lambda place: load_task(place).fingerprint)

    def _own(self, name: str, recorded: str | None) -> str:
        """The name under which a task of one's own file is found from here, with its test file."""
        own = FileName.parse(name)
        if own.source == FRAME:
            if not is_stored(own.path):
                raise Missing(f"task {name}")
            return name
        paths = self.of(own.path)
        tests = [None] if own.test is None or own.test.startswith(FRAME) else self.of(own.test)
        if not paths or not tests:
            raise Missing(f"task {name}")
        found = [
            str(replace(own, path=path, test=own.test if test is None else test))
            for path, test in itertools.product(paths, tests)
        ]
        return _best(found, recorded, lambda place: load_task(place).fingerprint)

    def file(self, path: str, recorded: str | None, names: Sequence[str] | None = None) -> str:
        """The path under which a file that a method reads is found from here, or a folder in which it reads files of
        these `names`; otherwise as `backbone`."""
        from tunefront.bench.models.checkpoints import digest, folder_digest

        paths = self.of(path)
        if not paths:
            raise Missing(f"file {path}" if names is None else f"folder {path}")
        return _best(paths, recorded, digest if names is None else lambda place: folder_digest(place, names))

    def is_unchanged(self, name: str, recorded: str) -> bool:
        """Whether a source file of a user's method, or a file that it reads, still has the recorded sha256. The file is
        read, never run; Missing if it does not exist."""
        modules = [getattr(sys.modules.get(name), "__file__", None)]  # among installed modules, only imported ones
        if name.startswith(_SHIPPED):
            modules = [str(ROOT.joinpath("methods", *name.removeprefix(_SHIPPED).split("."))) + ".py"]
        paths = [path for path in modules if path is not None and Path(path).is_file()] or self.of(name)
        if not paths:
            raise Missing(f"file {name}")
        return any(_sha256(Path(path).expanduser()) == recorded for path in paths)


def _backbone_fingerprint(name: str) -> str:
    from tunefront.bench.models.locate import fingerprint

    return fingerprint(name)


def _best(candidates: list[str], recorded: str | None, fingerprint: Callable[[str], str]) -> str:
    """The candidate with the recorded fingerprint, else the first one."""
    compared = candidates if len(candidates) > 1 else []
    return next((place for place in compared if _same(place, recorded, fingerprint)), candidates[0])


def _same(place: str, recorded: str | None, fingerprint: Callable[[str], str]) -> bool:
    try:
        return fingerprint(place) == recorded
    except UserError:
        return False


def _is_path(name: str) -> bool:
    """Whether a name can only be a path, not a Hub id."""
    return name.startswith((".", "~", "/", "\\")) or "\0" in name or name.count("/") > 1 or os.path.isabs(name)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # an invalid file name
        return False


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_regular(path, SOURCE_BYTES)).hexdigest()
    except (Unreadable, FileNotFoundError):
        return None
