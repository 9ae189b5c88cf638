"""The records of one or several results folders, with the places of their predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tunefront.bench.records.frame import to_frame
from tunefront.bench.records.record import Record

if TYPE_CHECKING:
    import pandas as pd


LARGEST = 2**63 - 1
"""Columns with larger integers stay objects."""


class Records(list[Record]):
    """A list of records that knows where each was read from.

    `places`: key -> the results folder or URL of the record, where its predictions are too. A list that is made of this
    one, such as `[record for record in records if ...]`, is an ordinary list without places.
    """

    def __init__(self, records: Iterable[Record] = (), places: Mapping[str, str] | None = None):
        super().__init__(records)
        self.places: dict[str, str] = dict(places or {})

    def to_frame(self) -> pd.DataFrame:
        """A pandas table: a row per record, in this order, with all fields except lists of row ids.

        Fields of groups and mappings are columns with dotted names: `scores.test.accuracy`, `flops.train`,
        `recipe.learning_rate`. `score` is the headline metric, `task_bytes` what is stored for the task. Columns have
        the nullable dtypes of pandas: integers stay exact, and a missing value is NA, never 0.
        """
        table = to_frame(self)
        return table.apply(_typed) if len(table) else table


def _typed(column: pd.Series) -> pd.Series:
    """A column of objects with the dtype of its values. `convert_dtypes` would round integers next to a missing one."""
    from pandas.api.types import pandas_dtype

    kinds = {type(value) for value in column if value is not None and value == value}
    for dtype, fit in (("boolean", {bool}), ("Int64", {int}), ("Float64", {int, float}), ("string", {str})):
        if kinds and kinds <= fit and not (dtype == "Int64" and max(map(abs, column.dropna())) > LARGEST):
            return column.astype(pandas_dtype(dtype))
    return column
