"""The stored predictions of records, as arrays."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tunefront.bench.files import local_folder
from tunefront.bench.records.urls import UrlFolder

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

MOST_ROWS = 10_000_000
"""Most rows that are read, whatever the record says."""
COLUMNS = ("id", "label", "prediction")


@dataclass(frozen=True, eq=False)
class Answers:
    """The scored rows of one record, in the order of their ids. Shapes: (rows,) each.

    `ids`: the rows' names. `labels`, `predictions`: class indices; positions among the answers, for multiple choice;
    values, for regression.
    """

    ids: NDArray[Any]
    labels: NDArray[Any]
    predictions: NDArray[Any]


class AnswerFiles:
    """Reads the predictions of records from the places where these were found, key -> results folder or URL."""

    def __init__(self, places: Mapping[str, str]):
        self._places = places
        self._ahead: dict[str, bytes | OSError] = {}

    def knows(self, key: str) -> bool:
        """Whether the place of a record is known."""
        return key in self._places

    def read_ahead(self, keys: Iterable[str]) -> None:
        """Requests the predictions at URLs of those of these records that `read` will be asked for next, together: one
        after another, each would wait for the server. UserError if a URL cannot be read."""
        by_place: dict[str, list[str]] = {}
        for key in dict.fromkeys(keys):
            if key not in self._ahead and (place := self._places.get(key)) is not None and local_folder(place) is None:
                by_place.setdefault(place, []).append(_name(key))
        for place, names in by_place.items():
            self._ahead |= {_key(name): content for name, content in UrlFolder(place).read_many(names)}

    def read(self, key: str, rows: int | None = None) -> Answers | None:
        """The answers of a record with this number of scored rows, if known. None if its place is unknown, or its file
        is missing, incomplete, of another number of rows, or no predictions: two rows with the same id, say. UserError
        if a URL cannot be read."""
        place = self._places.get(key)
        if place is None:
            return None
        from pyarrow import ArrowException

        folder = local_folder(place)
        source: str | BinaryIO = "" if folder is None else str(folder / _name(key))
        if folder is None:
            self.read_ahead([key])
            content = self._ahead.pop(key)
            if isinstance(content, OSError):
                return None
            source = io.BytesIO(content)
        try:
            table = _table(source, rows)
            columns = [np.asarray(table.column(name).to_numpy(zero_copy_only=False)) for name in COLUMNS]
            ids, labels, predictions = columns[0].astype(str), columns[1], columns[2]
        except (OSError, ValueError, KeyError, ArrowException):
            return None
        if labels.dtype.kind not in "iuf" or predictions.dtype.kind not in "iuf":
            return None
        if not (np.isfinite(labels).all() and np.isfinite(predictions).all()):
            return None
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        if len(ids) == 0 or (ids[1:] == ids[:-1]).any():
            return None
        return Answers(ids, labels[order], predictions[order])


def _name(key: str) -> str:
    return f"predictions/{key}.parquet"


def _key(name: str) -> str:
    return name.removeprefix("predictions/").removesuffix(".parquet")


def _table(source: str | BinaryIO, rows: int | None) -> pyarrow.Table:
    """The columns of a file. ValueError for another number of rows, which its footer says: a small file may claim so
    many that they fill the memory."""
    from pyarrow import parquet

    # A file of its own: the reader of datasets, which `read_table` starts, takes ten times as long.
    with parquet.ParquetFile(source, memory_map=False) as file:
        return _of_rows(file, rows).read(columns=list(COLUMNS), use_threads=False)


def _of_rows(file: ParquetFile, rows: int | None) -> ParquetFile:
    found = file.metadata.num_rows
    if found > MOST_ROWS or (rows is not None and found != rows):
        raise ValueError(f"{found} rows")
    return file
