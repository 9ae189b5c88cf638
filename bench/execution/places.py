"""Where the things that records name lie from here: seen from the working folder, or from where the results are."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.files import ROOT, expanded
from tunefront.bench.models.gguf.names import is_gguf
from tunefront.bench.records.ordinary import Unreadable, contents

UP = 3
"""Folders above the results that relative names are looked for in: most runs write `results` where they start."""
SOURCE_BYTES = 16 * 2**20
"""A larger file is no source of a method."""
_SHIPPED = "tunefront.methods."


class Missing(Exception):
    """Something that a record names is not found from here; the message says what."""


class Places:
    """Folders that relative names may start from: the working folder, and those above a results folder."""

    def __init__(self, results: Path | None = None):
        above = [] if results is None else list(Path(os.path.abspath(results)).parents)[:UP]
        self.starts = list(dict.fromkeys([Path(os.getcwd()), *above]))

    def of(self, path: str) -> list[str]:
        """The paths that a path may mean, the one as it is written first; those where nothing lies are left out."""
        try:
            written = expanded(path)
        except UserError:  # a home folder that is not there, or no path at all
            return []
        if written.is_absolute():
            return [path] if _there(written) else []
        first = [path] if _there(written) else []
        return [*first, *(str(start / written) for start in self.starts[1:] if _there(start / written))]

    def backbone(self, name: str, recorded: str | None) -> str:
        """The backbone under the name by which it is found from here, that of the recorded fingerprint if there is one;
        Missing where it would have to be downloaded or fetched, or is not there."""
        from tunefront.bench.models.locate import check_here, known_backbones

        places = [] if name in known_backbones() else self.of(name)
        if found := [path for path in places if Path(path).expanduser().is_dir() or is_gguf(path)]:
            return _best(found, recorded, _backbone_fingerprint)
        try:
            check_here(name)
        except UserError as error:
            raise Missing(f"backbone {name}") from error
        if _is_path(name):
            raise Missing(f"backbone {name}")
        return name

    def task(self, name: str, recorded: str | None) -> str:
        """The task under the name by which it is found from here; as `backbone`."""
        from tunefront.bench.data.sources import load_task, preview_task

        if name.startswith("hub:") and not preview_task(name).splits:
            raise Missing(f"task {name}")
        if not name.startswith("dir:"):
            return name
        found = [f"dir:{path}" for path in self.of(name.removeprefix("dir:"))]
        if not found:
            raise Missing(f"task {name}")
        return _best(found, recorded, lambda place: load_task(place).fingerprint)

    def file(self, path: str, recorded: str | None) -> str:
        """The path by which a file that a method reads is found from here; as `backbone`."""
        from tunefront.bench.models.checkpoints import digest

        found = self.of(path)
        if not found:
            raise Missing(f"file {path}")
        return _best(found, recorded, digest)

    def holds(self, name: str, recorded: str) -> bool:
        """Whether a file that a user's method is made of, or reads, still has the recorded sha256. It is read and never
        run; Missing where it is not there."""
        modules = [getattr(sys.modules.get(name), "__file__", None)]  # of what is installed, only what is imported
        if name.startswith(_SHIPPED):
            modules = [str(ROOT.joinpath("methods", *name.removeprefix(_SHIPPED).split("."))) + ".py"]
        found = [path for path in modules if path is not None and Path(path).is_file()] or self.of(name)
        if not found:
            raise Missing(f"file {name}")
        return any(_sha256(Path(path).expanduser()) == recorded for path in found)


def _backbone_fingerprint(name: str) -> str:
    from tunefront.bench.models.locate import fingerprint

    return fingerprint(name)


def _best(found: list[str], recorded: str | None, fingerprint: Callable[[str], str]) -> str:
    """Of several places the one with what is recorded, else the first."""
    tried = found if len(found) > 1 else []
    return next((place for place in tried if _same(place, recorded, fingerprint)), found[0])


def _same(place: str, recorded: str | None, fingerprint: Callable[[str], str]) -> bool:
    try:
        return fingerprint(place) == recorded
    except UserError:
        return False


def _is_path(name: str) -> bool:
    """Whether a name can only be a path, and no Hub id."""
    return name.startswith((".", "~", "/", "\\")) or "\0" in name or name.count("/") > 1 or os.path.isabs(name)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(contents(path, SOURCE_BYTES)).hexdigest()
    except (Unreadable, FileNotFoundError):
        return None
