"""Deletes cells from a results folder or URL: the record of each first, then what belongs to it."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tunefront.bench.errors import UserError
from tunefront.bench.files import LEFT_SECONDS, NotOrdinary, open_ordinary
from tunefront.bench.records.index import content_of, drop, is_record, read_contents
from tunefront.bench.records.io import CorruptRecord, OtherCell, OtherVersion, parse_record, read_record
from tunefront.bench.records.leases import claimed
from tunefront.bench.records.ordinary import MOST_BYTES, Unreadable, is_sha256, printable_path
from tunefront.bench.records.record import Record
from tunefront.bench.records.store import Store, checkpoint_of
from tunefront.bench.records.urls import UrlFolder

ENDINGS = {"records": ".json", "predictions": ".parquet", "checkpoints": ".safetensors", "plans": ".json"}
"""Subfolder of a results folder -> the ending of its files, whose names are keys; those of checkpoints are sha256."""
_NAMED = re.compile(rb'"checkpoint_sha256": ?"([0-9a-f]{64})"')
"""How a record names its checkpoint."""
TOGETHER = 64
"""Records at a URL that are deleted together; an interruption waits for them."""
S = TypeVar("S")
T = TypeVar("T")
Part = tuple[str, str]
"""A file: its subfolder, and its name without ending."""
Sizes = Mapping[Part, int]
"""Bytes of each file."""


@dataclass(frozen=True)
class Deletion:
    """A record to delete. `plan`: whether its plan goes too, since its cell will not run again under this key."""

    record: Record
    plan: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files of the record, in the order of deletion.

        The record goes first. It alone says that a cell is done, so a crash between two files leaves others that
        belong to no record: nothing reads them, a new run of the cell replaces them, and `leftovers` finds them. In the
        other order it would leave a record that counts and whose predictions are gone.
        The lock of a cell stays: it is empty, and removing it while another process opens it would let two processes
        hold one cell.
        """
        key, kept = self.record.key, checkpoint_of(self.record)
        checkpoint = [] if kept is None else [("checkpoints", kept)]
        return (("records", key), ("predictions", key), *checkpoint, *([("plans", key)] if self.plan else []))

    def size(self, sizes: Sizes) -> int:
        """Bytes of its files."""
        return sum(sizes.get(part, 0) for part in self.parts)


def file_sizes(store: Store) -> dict[tuple[str, str], int]:
    """The sizes of all files that a store knows by their names. Errors: UserError if a URL cannot be read; OSError."""
    sizes: dict[tuple[str, str], int] = {}
    for part, ending in ENDINGS.items():
        found = _local_sizes(store.folder / part) if store.folder is not None else _remote_sizes(store.remote, part)
        sizes |= {(part, name.removesuffix(ending)): size for name, size in found.items() if name.endswith(ending)}
    return sizes


def running(store: Store) -> list[str]:
    """Keys of the cells that another process holds; at a URL they are known of S3 alone."""
    if store.folder is None:
        return claimed(store.remote) if store.remote.has_claims else []
    if not (store.folder / "locks").is_dir():
        return []
    keys = [path.stem for path in sorted((store.folder / "locks").glob("*.lock"))]
    return [key for key in keys if not _is_free(store, key)]


def check_deletable(store: Store) -> None:
    """UserError if files of a local folder cannot be deleted, found without changing anything."""
    if store.folder is None:
        return
    for part in ENDINGS:
        folder = store.folder / part
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(
                f"nothing can be deleted from {printable_path(folder)}: you may not change this folder. Change its "
                "permissions, or let its owner call prune."
            )


