"""Files that appear whole or not at all, and where a location leads: to a local folder or behind an fsspec URL."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import IO

from tunefront.bench.errors import Mistake

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds bench, methods and reports: the top of a checkout, or the installed package."""
LEFT_SECONDS = 24 * 3600
"""How old a temporary file must be to have been left by a process that is gone."""


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Names the file in what goes wrong with writing it: a full disk, a limit and a broken disk do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path`, whole and on the disk, when the block ends, or not at all; its folders are made.

    Several processes may write the same path at once: the last one to finish is read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _naming(path), temporary.open("xb") as file:  # closing writes what is left
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):  # what went wrong before is what is told
            temporary.unlink(missing_ok=True)


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotOrdinary(OSError):
    """What is there is no ordinary file; `strerror` says what it is, as `a pipe`."""


def odd(state: os.stat_result) -> str | None:
    """What a file is, where it is no ordinary one."""
    return next((kind for test, kind in _KINDS if test(state.st_mode)), None)


def open_ordinary(path: Path) -> IO[bytes]:
    """A file of whoever put it there, for reading: a pipe or a device could be waited on for ever.

    Errors: NotOrdinary; other OSErrors as of `open`.
    """
    # Asked before it is opened, since opening can be waited on; and after, since it may have been replaced in between.
    if (kind := odd(os.stat(path))) is not None:
        raise NotOrdinary(errno.EINVAL, kind, str(path))
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(descriptor, "rb")
    if (kind := odd(os.fstat(descriptor))) is not None:
        file.close()
        raise NotOrdinary(errno.EINVAL, kind, str(path))
    return file


def check_writable(path: Path) -> None:
    """Sees that a new file can be written at `path`, whose folders are made; Mistake where one is there already."""
    scheme, colon, _ = str(path).partition(":/")  # a path has one slash where its URL had two
    if colon and scheme in known_protocols():
        raise Mistake(f"{path} is a URL; give the path of a local file, and copy that there.")
    try:
        if path.exists():
            kind = " It is a folder: give the file to write in it." if path.is_dir() else ""
            raise Mistake(f"{path} is there already; remove it, or give another path.{kind}")
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


def described(package: str) -> dict[str, str]:
    """The TOML files that a package ships, by name: the first line of each one's comment."""
    shipped = sorted(files(package).iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8").splitlines()[0].lstrip("# ")
        for file in shipped
        if file.name.endswith(".toml")
    }


def expanded(path: str | Path) -> Path:
    """The path with `~` and `~name` replaced; Mistake where there is no such user, or where no path is written so."""
    text = str(path)
    if "\0" in text:
        raise Mistake(f"the path {text!r} has a NUL character in it, which no path has.")
    try:
        os.fsencode(text)
        return Path(text).expanduser()
    except UnicodeEncodeError as error:
        raise Mistake(f"the path {text!r} has a lone surrogate in it, which no path can be written with.") from error
    except RuntimeError as error:
        who = text.split("/")[0]
        raise Mistake(
            f"{text}: there is no home folder {who} here; give the path without it, or ./{text} where a folder is "
            "called so."
        ) from error


def local_folder(location: str | Path) -> Path | None:
    """The folder that a location names, None where it is a URL of anything but a local folder; Mistake where it is
    blank, or no path.

    >>> local_folder("file:///data/results").as_posix(), local_folder("s3://bucket/results")
    ('/data/results', None)
    >>> local_folder("file://localhost/data/results").as_posix()
    '/data/results'
    """
    text = str(location) if isinstance(location, str | os.PathLike) else ""  # None, of a caller that checks no types
    for scheme in ("file://", "local://"):
        if text.startswith(f"{scheme}localhost/"):
            text = text.removeprefix(f"{scheme}localhost")
        text = text.removeprefix(scheme)
    if not text.strip():
        raise Mistake(f"{text!r} names no folder; give a path, such as results, or . for this folder.")
    return None if "://" in text else expanded(text)


def is_memory(location: str | Path) -> bool:
    """Whether what is written there is in this process's memory: no other sees it, and it is lost when this one ends.

    >>> is_memory("memory://x"), is_memory("simplecache::memory://x"), is_memory("memory")
    (True, True, False)
    """
    scheme, colon, _ = str(location).partition("://")
    return bool(colon) and scheme.split("::")[-1] == "memory"


def known_protocols() -> set[str]:
    """The schemes of URLs that fsspec knows, installed or not."""
    from fsspec.registry import known_implementations, registry

    return {*known_implementations, *registry}


@contextmanager
def delivered(location: str | Path) -> Iterator[Path]:
    """A local folder whose files are at `location` when the block ends: the folder itself, or one that is sent to the
    fsspec URL; Mistake where that cannot be written, before and after."""
    folder = local_folder(location)
    if folder is not None:
        yield folder
        return
    url = str(location).rstrip("/")
    with reached(url, "written"):
        import fsspec

        files, inside = fsspec.core.url_to_fs(url)
        files.makedirs(inside, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tunefront-") as made:
        yield Path(made)
        with reached(url, "written"):
            for path in sorted(path for path in Path(made).rglob("*") if path.is_file()):
                files.makedirs(f"{inside}/{path.parent.relative_to(made).as_posix()}", exist_ok=True)
                files.pipe_file(f"{inside}/{path.relative_to(made).as_posix()}", path.read_bytes())


_HINTS = {
    errno.EACCES: "mend its permissions, or give another place",
    errno.EPERM: "mend its permissions, or give another place",
    errno.EROFS: "it is on a read-only file system: give another place",
    errno.ENOENT: "give a place that exists",
    errno.ENOTDIR: "a part of the path is a file, not a folder: give another place",
    errno.EISDIR: "it is a folder: give a file",
    errno.EEXIST: "something else is there: remove it, or give another place",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "its links go round in a circle: remove one of them",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "the machine has too many files open: close what else runs",
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`), or give a place on another file system",
    errno.EAGAIN: "the machine allows no more processes or threads (`ulimit -u`): take fewer --workers",
    errno.ENOMEM: "the machine has no memory left: take fewer --workers, or a smaller batch",
    errno.EIO: "the disk or its network fails: look at the system's log, or give a place elsewhere",
    errno.ENOLCK: "its file system gives no locks: give a place on another one",
    errno.ESTALE: "its network folder has gone: give another place, or mount it again",
    errno.ENOSPC: "free some room and give the same command again: what is recorded stays",
    errno.EDQUOT: "free some of your quota and give the same command again: what is recorded stays",
}


def why(error: OSError) -> str:
    """What could not be used, the system's reason, and what to do, as one sentence.

    >>> why(OSError(errno.EROFS, "Read-only file system", "/cd/results"))
    '/cd/results cannot be used (Read-only file system): it is on a read-only file system: give another place.'
    """
    if error.errno is None:  # of a library: a server that does not answer, say
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"a file or a server could not be reached ({type(error).__name__}: {text})."
    named = [str(name) for name in (error.filename, error.filename2) if name not in (None, "")]
    reason = error.strerror or errno.errorcode.get(error.errno, str(error.errno))
    hint = _HINTS.get(error.errno, "see that it is there and may be used, or give another place")
    return f"{' and '.join(named) or 'a file'} cannot be used ({reason}): {hint}."


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
