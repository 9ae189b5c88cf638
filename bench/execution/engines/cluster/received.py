"""The files that a node has taken from the driver."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path, PurePosixPath

from tunefront.bench.data import cache


class Received:
    """On a node: the folder of what was taken from the driver, by fingerprint; it may be deleted at any time."""

    def __init__(self, folder: Path | None = None):
        self.folder = cache.folder("received") if folder is None else folder
        self._arriving: dict[str, Path] = {}

    def of(self, fingerprint: str) -> Path:
        """The folder of a belonging, whether it is there or not."""
        return self.folder / fingerprint

    def add(self, fingerprint: str, name: str, chunk: bytes) -> None:
        """Appends bytes to a file of a belonging that arrives."""
        temporary = self.folder / f".{fingerprint[:16]}.{uuid.uuid4().hex}.tmp"
        folder = self._arriving.setdefault(fingerprint, temporary)
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"{name} is not inside its folder")
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(chunk)

    def finish(self, fingerprint: str) -> None:
        """All of it has arrived: its folder appears whole, or is there already, from another process."""
        arrived = self._arriving.pop(fingerprint, None)
        if arrived is None:
            return
        with suppress(OSError):
            os.replace(arrived, self.of(fingerprint))
        shutil.rmtree(arrived, ignore_errors=True)
