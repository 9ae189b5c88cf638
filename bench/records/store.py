"""Where records live: one JSON file a cell, predictions beside it, claims that die with their process."""

from __future__ import annotations

import errno
import functools
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.files import local_folder, sweep, url_errors, writing
from tunefront.bench.records import CorruptRecord, Record, load_records, parse_record, read_record, set_aside
from tunefront.bench.records.ordinary import ends, not_a_folder

if TYPE_CHECKING:
    import pandas as pd

ROOMS = ("records", "predictions", "locks")
"""The folders of a local results folder."""
PARQUET = b"PAR1"
"""What a Parquet file starts and ends with: one that was cut, emptied or zeroed does not."""

log = logging.getLogger("tunefront")


NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system answers that has no locks, as of some networks."""


@functools.cache
def _warn_of_no_locks(folder: Path) -> None:
    log.warning("%s has no file locks: where several commands write into it at once, a cell may run twice", folder)


class Store:
    """A results folder, or any fsspec URL (`s3://bucket/results`) into which several machines write.

    Layout: `records/<key>.json` (written last), `predictions/<key>.parquet`, `locks/<key>.lock` (local folders only).
    """

    def __init__(self, location: str | Path):
        self.folder = local_folder(location)
        self.location = str(location).rstrip("/") if self.folder is None else str(self.folder)

    def prepare(self) -> None:
        """Makes the folders and removes what killed processes left in them; UserError where they cannot be written."""
        if self.folder is None:
            with url_errors(self.location, "written"):
                self._prepare_remote()
            return
        try:
            for name in ROOMS:
                self.folder.joinpath(name).mkdir(parents=True, exist_ok=True)
                probe = self.folder / name / _probe()
                probe.touch()
                probe.unlink()
                sweep(self.folder / name)
        except (FileExistsError, NotADirectoryError) as error:
            rooms = [self.folder / name for name in ROOMS]
            place = next((room for room in rooms if room.exists() and not room.is_dir()), self.folder)
            raise UserError(f"the output folder {self.folder} cannot be written: {not_a_folder(place)}") from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFull(f"no room is left in {self.folder}") from error
            raise UserError(
                f"the output folder {self.folder} cannot be written ({error.strerror}); "
                "give another with --out, or mend its permissions."
            ) from error

    def read(self, key: str) -> Record | None:
        """The record of a key, None where there is none; a corrupted one is set aside and counts as none, as its cell
        will run. UserError where another version of tunefront wrote it, where it is that of another cell, or where it
        cannot be read: it would be written over."""
        if self.folder is None:
            return self._fetched(key)
        path = self.folder / "records" / f"{key}.json"
        try:
            return read_record(path)
        except FileNotFoundError:
            return None
        except CorruptRecord as error:
            set_aside(path, error)
            return None

    def records(self) -> list[Record]:
        """All records, by key."""
        return load_records(self.location)

    def write(self, record: Record, predictions: pd.DataFrame | None = None) -> None:
        """Keeps a record and, before it, its predictions; a file appears whole or not at all. DiskFull if no room."""
        if predictions is not None:
            self._put(f"predictions/{record.key}.parquet", predictions.to_parquet(index=False))
        self._put(f"records/{record.key}.json", record.model_dump_json(indent=1).encode())

    def predictions(self, key: str) -> pd.DataFrame:
        """Per-example predictions of a cell: row id, label, prediction, one score column a choice. UserError where a
        local file is there and is not whole; FileNotFoundError."""
        import pandas as pd

        path = None if self.folder is None else self.folder / "predictions" / f"{key}.parquet"
        if path is not None and path.exists() and not whole_parquet(path):
            raise UserError(f"{path} is not a whole Parquet file; delete records/{key}.json and run its cell again.")
        return pd.read_parquet(f"{self.location}/predictions/{key}.parquet")

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """True while this process holds the cell, False where another does. The claim dies with its process."""
        if self.folder is None:
            yield True
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

    def _fetched(self, key: str) -> Record | None:
        """The record of a key behind a URL; one that is not whole counts as none and will be written over."""
        path = f"{self.location}/records/{key}.json"
        with url_errors(path, "read"):
            try:
                content = _filesystem(self.location).cat_file(path)
            except FileNotFoundError:
                return None
        try:
            return parse_record(content, path)
        except CorruptRecord as error:
            log.warning("%s; the cell will run again", error)
            return None

    def _prepare_remote(self) -> None:
        files = _filesystem(self.location)
        for name in ("records", "predictions"):
            files.makedirs(f"{self.location}/{name}", exist_ok=True)
            probe = f"{self.location}/{name}/{_probe()}"
            files.pipe_file(probe, b"written")
            files.rm_file(probe)

    def _put(self, name: str, content: bytes) -> None:
        if self.folder is None:
            _filesystem(self.location).pipe_file(f"{self.location}/{name}", content)
            return
        path = self.folder / name
        try:
            with writing(path) as file:
                file.write(content)
        except OSError as error:
            raise _full(error, path) from error


def whole_parquet(path: Path, rows: int | None = None) -> bool:
    """Whether a file starts and ends as Parquet does and its footer can be read, and tells of so many rows where they
    are given; the rows themselves are not read."""
    if ends(path, len(PARQUET)) != (PARQUET, PARQUET):
        return False
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        found: int = read_metadata(path).num_rows
    except (ArrowException, OSError, ValueError):
        return False
    return rows is None or found == rows


def _probe() -> str:
    return f".probe-{uuid.uuid4().hex}.tmp"


def _full(error: OSError, path: Path) -> OSError:
    """DiskFull where that is what went wrong, else the error itself."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return DiskFull(
        f"no room is left for {path}; every record written before is whole. "
        "Free some room and give the same command again: it goes on where it stopped."
    )


def _filesystem(location: str) -> Any:  # Any: fsspec is untyped
    import fsspec

    return fsspec.core.url_to_fs(location)[0]
