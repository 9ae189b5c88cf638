"""Files that appear whole or not at all, and where a location leads: to a local folder or behind an fsspec URL."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tunefront.bench.errors import Mistake

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds bench, methods and reports: the top of a checkout, or the installed package."""
LEFT_SECONDS = 24 * 3600
"""How old a temporary file must be to have been left by a process that is gone."""


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path`, whole and on the disk, when the block ends, or not at all; its folders are made.

    Several processes may write the same path at once: the last one to finish is read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Sees that a new file can be written at `path`, whose folders are made; Mistake where one is there already."""
    try:
        if path.exists():
            raise Mistake(f"{path} is there already; remove it, or give another path.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.touch(exist_ok=False)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise Mistake(f"{path} cannot be written ({error.strerror or error}); give another path.") from error


def sweep(folder: Path) -> None:
    """Removes what killed processes left of their writing: temporary files older than a day; others may write now."""
    for left in folder.glob(".*.tmp"):
        with suppress(OSError):  # another process was first, or it is not ours
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()


def local_folder(location: str | Path) -> Path | None:
    """The folder that a location names, None where it is a URL of anything but a local folder.

    >>> local_folder("file:///data/results").as_posix(), local_folder("s3://bucket/results")
    ('/data/results', None)
    """
    text = str(location)
    for scheme in ("file://", "local://"):
        text = text.removeprefix(scheme)
    return None if "://" in text else Path(text).expanduser()


@contextmanager
def reached(url: str, verb: str) -> Iterator[None]:
    """Turns what goes wrong in reaching a URL into a Mistake. `verb` is what was asked: read or written."""
    try:
        yield
    except Mistake:
        raise
    except Exception as error:  # unknown protocol, missing package, no permission: each file system has its own errors
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Mistake(
            f"{url} cannot be {verb} ({why}); give a local folder, or see that the URL is right, that the package for "
            "it is installed (s3fs for s3://, gcsfs for gs://) and that its credentials allow it."
        ) from error
