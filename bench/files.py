"""Atomic file writes, and result locations: a local folder or an fsspec URL."""

from __future__ import annotations

import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import IO

from tunefront.bench.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
"""The folder of bench, methods and reports: the top of a checkout, or the installed package."""
LEFT_SECONDS = 24 * 3600
"""Age of a temporary file after which its process is taken to be gone."""


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Adds the file's name to write errors that lack it: a full disk, a limit, a broken disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for an atomic write: it appears at `path`, synced, when the block ends, or not at all. Creates
    missing folders.

    Several processes may write the same path at once: the last to finish wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _naming(path), temporary.open("xb") as file:  # closing flushes the rest
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # the earlier error is the one to report
            temporary.unlink(missing_ok=True)


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotOrdinary(OSError):
    """The path is no regular file; `strerror` says what it is, as `a pipe`."""


def special_kind(state: os.stat_result) -> str | None:
    """The kind of a file that is no regular one, else None."""
    return next((kind for test, kind in _KINDS if test(state.st_mode)), None)


def open_ordinary(path: Path) -> IO[bytes]:
    """Opens a regular file for reading; a pipe or a device, on which reading could block for ever, is refused.

    Errors: NotOrdinary; other OSErrors as in `open`.
    """
    # Checked before opening, which can block, and after, since the file may have been replaced in between.
    if (kind := special_kind(os.stat(path))) is not None:
        raise NotOrdinary(errno.EINVAL, kind, str(path))
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    if (kind := special_kind(os.fstat(descriptor))) is not None:
        file.close()
        raise NotOrdinary(errno.EINVAL, kind, str(path))
    return file


def check_local(path: Path) -> None:
    """UserError for the path of a URL: it would be written to a folder of that name."""
    scheme, colon, _ = str(path).partition(":/")  # Path reduces the two slashes of a URL to one
    if colon and scheme in known_protocols():
        raise UserError(f"{path} is a URL; give a local path and copy it there.")


def check_writable(path: Path) -> None:
    """Checks that a new file can be written at `path` and creates its folders; UserError if the path exists."""
    check_local(path)
    try:
        if path.exists():
            kind = " It is a folder: give a file in it." if path.is_dir() else ""
            raise UserError(f"{path} exists already; remove it, or give another path.{kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.touch(exist_ok=False)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}); give another path.") from error


def sweep(folder: Path, now: float | None = None) -> None:
    """Removes temporary files older than a day, left by killed processes; younger ones may be in use. `now` is in
    seconds by the clock of the file system, which may be another machine's; by default by this machine's."""
    for left in folder.glob(".*.tmp"):
        with suppress(OSError):  # another process was first, or it is not ours
            if (time.time() if now is None else now) - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()


def describe_shipped(package: str) -> dict[str, str]:
    """The first comment line of each TOML file that a package ships, by file name."""
    shipped = sorted(files(package).iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8").splitlines()[0].lstrip("# ")
        for file in shipped
        if file.name.endswith(".toml")
    }


def expanded(path: str | Path) -> Path:
    """The path with `~` and `~name` replaced; UserError for an unknown user or an invalid path."""
    text = str(path)
    if "\0" in text:
        raise UserError(f"the path {text!r} contains a NUL character, which is not allowed in a path.")
    try:
        os.fsencode(text)
        path = Path(text)
        if text.startswith("~"):
            return path.expanduser()
        return path.absolute() if str(path).startswith("~") else path  # a Path has lost the ./ of ./~name
    except UnicodeEncodeError as error:
        raise UserError(f"the path {text!r} contains a lone surrogate, which is not allowed in a path.") from error
    except RuntimeError as error:
        who = text.split("/")[0]
        raise UserError(
            f"{text}: there is no home folder {who} here; give the path without it, or ./{text} for that name here."
        ) from error


