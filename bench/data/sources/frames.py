"""DataFrames as tasks: kept in the cache as Parquet, under the hash of their rows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.data.cache import folder
from tunefront.bench.errors import UserError
from tunefront.bench.files import explain_os_error, sweep, writing

if TYPE_CHECKING:
    import pandas

_DIGITS = 16


def is_frame(value: object) -> bool:
    """Whether a value is a pandas DataFrame; pandas is not imported for it."""
    return any(f"{kind.__module__}.{kind.__name__}".startswith("pandas.") for kind in type(value).__mro__) and hasattr(
        value, "to_parquet"
    )


def path_of(name: str) -> Path:
    """The file of a DataFrame in the cache. Errors: UserError if it is not there."""
    file = _file(name)
    if len(name) != _DIGITS or not name.isalnum() or not file.is_file():
        raise UserError(
            f"the DataFrame frame:{name[:40]} is not in the cache {file.parent}; pass it again: run(data=DATAFRAME)."
        )
    return file


def store(frame: pandas.DataFrame) -> str:
    """Keeps the rows of a DataFrame, without its index, in the cache; returns the name of its file, a hash.

    Errors: UserError if a column occurs twice, or the cache cannot be written.
    """
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the DataFrame has two columns {twice!r}; rename one of them.")
    plain = frame.reset_index(drop=True).set_axis(names, axis="columns")
    for name in names:
        if plain[name].dtype == object or str(plain[name].dtype) == "category":
            plain[name] = plain[name].astype(object).map(_plain, na_action="ignore")
        elif plain[name].dtype.kind in "mM":
            plain[name] = plain[name].astype(str)
    digest = hashlib.sha256(plain.to_csv(index=False).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    try:
        with writing(_file(digest)) as file:
            file.write(plain.to_parquet(index=False))
        sweep(_file(digest).parent)
    except OSError as error:
        raise UserError(
            f"the DataFrame cannot be kept in the cache ({explain_os_error(error)}); set TUNEFRONT_CACHE."
        ) from None
    return digest


def _file(name: str) -> Path:
    return folder("frames") / f"{name}.parquet"


def _plain(value: Any) -> Any:  # Any: whatever a DataFrame holds
    """A value that Parquet can hold next to texts: lists as they are, all others as texts."""
    return value if isinstance(value, (str, list, tuple)) else str(value)
