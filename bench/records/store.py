"""The store of records: a JSON file per cell, its predictions, and claims that end with their process."""

from __future__ import annotations

import errno
import functools
import hashlib
import io
import logging
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.files import local_folder, sweep, without_slash, writing
from tunefront.bench.records.index import content_of, read_contents
from tunefront.bench.records.io import CorruptRecord, load, log_left_out, parse_record, read_record, set_aside
from tunefront.bench.records.leases import leased
from tunefront.bench.records.ordinary import is_sha256, not_a_folder, read_ends
from tunefront.bench.records.record import Record
from tunefront.bench.records.urls import UrlFolder

if TYPE_CHECKING:
    import pandas as pd

FOLDERS = ("records", "predictions", "checkpoints", "locks")
"""The folders of a results folder."""
PARQUET = b"PAR1"
"""The first and last bytes of a complete Parquet file."""
LISTED_SECONDS = 10.0
"""Seconds for which a listing of checkpoints at a URL is taken to be true: thousands are asked about one by one."""

log = logging.getLogger("tunefront")


NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems without locks, such as some network file systems."""


@functools.cache
def _warn_of_no_locks(folder: Path) -> None:
    log.warning("%s has no file locks: if several commands write to it at the same time, a cell may run twice", folder)


class Store:
    """A results folder, or any fsspec URL (`s3://bucket/results`) that several machines can write to.

    Layout: `records/<key>.json` (written last), `predictions/<key>.parquet`, `checkpoints/<sha256>.safetensors` (what a
    record names as its `storage.checkpoint_sha256`), `plans/<key>.json`; `locks/` has the claims of running cells, of
    local folders and of S3. `index/` at a URL may be deleted at any time. `folder` is None for a URL, whose files are
    those of `remote`.
    """

    def __init__(self, location: str | Path):
        self.folder = local_folder(location)
        self.location = without_slash(str(location)) if self.folder is None else str(self.folder)
        self.remote = UrlFolder(self.location)
        self._is_prepared = False
        self._checkpoints: frozenset[str] = frozenset()
        self._listed_at = -LISTED_SECONDS

    def prepare(self) -> None:
        """Makes the folders and removes temporary files of killed processes; UserError if they cannot be written."""
        if self.folder is None:
            if not self._is_prepared:
                self.remote.prepare(FOLDERS)
                self._is_prepared = True
            return
        try:
            for name in FOLDERS:
                self.folder.joinpath(name).mkdir(parents=True, exist_ok=True)
                probe = self.folder / name / _probe()
                probe.touch()
                now = probe.stat().st_mtime
                probe.unlink()
                sweep(self.folder / name, now)
        except (FileExistsError, NotADirectoryError) as error:
            folders = [self.folder / name for name in FOLDERS]
            place = next((folder for folder in folders if folder.exists() and not folder.is_dir()), self.folder)
            raise UserError(f"the output folder {self.folder} cannot be written: {not_a_folder(place)}") from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFull(f"the disk of {self.folder} is full") from error
            raise UserError(
                f"the output folder {self.folder} cannot be written ({error.strerror}); "
                "choose another --out, or fix its permissions."
            ) from error

    def read(self, key: str) -> Record | None:
        """The record of a key, or None; a corrupted file is renamed and counts as None, so that its cell runs again.
        UserError if another version of tunefront wrote it, if it belongs to another cell, or if it cannot be read,
        since a new record would overwrite it."""
        if self.folder is None:
            return self._fetch([key]).get(key)
        path = self.folder / "records" / f"{key}.json"
        try:
            return read_record(path)
        except FileNotFoundError:
            return None
        except CorruptRecord as error:
            set_aside(path, error)
            return None

    def read_all(self, keys: Collection[str]) -> dict[str, Record]:
        """The records of those of these keys that have one, in their order; as `read`, with few requests at a URL."""
        if self.folder is None:
            return self._fetch(keys)
        return {key: record for key in keys if (record := self.read(key)) is not None}

    def records(self) -> list[Record]:
        """All records, by key."""
        return log_left_out(load(self.location))

    def write(self, record: Record, predictions: pd.DataFrame | None = None) -> None:
        """Writes the predictions, then the record; a file appears complete or not at all (at a URL that is no object
        store, an incomplete one counts as none). Errors: DiskFull; UserError for a URL."""
        if predictions is not None:
            self._put(f"predictions/{record.key}.parquet", predictions.to_parquet(index=False))
        self._put(f"records/{record.key}.json", record.model_dump_json(indent=1).encode())

    def predictions(self, key: str) -> pd.DataFrame:
        """Per-example predictions of a cell: row id, label, prediction, one score column per choice. UserError if the
        file is incomplete, or if a URL cannot be read; FileNotFoundError."""
        import pandas as pd

        name = f"predictions/{key}.parquet"
        if self.folder is not None and (self.folder / name).exists() and not whole_parquet(self.folder / name):
            raise _incomplete(f"{self.folder / name}", key)
        content = self._content(name)
        try:
            return pd.read_parquet(io.BytesIO(content))
        except ValueError as error:  # pyarrow's errors of content are such
            raise _incomplete(f"{self.location}/{name}", key) from error

    def write_checkpoint(self, content: bytes) -> str:
        """Writes a safetensors file, before the record that names it, whole or not at all; returns its sha256, which is
        its name. Errors: DiskFull."""
        digest = hashlib.sha256(content).hexdigest()
        self._put(f"checkpoints/{digest}.safetensors", content)
        return digest

    def checkpoint(self, record: Record | None) -> bytes | None:
        """The safetensors file that a record names; None if there is none, or no record. Errors: UserError if a URL
        cannot be read, or if the content is not what the record names; OSError."""
        digest = None if record is None else checkpoint_of(record)
        if digest is None:
            return None
        try:
            content = self._content(f"checkpoints/{digest}.safetensors")
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() != digest:
            raise UserError(
                f"{self.location}/checkpoints/{digest}.safetensors is not the file that was written: its content has "
                "another sha256 than its name. Delete it, and run its cell again with --keep checkpoints."
            )
        return content

    def has_checkpoint(self, record: Record) -> bool:
        """Whether the safetensors file that a record names is there."""
        digest = checkpoint_of(record)
        if digest is None:
            return False
        if self.folder is not None:
            return (self.folder / "checkpoints" / f"{digest}.safetensors").is_file()
        name = f"{digest}.safetensors"
        if time.monotonic() - self._listed_at > LISTED_SECONDS:
            self._checkpoints, self._listed_at = frozenset(self.remote.listing("checkpoints")), time.monotonic()
        return name in self._checkpoints or self.remote.has(f"checkpoints/{name}")

    def drop_checkpoints(self, records: Iterable[Record]) -> None:
        """Deletes the safetensors files that records name, those that are there. Errors: UserError for a URL;
        OSError."""
        digests = {digest for record in records if (digest := checkpoint_of(record)) is not None}
        names = {f"{digest}.safetensors" for digest in digests}
        if self.folder is not None:
            for name in names:
                (self.folder / "checkpoints" / name).unlink(missing_ok=True)
        elif names and (there := names & self.remote.listing("checkpoints").keys()):
            self.remote.remove_many([f"checkpoints/{name}" for name in sorted(there)])
            self._listed_at = -LISTED_SECONDS

    def leave_mark(self) -> str:
        """Writes an empty file whose name nobody else knows, by which another machine can tell whether it sees this
        store; returns its name. Errors: as `write`."""
        name = f"records/{_probe()}"
        self._put(name, b"")
        return name

    def has_mark(self, name: str) -> bool:
        """Whether this machine sees a mark; False too if it cannot read the store."""
        try:
            self._content(name)
        except (OSError, UserError):
            return False
        return True

    def remove_mark(self, name: str) -> None:
        """Removes a mark, if it is there still and can be removed."""
        with suppress(OSError, UserError):
            if self.folder is not None:
                (self.folder / name).unlink(missing_ok=True)
                return
            self.remote.remove(name)

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """True if this process now holds the cell, False if another does. The claim ends with its process, at S3 after
        two minutes at the latest; at other URLs there are no claims, and a cell may run twice. Errors: UserError for a
        URL."""
        if self.folder is None:
            with leased(self.remote, key) if self.remote.has_claims else nullcontext(True) as mine:
                yield mine
            return
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "locks" / f"{key}.lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in NO_LOCKS:
                raise _full(error, self.folder / "locks") from error
            _warn_of_no_locks(self.folder)
            yield True
            return
        try:
            yield True
        finally:
            lock.release()

    def _content(self, name: str) -> bytes:
        """A file of the results. Errors: FileNotFoundError; UserError if a URL cannot be read; OSError."""
        if self.folder is not None:
            return (self.folder / name).read_bytes()
        return self.remote.read(name)

    def _fetch(self, keys: Collection[str]) -> dict[str, Record]:
        """The records of keys at a URL that have one, in their order; an incomplete one counts as none and will be
        overwritten."""
        found: dict[str, Record] = {}
        for name, content in read_contents(self.remote, "records", [f"{key}.json" for key in keys]):
            path = self.remote / f"records/{name}"
            try:
                found[name.removesuffix(".json")] = parse_record(content_of(path, content), path)
            except FileNotFoundError:
                continue
            except CorruptRecord as error:
                log.warning("%s; the cell will run again", error)
        return {key: found[key] for key in keys if key in found}

    def _put(self, name: str, content: bytes) -> None:
        if self.folder is None:
            self.remote.write({name: content})
            return
        path = self.folder / name
        try:
            with writing(path) as file:
                file.write(content)
        except OSError as error:
            raise _full(error, path) from error


def checkpoint_of(record: Record) -> str | None:
    """The sha256 of the checkpoint that a record names; None if it names none. Records of others may name anything,
    such as a path that leads out of the results."""
    digest = record.storage.checkpoint_sha256
    return digest if digest is not None and is_sha256(digest) else None


def _incomplete(path: str, key: str) -> UserError:
    return UserError(f"{path} is not a complete Parquet file; delete records/{key}.json and run its cell again.")


def whole_parquet(path: Path, rows: int | None = None) -> bool:
    """Whether a file starts and ends as Parquet does and has a readable footer with the number of `rows`, if given; the
    rows themselves are not read."""
    if read_ends(path, len(PARQUET)) != (PARQUET, PARQUET):
        return False
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        n_rows: int = read_metadata(path).num_rows
    except (ArrowException, OSError, ValueError):
        return False
    return rows is None or n_rows == rows


def _probe() -> str:
    return f".probe-{uuid.uuid4().hex}.tmp"


def _full(error: OSError, path: Path) -> OSError:
    """DiskFull for a full disk or quota, else the error itself."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return DiskFull(
        f"the disk is full: {path} cannot be written; every record written before is complete. "
        "Free some space and repeat the command: it continues where it stopped."
    )
