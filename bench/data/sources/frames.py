"""DataFrames as tasks: kept in the cache as Parquet, under the hash of their rows."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.data.cache import folder
from tunefront.bench.errors import UserError, in_short
from tunefront.bench.files import explain_os_error, sweep, writing

if TYPE_CHECKING:
    import pandas

_DIGITS = 16


def is_frame(value: object) -> bool:
    """Whether a value is a pandas DataFrame; pandas is not imported for it."""
    return any(f"{kind.__module__}.{kind.__name__}".startswith("pandas.") for kind in type(value).__mro__) and hasattr(
        value, "to_parquet"
    )


def is_stored(name: str) -> bool:
    """Whether the DataFrame of this name is in the cache."""
    return re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", name) is not None and _file(name).is_file()


def path_of(name: str) -> Path:
    """The file of a DataFrame in the cache. Errors: UserError if it is not there."""
    if not is_stored(name):
        raise UserError(
            f"the DataFrame frame:{name[:40]} is not in the cache {folder('frames')}; pass it again: "
            "run(data=DATAFRAME)."
        )
    return _file(name)


def without_files(text: str) -> str:
    """A message in which `the DataFrame` stands for the file where it is kept."""
    return re.sub(rf"(?:{re.escape(str(folder('frames')))}/)?\b[0-9a-f]{{{_DIGITS}}}\.parquet", "the DataFrame", text)


def store(frame: pandas.DataFrame) -> str:
    """Keeps the rows of a DataFrame, without its index, in the cache; returns the name of its file, a hash.

    Errors: UserError if a column occurs twice, has values that Parquet does not have, or the cache cannot be written.
    """
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the DataFrame has two columns {twice!r}; rename one of them.")
    try:
        plain = _plain_frame(frame.reset_index(drop=True).set_axis(names, axis="columns"))
        digest = hashlib.sha256(plain.to_csv(index=False).encode("utf-8")).hexdigest()[:_DIGITS]
        content = plain.to_parquet(index=False)
    except (ValueError, TypeError) as error:  # pyarrow's errors are such, and those of lone surrogates
        raise UserError(
            f"the DataFrame cannot be kept as Parquet ({in_short(error)}); make its values texts, numbers or lists of "
            "these, or pass the columns that are needed alone."
        ) from None
    try:
        with writing(_file(digest)) as file:
            file.write(content)
        sweep(_file(digest).parent)
    except OSError as error:
        raise UserError(
            f"the DataFrame cannot be kept in the cache ({explain_os_error(error)}); set TUNEFRONT_CACHE."
        ) from None
    return digest


def _file(name: str) -> Path:
    return folder("frames") / f"{name}.parquet"


def _plain_frame(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The columns that Parquet can hold as they are, others as texts."""
    for name in frame.columns:
        if frame[name].dtype == object or str(frame[name].dtype) == "category":
            frame[name] = _plain(frame[name].astype(object))
        elif frame[name].dtype.kind in "mM":
            frame[name] = frame[name].astype(str)
    return frame


def _plain(column: Any) -> Any:  # Any: a column of whatever a DataFrame holds
    """A column of objects that Parquet can hold: lists as they are if all are lists, else texts."""
    if all(isinstance(value, (list, tuple, dict)) or hasattr(value, "tolist") for value in column):
        return column
    return column.map(lambda value: value if isinstance(value, str) else str(value), na_action="ignore")
