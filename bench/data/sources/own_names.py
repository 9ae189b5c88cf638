"""The names of the tasks that a call makes of its own files and DataFrames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tunefront.bench.data.sources.file_name import FILE, FILES, FRAME, PATHS, FileName, is_file_name
from tunefront.bench.errors import UserError


def names_of(data: Iterable[object], options: Mapping[str, Any]) -> list[str]:  # Any: texts and lists of them
    """The name of each file, folder or DataFrame, with these options (see `file_name.OPTIONS`). DataFrames are kept in
    the cache. Errors: UserError for options without data, or data of another kind."""
    data = list(data)
    if options and not data:
        raise UserError(
            f"{' and '.join(f'--{name}' for name in options)} only applies to --data FILE; give it too, or write the "
            "options into the task's name: --task 'file:PATH?label=COLUMN'."
        )
    for option in PATHS:
        if option in options and len(data) > 1:
            raise UserError(f"--{option} is a file for one --data, but there are {len(data)}.")
    return [str(_name(each, options)) for each in data]


def _name(data: object, options: Mapping[str, Any]) -> FileName:
    path, source = _place(data)
    values: dict[str, Any] = {
        name: value if name in ("text", *FILES) else str(value) for name, value in options.items()
    }
    for option in (name for name in FILES if name in values):
        place, place_source = _place(values[option])
        values[option] = place if place_source == FILE else f"{FRAME}{place}"
    return FileName(path, source, **{**values, "text": tuple(values.get("text", ()))})


def _place(data: object) -> tuple[str, str]:
    """(path, `file:`), or (hash, `frame:`) of a DataFrame, which is kept in the cache."""
    if isinstance(data, str | os.PathLike):
        path = os.fspath(data)
        if not isinstance(path, str) or not path.strip():
            raise UserError(f"data must be the path of a file or folder, or a DataFrame, got {data!r}.")
        if is_file_name(path):
            raise UserError(f"{path} is the name of a task: give it as --task, or the path alone as --data.")
        return path.removeprefix("dir:"), FILE
    from tunefront.bench.data.sources.frames import is_frame, store

    frame: Any = data
    if not is_frame(frame):
        raise UserError(
            f"data must be the path of a file or folder, or a DataFrame, got an object of type {type(data).__name__}."
        )
    return store(frame), FRAME
