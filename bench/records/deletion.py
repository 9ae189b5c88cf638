"""Deletes cells from a results folder or URL: the record of each first, then what belongs to it."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.files import LEFT_SECONDS, open_ordinary
from tunefront.bench.records.index import drop
from tunefront.bench.records.io import CorruptRecord, OtherCell, OtherVersion, parse_record, read_record
from tunefront.bench.records.leases import claimed
from tunefront.bench.records.ordinary import Unreadable, printable_path
from tunefront.bench.records.record import Record
from tunefront.bench.records.store import Store, checkpoint_of
from tunefront.bench.records.urls import UrlFolder

ENDINGS = {"records": ".json", "predictions": ".parquet", "checkpoints": ".safetensors", "plans": ".json"}
"""Subfolder of a results folder -> the ending of its files, whose names are keys; those of checkpoints are sha256."""
_NAME = re.compile(r"[0-9a-f]{64}")
_NAMED = re.compile(rb'"checkpoint_sha256": ?"([0-9a-f]{64})"')
"""How a record names its checkpoint."""
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


def delete(store: Store, deletion: Deletion) -> bool:
    """Deletes a record and what belongs to it; False if the record is no longer the given one, or if another process
    runs its cell. Only regular files and links are deleted. Errors: UserError for a URL; OSError."""
    key = deletion.record.key
    with _claim(store, key) as mine:
        if not mine or _read(store, key) != deletion.record:
            return False
        for part in deletion.parts:
            _remove(store, part)
    return True


def drop_index(store: Store) -> None:
    """Deletes the index at a URL, which has the contents of deleted records too. Errors: UserError for a URL."""
    if store.folder is None:
        for kind in ("records", "plans"):
            drop(store.remote, kind)


def leftovers(store: Store, sizes: Sizes) -> list[Part]:
    """Predictions and checkpoints that belong to no record and are older than a day, in a local folder.

    A cell writes them before its record, so younger ones may belong to a cell that is just being written. A
    record counts in any state: one that was set aside, or that another version wrote.
    """
    if store.folder is None:
        return []
    names = _recorded(store.folder)
    kept = _named_checkpoints(store.folder) if any(part == "checkpoints" for part, _ in sizes) else set()
    belong = {"predictions": names, "checkpoints": kept}
    loose = [(part, name) for part, name in sizes if part in belong and name not in belong[part]]
    return [part for part in loose if _NAME.fullmatch(part[1]) and _is_old(store.folder / _path(part))]


def delete_leftover(store: Store, part: Part) -> bool:
    """Deletes a file that belongs to no record; False if it has one by now, or if its cell is running."""
    if store.folder is None:
        return False
    name = part[1]
    if part[0] == "checkpoints":  # its cell is not known: a running one would have written it in the last day
        if name in _named_checkpoints(store.folder):
            return False
        _remove(store, part)
        return True
    with _claim(store, name) as mine:
        if not mine or os.path.lexists(store.folder / "records" / f"{name}.json"):
            return False
        _remove(store, part)
    return True


def _recorded(folder: Path) -> set[str]:
    """The keys of record files in any state."""
    with suppress(FileNotFoundError):
        return {name.split(".")[0] for name in os.listdir(folder / "records")}
    return set()


def _named_checkpoints(folder: Path) -> set[str]:
    """The checkpoints that record files name, in any state."""
    named: set[str] = set()
    with suppress(FileNotFoundError):
        for path in (folder / "records").iterdir():
            with suppress(OSError), open_ordinary(path) as file:
                named |= {digest.decode() for digest in _NAMED.findall(file.read())}
    return named


def missing(store: Store, keys: Iterable[str]) -> list[str]:
    """The keys without a record file."""
    present = {key for part, key in file_sizes(store) if part == "records"}
    return [key for key in keys if key not in present]


def _claim(store: Store, key: str) -> AbstractContextManager[bool]:
    """A claim of the cell; without a folder of locks, which every command that runs cells makes, there is nothing to
    claim, and a claim would make that folder."""
    if store.folder is not None and not (store.folder / "locks").is_dir():
        return nullcontext(True)
    return store.claim(key)


def _is_free(store: Store, key: str) -> bool:
    with store.claim(key) as mine:
        return mine


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > LEFT_SECONDS
    except OSError:
        return False


def _read(store: Store, key: str) -> Record | None:
    """The record of a key as it is now; None if there is none, or an unusable one. Changes nothing."""
    try:
        if store.folder is not None:
            return read_record(store.folder / "records" / f"{key}.json")
        name = f"records/{key}.json"
        return parse_record(store.remote.read(name), store.remote / name)
    except (CorruptRecord, OtherVersion, OtherCell, Unreadable, FileNotFoundError):
        return None


def _path(part: Part) -> str:
    """The path of a file in a results folder."""
    subfolder, name = part
    return f"{subfolder}/{name}{ENDINGS[subfolder]}"


def _remove(store: Store, part: Part) -> None:
    name = _path(part)
    if store.folder is not None:
        path = store.folder / name
        with suppress(FileNotFoundError):
            if _is_file(path.lstat().st_mode):
                path.unlink()
        return
    store.remote.remove(name)


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
