"""The stored predictions of records, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunefront.bench.files import local_folder

if TYPE_CHECKING:
    import pyarrow

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

    def read(self, key: str) -> Answers | None:
        """The answers of a record. None if its place is unknown, or its file is missing, incomplete or no predictions:
        two rows with the same id, say."""
        place = self._places.get(key)
        if place is None:
            return None
        from pyarrow import ArrowException

        try:
            table = _table(f"{place.rstrip('/')}/predictions/{key}.parquet", local_folder(place) is not None)
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


def _table(path: str, local: bool) -> pyarrow.Table:
    from pyarrow import parquet

    if local:
        # A file of its own: the reader of datasets, which `read_table` starts, takes ten times as long.
        with parquet.ParquetFile(path, memory_map=False) as file:
            return file.read(columns=list(COLUMNS), use_threads=False)
    import fsspec

    files, place = fsspec.core.url_to_fs(path)
    with files.open(place, "rb") as stream:
        return parquet.ParquetFile(stream).read(columns=list(COLUMNS))