def local_folder(location: str | Path) -> Path | None:
    """The local folder of a location, None for the URL of another file system; UserError for a blank or invalid path,
    and for the Path of a URL.

    >>> local_folder("file:///data/results").as_posix(), local_folder("s3://bucket/results")
    ('/data/results', None)
    >>> local_folder("file://localhost/data/results").as_posix()
    '/data/results'
    """
    text = str(location) if isinstance(location, str | os.PathLike) else ""  # callers may pass None
    for scheme in ("file://", "local://"):
        if text.startswith(f"{scheme}localhost/"):
            text = text.removeprefix(f"{scheme}localhost")
        text = text.removeprefix(scheme)
    if not text.strip():
        raise UserError(f"{text!r} names no folder; give a path, such as results, or . for this folder.")
    if "://" in text:
        return None
    scheme, colon, _ = text.partition(":/")
    if colon and isinstance(location, Path) and scheme in known_protocols():
        raise UserError(f"{text} is a URL that became a path, which keeps one of its two slashes; give it as a text.")
    return expanded(text)


def without_slash(url: str) -> str:
    """A URL without the slashes at its end; those of its scheme stay.

    >>> without_slash("s3://bucket/results//"), without_slash("memory://")
    ('s3://bucket/results', 'memory://')
    """
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rstrip('/')}"


def is_memory(location: str | Path) -> bool:
    """Whether the location is in this process's memory: invisible to other processes, and lost when it ends.

    >>> is_memory("memory://x"), is_memory("simplecache::memory://x"), is_memory("memory")
    (True, True, False)
    """
    scheme, colon, _ = str(location).partition("://")
    return bool(colon) and scheme.split("::")[-1] == "memory"


def known_protocols() -> set[str]:
    """URL schemes that fsspec knows, installed or not."""
    from fsspec.registry import known_implementations, registry

    return {*known_implementations, *registry}


_HINTS = {
    errno.EACCES: "fix its permissions, or choose another path",
    errno.EPERM: "fix its permissions, or choose another path",
    errno.EROFS: "it is on a read-only file system: choose another path",
    errno.ENOENT: "choose a path that exists",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another path",
    errno.EISDIR: "it is a folder: give a file",
    errno.EEXIST: "something else is there: remove it, or choose another path",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "its links form a circle: remove one of them",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "the machine has too many open files: close other programs",
    errno.EFBIG: "raise the limit on file size (`ulimit -f`), or choose a path on another file system",
    errno.EAGAIN: "the machine allows no more processes or threads (`ulimit -u`): use fewer --workers",
    errno.ENOMEM: "the machine has no memory left: use fewer --workers, or a smaller batch",
    errno.EIO: "the disk or its network fails: look at the system's log, or choose another path",
    errno.ENOLCK: "its file system has no locks: choose a path on another one",
    errno.ESTALE: "its network folder is gone: mount it again, or choose another path",
    errno.ENOSPC: "free some space and repeat the command: finished records are kept",
    errno.EDQUOT: "free some of your quota and repeat the command: finished records are kept",
}


def explain_os_error(error: OSError) -> str:
    """One sentence: the unusable file, the system's reason, and what to do.

    >>> explain_os_error(OSError(errno.EROFS, "Read-only file system", "/cd/results"))
    '/cd/results cannot be used (Read-only file system): it is on a read-only file system: choose another path.'
    """
    if error.errno is None:  # raised by a library, as for a server that does not answer
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"a file or a server could not be reached ({type(error).__name__}: {text})."
    named = [str(name) for name in (error.filename, error.filename2) if name not in (None, "")]
    reason = error.strerror or errno.errorcode.get(error.errno, str(error.errno))
    hint = _HINTS.get(error.errno, "check that it exists and is accessible, or choose another path")
    return f"{' and '.join(named) or 'a file'} cannot be used ({reason}): {hint}."


@contextmanager
def url_errors(url: str, verb: str) -> Iterator[None]:
    """Converts any failure to reach a URL into a UserError. `verb`: read or written."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # unknown protocol, missing package, no permission: each file system has its own errors
        why, *more = str(error).strip().splitlines() or [type(error).__name__]
        if why.endswith(":") and more:  # as botocore says that a name is invalid
            why = f"{why} {more[0].strip()}"
        raise UserError(
            f"{url} cannot be {verb} ({why}); give a local folder, or check that the URL is right, that its package is "
            "installed (pip install 'tunefront[s3]' for s3://, gcsfs for gs://) and that your credentials allow it."
        ) from error
