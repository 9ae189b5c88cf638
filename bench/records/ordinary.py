"""Files of a results folder, whoever put them there: read only where they are ordinary, never waited on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tunefront.bench.errors import UserError, printable
from tunefront.bench.files import open_ordinary

MOST_BYTES = 256 * 2**20
"""A larger file is no record: the ids of a million training rows take 20 MB."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def shown(path: str | Path) -> str:
    """A path as it is told of: in one line, whatever its name."""
    return printable(str(path), single_line=True)


class Unreadable(UserError):
    """A file that is there and cannot be read; `why` says in a few words what is the matter."""

    def __init__(self, path: str | Path, why: str):
        self.why = why
        super().__init__(f"{shown(path)} cannot be read ({why}); move it away or mend its permissions, and try again.")


def contents(path: Path, most: int = MOST_BYTES) -> bytes:
    """The bytes of an ordinary file.

    A pipe, a device, a folder or a larger file is not opened. Errors: Unreadable; FileNotFoundError where nothing is
    there; UserError where this process can open no more files.
    """
    try:
        with open_ordinary(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise Unreadable(path, f"{size:,} bytes, more than the {most:,} that are read")
            return file.read(most)
    except FileNotFoundError:
        if path.is_symlink():
            raise Unreadable(path, "a link that leads nowhere") from None
        raise
    except OSError as error:
        raise _explained(path, error) from error


def listed(folder: Path, ending: str) -> list[Path]:
    """The entries of a folder whose names end so, sorted, hidden ones left out; none where there is no such folder.

    Errors: UserError where it is no folder, or may not be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except ValueError as error:  # a NUL in its name
        raise UserError(f"{folder!r} is no name of a folder ({error}).") from error
    except OSError as error:
        raise _explained(folder, error) from error
    return [folder / name for name in sorted(names) if name.endswith(ending) and not name.startswith(".")]


def ends(path: Path, size: int) -> tuple[bytes, bytes]:
    """The first and the last bytes of an ordinary file, so many each; nothing of one that is shorter than both, cannot
    be read, or is not there. No more of it is read. UserError where this process can open no more files."""
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
    """What to say where something that is no folder stands in the place of one, of a results folder or above it."""
    found = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), path)
    return UserError(
        f"{shown(found)} is a file where a folder should be; move it away, or give the folder that `tunefront run "
        "--out` wrote."
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