def batches(store: Store, items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Items that are deleted by one call: at a URL many, whose requests are sent together."""
    length = TOGETHER if store.folder is None else 1
    for start in range(0, len(items), length):
        yield items[start : start + length]


def delete(store: Store, deletions: Sequence[Deletion]) -> int:
    """Deletes records and what belongs to them; how many. One that is no longer the given one stays, and so does one
    whose cell another process runs. Only regular files and links are deleted. Errors: UserError for a URL; OSError."""
    with _claims(store, [deletion.record.key for deletion in deletions]) as mine:
        held = [deletion for deletion in deletions if deletion.record.key in mine]
        known = _read(store, [deletion.record.key for deletion in held])
        same = [deletion for deletion in held if known.get(deletion.record.key) == deletion.record]
        _remove(store, [deletion.parts[0] for deletion in same])
        _remove(store, [part for deletion in same for part in deletion.parts[1:]])
    return len(same)


def drop_index(store: Store) -> None:
    """Deletes the index at a URL, which has the contents of deleted records too. Errors: UserError for a URL."""
    if store.folder is None:
        for kind in ("records", "plans"):
            drop(store.remote, kind)


def leftovers(store: Store, sizes: Sizes) -> list[Part]:
    """Predictions and checkpoints that belong to no record and are older than a day.

    A cell writes them before its record, so younger ones may belong to a cell that is just being written. A record
    counts in any state: one that was set aside, or that another version wrote. If one cannot be read, no checkpoint is
    taken to be left over. Errors: UserError if a URL cannot be read; OSError.
    """
    loose = [part for part in sizes if part[0] in ("predictions", "checkpoints") and is_sha256(part[1])]
    names = _recorded(store)
    loose = [(part, name) for part, name in loose if part != "predictions" or name not in names]
    if any(part == "checkpoints" for part, _ in loose):
        kept = _named_checkpoints(store)
        loose = [
            (part, name) for part, name in loose if part == "predictions" or (kept is not None and name not in kept)
        ]
    return _old(store, loose)


def delete_leftovers(store: Store, parts: Sequence[Part]) -> int:
    """Deletes files that `leftovers` has just found; how many. Predictions that have a record by now stay, and so do
    those whose cell runs. A running cell would have written its checkpoint in the last day. Errors: as `delete`."""
    checkpoints = [part for part in parts if part[0] == "checkpoints"]
    _remove(store, checkpoints)
    keys = [name for part, name in parts if part != "checkpoints"]
    with _claims(store, keys) as mine:
        recorded = _recorded(store) if mine else set()
        loose = [("predictions", key) for key in keys if key in mine and key not in recorded]
        _remove(store, loose)
    return len(checkpoints) + len(loose)


def _recorded(store: Store) -> set[str]:
    """The keys of record files in any state."""
    return {name.split(".")[0] for name in _record_files(store)}


def _record_files(store: Store) -> list[str]:
    if store.folder is None:
        return list(store.remote.listing("records"))
    with suppress(FileNotFoundError):
        return os.listdir(store.folder / "records")
    return []


def _named_checkpoints(store: Store) -> set[str] | None:
    """The checkpoints that record files name, in any state; None if such a file cannot be read."""
    named: set[str] = set()
    for content in _record_contents(store):
        if isinstance(content, FileNotFoundError | NotOrdinary | IsADirectoryError):
            continue
        if not isinstance(content, bytes):
            return None
        named |= {digest.decode() for digest in _NAMED.findall(content)}
    return named


def _record_contents(store: Store) -> Iterator[bytes | OSError | Unreadable]:
    """The contents of record files in any state, or why one has none: it may be too large for a record."""
    if store.folder is None:
        yield from (content for _, content in read_contents(store.remote, "records"))
        others = {name: file.size or 0 for name, file in store.remote.listing("records").items() if not is_record(name)}
        yield from (Unreadable(store.remote / f"records/{name}", LARGE) for name in others if others[name] > MOST_BYTES)
        small = [f"records/{name}" for name, size in others.items() if size <= MOST_BYTES]
        yield from (content for _, content in store.remote.read_many(small))
        return
    for name in _record_files(store):
        path = store.folder / "records" / name
        try:
            with open_ordinary(path) as file:
                is_large = os.fstat(file.fileno()).st_size > MOST_BYTES
                yield Unreadable(path, LARGE) if is_large else file.read()
        except OSError as error:
            yield error


LARGE = "it is too large for a record"


def missing(store: Store, keys: Iterable[str]) -> list[str]:
    """The keys without a record file."""
    present = {key for part, key in file_sizes(store) if part == "records"}
    return [key for key in keys if key not in present]


@contextmanager
def _claims(store: Store, keys: Sequence[str]) -> Iterator[set[str]]:
    """The keys of those of these cells that this process now holds; without a folder of locks, which every command that
    runs cells makes, there is nothing to claim, and a claim would make that folder."""
    if store.folder is not None and not (store.folder / "locks").is_dir():
        yield set(keys)
        return
    begun: list[AbstractContextManager[bool]] = []

    def begin(key: str) -> bool:
        claim = store.claim(key)
        mine = claim.__enter__()
        begun.append(claim)
        return mine

    try:
        yield {key for key, mine in zip(keys, _each(store, begin, keys), strict=True) if mine}
    finally:
        _each(store, lambda claim: claim.__exit__(None, None, None), begun)


def _each(store: Store, do: Callable[[T], S], items: Sequence[T]) -> list[S]:
    """What `do` gives for each item; at a URL, where a claim takes requests, for many at the same time."""
    if store.folder is None:
        return store.remote.at_once(do, items)
    return [do(item) for item in items]


def _is_free(store: Store, key: str) -> bool:
    with store.claim(key) as mine:
        return mine


def _old(store: Store, parts: Sequence[Part]) -> list[Part]:
    """The files that are older than a day."""
    if store.folder is None:
        ages = store.remote.ages([_path(part) for part in parts])
    else:
        ages = [_age(store.folder / _path(part)) for part in parts]
    return [part for part, age in zip(parts, ages, strict=True) if age is not None and age > LEFT_SECONDS]


def _age(path: Path) -> float | None:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return None


def _read(store: Store, keys: Sequence[str]) -> dict[str, Record]:
    """The records of keys as they are now, without those that are unusable. Changes nothing."""
    found: dict[str, Record] = {}
    names = [f"records/{key}.json" for key in keys]
    remote = dict(store.remote.read_many(names)) if store.folder is None else {}
    for key, name in zip(keys, names, strict=True):
        with suppress(CorruptRecord, OtherVersion, OtherCell, Unreadable, FileNotFoundError):
            if store.folder is not None:
                found[key] = read_record(store.folder / name)
            else:
                path = store.remote / name
                found[key] = parse_record(content_of(path, remote[name]), path)
    return found


def _path(part: Part) -> str:
    """The path of a file in a results folder."""
    subfolder, name = part
    return f"{subfolder}/{name}{ENDINGS[subfolder]}"


def _remove(store: Store, parts: Sequence[Part]) -> None:
    names = [_path(part) for part in parts]
    if store.folder is None:
        store.remote.remove_many(names)
        return
    for name in names:
        path = store.folder / name
        with suppress(FileNotFoundError):
            if _is_file(path.lstat().st_mode):
                path.unlink()


def _local_sizes(folder: Path) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            states = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {name: state.st_size for name, state in sorted(states.items()) if _is_file(state.st_mode)}


def _remote_sizes(folder: UrlFolder, part: str) -> dict[str, int]:
    return {name: file.size or 0 for name, file in folder.listing(part).items()}


def _is_file(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
