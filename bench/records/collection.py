"""The records of one or several results folders, with the places of their predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsIndex, overload

from tunefront.bench.records.frame import to_frame
from tunefront.bench.records.record import Record

if TYPE_CHECKING:
    import pandas as pd


LARGEST = 2**63 - 1
"""Columns with larger integers stay objects."""


@dataclass(frozen=True)
class Stored:
    """A record and the results folder or URL that it was read from."""

    folder: str
    record: Record


class Records(list[Record]):
    """A list of records that knows where each was read from, one record per cell.

    `places`: key -> the results folder or URL of the record, where its predictions are too. `others`: records of the
    same cells in other folders, which this list leaves out. A list that is made of this one, such as
    `[record for record in records if ...]`, is an ordinary list without places.
    """

    def __init__(
        self,
        records: Iterable[Record] = (),
        places: Mapping[str, str] | None = None,
        others: Iterable[Stored] = (),
    ):
        super().__init__(records)
        self.places: dict[str, str] = dict(places or {})
        self.others: tuple[Stored, ...] = tuple(others)

    @property
    def folders(self) -> list[str]:
        """The results folders and URLs that hold any of the records."""
        return list(dict.fromkeys([*self.places.values(), *(other.folder for other in self.others)]))

    @overload
    def __getitem__(self, index: SupportsIndex) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Record | Records:
        """A record, or a slice with its places."""
        if isinstance(index, slice):
            return Records(super().__getitem__(index), self.places, self.others)
        return super().__getitem__(index)

    def to_frame(self) -> pd.DataFrame:
        """A pandas table: a row per record, in this order, with all fields except lists of row ids.

        Fields of groups and mappings are columns with dotted names: `scores.test.accuracy`, `flops.train`,
        `recipe.learning_rate`. `score` is the headline metric, `task_bytes` what is stored for the task. Records of
        several folders also have the column `results`, the folder. Columns have the nullable dtypes of pandas: integers
        stay exact, and a missing value is NA, never 0.
        """
        table = to_frame(self, self.places if len(set(self.places.values())) > 1 else None)
        return table.apply(_typed) if len(table) else table


def _typed(column: pd.Series) -> pd.Series:
    """A column of objects with the dtype of its values. `convert_dtypes` would round integers next to a missing one."""
    from pandas.api.types import pandas_dtype

    kinds = {type(value) for value in column if value is not None and value == value}
    for dtype, fit in (("boolean", {bool}), ("Int64", {int}), ("Float64", {int, float}), ("string", {str})):
        if kinds and kinds <= fit and not (dtype == "Int64" and max(map(abs, column.dropna())) > LARGEST):
            return column.astype(pandas_dtype(dtype))
    return column
