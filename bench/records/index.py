"""The contents of all records at a URL in one file, so that thousands need few requests.

The file may be deleted at any time, and is never trusted: a content counts only if its MD5 is what the listing of the
records says, so what is absent, outdated, incomplete or forged is as if it were not there. S3 and Google Cloud
Storage list an MD5; other file systems, such as memory://, have no index.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import zlib
from collections.abc import Collection, Iterator, Mapping

from tunefront.bench.errors import UserError
from tunefront.bench.records.ordinary import MOST_BYTES, Unreadable
from tunefront.bench.records.urls import Listed, UrlFolder

FEW = 20
"""So many files or fewer are read by their names, without a listing."""
WORTH = 100
"""An index is written once so many records, and one in `SHARE`, are not in it."""
SHARE = 20
SPARE_BYTES = 2**20
"""What an index may have besides contents."""

MOST_TIMES = 4
"""So many contents per listed file are looked at: millions of empty ones would take hours."""

log = logging.getLogger("tunefront")


def read_contents(
    folder: UrlFolder, kind: str, wanted: Collection[str] | None = None
) -> Iterator[tuple[str, bytes | OSError | Unreadable]]:
    """The names of all JSON files of a subfolder (or of those `wanted` that are there), each with its content or with
    the reason why it has none; in no order. Renews the index if many files are not in it."""
    if wanted is not None and len(wanted) <= FEW:
        yield from _named(folder, kind, wanted)
        return
    listed = {name: file for name, file in folder.listing(kind).items() if is_record(name)}
    index = _Index(folder, kind, listed)
    left = set(listed) if wanted is None else listed.keys() & set(wanted)
    for name in sorted(left):
        size = listed[name].size
        if size is not None and size > MOST_BYTES:
            left.remove(name)
            yield name, Unreadable(folder / f"{kind}/{name}", f"it has {size:,} bytes, the limit is {MOST_BYTES:,}")
    for name, content in index.contents() if len(left) > FEW else ():
        if name in left:
            left.remove(name)
            yield name, content
    for name, added in _named(folder, kind, sorted(left)):
        if isinstance(added, bytes):
            index.add(added)
        yield name, added
    index.write()


def _named(folder: UrlFolder, kind: str, names: Collection[str]) -> Iterator[tuple[str, bytes | OSError]]:
    """Each of these files with its content."""
    for path, content in folder.read_many([f"{kind}/{name}" for name in names]):
        yield path.removeprefix(f"{kind}/"), content


def content_of(path: str, content: bytes | OSError | Unreadable) -> bytes:
    """The content of a file at `path`, as `read_contents` gives it. Errors: FileNotFoundError; Unreadable."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, FileNotFoundError | Unreadable):
        raise content
    raise Unreadable(path, content.strerror or str(content)) from content


def drop(folder: UrlFolder, kind: str) -> None:
    """Deletes the index of a subfolder, if there is one."""
    folder.remove(_path(kind))


class _Index:
    """The index of all files that are `listed`: what it has of them, and what is added since."""

    def __init__(self, folder: UrlFolder, kind: str, listed: Mapping[str, Listed]):
        self._folder, self._kind = folder, kind
        self._names: dict[str, list[str]] = {}
        for name, file in listed.items():
            if file.md5 is not None:
                self._names.setdefault(file.md5, []).append(name)
        self._most = sum(file.size or 0 for file in listed.values()) + SPARE_BYTES
        self._earlier = b""
        self._added, self._n_added = io.BytesIO(), 0
        self._gzip = gzip.GzipFile(fileobj=self._added, mode="wb", compresslevel=1, mtime=0)

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """The names that the index has a content of, with it."""
        packed = self._packed()
        used = unused = 0
        left = dict(self._names)
        try:
            for content in _unpacked(packed, 2 * self._most, MOST_TIMES * len(self._names)):
                names = left.pop(_md5(content), ())
                used, unused = (used + len(content), unused) if names else (used, unused + len(content))
                for name in names:
                    yield name, content
        except (OSError, EOFError, ValueError, zlib.error) as error:
            log.debug("the index %s is not used further: %s", self._folder / _path(self._kind), error)
            return
        if used >= unused:
            self._earlier = packed

    def add(self, content: bytes) -> None:
        """Takes note of a content that the index lacks."""
        if _md5(content) in self._names:  # else it changed after the listing
            self._n_added += 1
            self._gzip.write(b"%d\n" % len(content) + content)

    def write(self) -> None:
        """Writes the index if much was added; a URL that may only be read goes without."""
        if self._n_added < WORTH or self._n_added * SHARE < len(self._names):
            return
        self._gzip.close()
        try:
            self._folder.write({_path(self._kind): self._earlier + self._added.getvalue()})
        except UserError as error:
            log.debug("no index was written: %s", error)

    def _packed(self) -> bytes:
        """The index as it is; empty if it is not there, or larger than all that it could be of use for."""
        if len(self._names) < WORTH:
            return b""
        folder, _, name = _path(self._kind).rpartition("/")
        size = self._folder.listing(folder).get(name, Listed(None, None)).size
        if size is None or size > self._most:
            return b""
        try:
            return self._folder.read(_path(self._kind))
        except FileNotFoundError:
            return b""


def _unpacked(packed: bytes, most: int, times: int) -> Iterator[bytes]:
    """The contents in an index, each after a line with its length. ValueError for more than `most` bytes, for `times`
    contents or more, or if it is no index; OSError, EOFError or zlib.error for a part of one."""
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        for _ in range(times):
            line = file.readline(_LONGEST_NUMBER)
            if not line:
                return
            length = int(line)
            most -= length
            if length < 0 or most < 0:
                raise ValueError("it has too much content")
            content = file.read(length)
            if len(content) < length:
                raise EOFError("it ends in a content")
            yield content
    raise ValueError("it has too many contents")


_LONGEST_NUMBER = 20


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _path(kind: str) -> str:
    return f"index/{kind}.gz"


def is_record(name: str) -> bool:
    """Whether a file of this name is a record or a plan."""
    return name.endswith(".json") and not name.startswith(".")
