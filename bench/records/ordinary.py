"""Reads files of a results folder that may come from anywhere: only regular files, so that reading never blocks."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from tunefront.bench.errors import UserError, printable, without_passwords
from tunefront.bench.files import open_ordinary

MOST_BYTES = 256 * 2**20
"""Records are smaller: the ids of a million training rows take 20 MB."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_sha256(text: str) -> bool:
    """Whether a text is a sha256, as the names of records and checkpoints are: those of others may be any.

    >>> is_sha256("../" + "0" * 61), is_sha256("0" * 64)
    (False, True)
    """
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


def printable_path(path: str | Path) -> str:
    """A path or URL for messages, escaped to a single line, and without a password."""
    return printable(without_passwords(str(path)), single_line=True)


class Unreadable(UserError):
    """A file that exists but cannot be read; `why` is the reason in a few words."""

    def __init__(self, path: str | Path, why: str):
        self.why = why
        super().__init__(
            f"{printable_path(path)} cannot be read ({why}); move it away or fix its permissions, and try again."
        )


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of a regular file.

    A pipe, a device, a folder or a file larger than `most` is not read. Errors: Unreadable; FileNotFoundError if it
    does not exist; UserError if this process cannot open more files.
    """
    try:
        with open_ordinary(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise Unreadable(path, f"it has {size:,} bytes, the limit is {most:,}")
            return file.read(most)
    except FileNotFoundError:
        if path.is_symlink():
            raise Unreadable(path, "it is a broken link") from None
        raise
    except OSError as error:
        raise _explained(path, error) from error


def list_files(folder: Path, ending: str) -> list[Path]:
    """The sorted entries of a folder with this ending, without hidden ones; none if the folder does not exist.

    Errors: UserError if it is not a folder or cannot be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except ValueError as error:  # a NUL in its name
        raise UserError(f"{folder!r} is not a valid folder name ({error}).") from error
    except OSError as error:
        raise _explained(folder, error) from error
    return [folder / name for name in sorted(names) if name.endswith(ending) and not name.startswith(".")]


def read_ends(path: Path, size: int) -> tuple[bytes, bytes]:
    """The first and the last `size` bytes of a regular file, reading no more; empty if it is shorter than both, cannot
    be read, or does not exist. UserError if this process cannot open more files."""
    try:
        with open_ordinary(path) as file:
            if os.fstat(file.fileno()).st_size < 2 * size:
                return b"", b""
            start = file.read(size)
            file.seek(-size, os.SEEK_END)
            return start, file.read(size)
    except OSError as error:
        if error.errno in _EXHAUSTED:
            raise _explained(path, error) from error
        return b"", b""


def not_a_folder(path: Path) -> UserError:
    """The error for a file at the place of a results folder or of a folder above it."""
    file = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), path)
    return UserError(
        f"{printable_path(file)} is a file where a folder should be; move it away, or give the folder that `tunefront "
        "run --out` wrote."
    )


def _explained(path: Path, error: OSError) -> UserError:
    why = error.strerror or str(error)
    if error.errno in _EXHAUSTED:
        return UserError(
            f"{path} cannot be read: {why}. Raise the limit (`ulimit -n`) or end other programs, and try again."
        )
    if isinstance(error, NotADirectoryError):
        return not_a_folder(path)
    return Unreadable(path, why)
