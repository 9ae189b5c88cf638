"""Methods in a suite: a string or a table; lists in it are swept."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.files import expanded
from tunefront.bench.models.checkpoints import files_of
from tunefront.methods.base import Method
from tunefront.methods.registry import UnknownMethod, methods
from tunefront.methods.spelling import parse

_SWEPT = re.compile(r"(?<==)\s*\[([^\[\]]*)\]")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def swept_methods(item: object, folder: Path) -> list[Method]:
    """The methods of an entry in a suite's `methods`; its relative paths start at `folder`.

    A list as the value of a field is swept: `"houlsby:bottleneck=[8, 64]"` gives two methods, and so does
    `{name = "houlsby", bottleneck = [8, 64]}`; several lists give all combinations, the last list varying fastest.
    UserError if the entry is wrong.
    """
    return [_with_files(method_of(text), folder) for text in _texts(item, folder)]


def method_of(text: str) -> Method:
    """The method that a text spells; UserError if it is wrong."""
    if _lists_in(text):
        raise UserError(
            f"{text} sweeps a list, which only works in a suite; on the command line give --method once per value."
        )
    try:
        return parse(text)
    except (UnknownMethod, ValueError) as error:
        raise UserError(str(error)) from error


def known_methods() -> dict[str, type[Method]]:
    """Every registered method by name; UserError if two share a name, or a file is imported under two names."""
    try:
        return methods()
    except ValueError as error:
        raise UserError(str(error)) from error


def resolve_path(path: str, folder: Path) -> str:
    """A path relative to `folder`, as a path from the working directory (absolute if it lies outside)."""
    if expanded(path).is_absolute():
        return path
    full = os.path.normpath(folder.resolve() / path)
    near = os.path.relpath(full)
    return full if near.startswith("..") else near


def _texts(item: object, folder: Path) -> list[str]:
    if isinstance(item, str):
        return _from_string(_with_file(item, folder))
    if isinstance(item, Mapping):
        return _from_table(item, folder)
    raise UserError(
        f"methods contains {item!r}; write a text like 'houlsby:bottleneck=8', or a table {{name = ..., field = ...}}."
    )


def _lists_in(text: str) -> list[re.Match[str]]:
    """The lists that are values of fields; what looks like one inside quotes is text."""
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    return [match for match in _SWEPT.finditer(text) if not any(start < match.start() < end for start, end in quoted)]


def _from_string(text: str) -> list[str]:
    found = _lists_in(text)
    lists = [[value.strip() for value in match[1].split(",") if value.strip()] for match in found]
    if any(not values for values in lists):
        raise UserError(f"{text} sweeps an empty list.")
    starts, ends = [0, *(match.end() for match in found)], [*(match.start() for match in found), len(text)]
    pieces = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return [
        "".join(part for pair in itertools.zip_longest(pieces, choice, fillvalue="") for part in pair)
        for choice in itertools.product(*lists)
    ]


def _from_table(table: Mapping[str, object], folder: Path) -> list[str]:
    name = table.get("name")
    if not isinstance(name, str):
        raise UserError(f"the method {dict(table)} needs a name; write {{name = 'houlsby', bottleneck = [8, 64]}}.")
    swept = {field: value if isinstance(value, list) else [value] for field, value in table.items() if field != "name"}
    empty = [field for field, values in swept.items() if not values]
    if empty:
        raise UserError(f"{name} sweeps an empty list: {', '.join(empty)}.")
    for field, values in swept.items():
        invalid = [value for value in values if not isinstance(value, bool | int | float | str)]
        if invalid:
            raise UserError(
                f"{name}: {field} must be true, false, a number, a text, or a list of these; got {invalid[0]!r}."
            )
    head = _with_file(name, folder)
    return [
        f"{head}({', '.join(f'{field}={value!r}' for field, value in zip(swept, choice, strict=True))})"
        for choice in itertools.product(*swept.values())
    ]


def _with_files(method: Method, folder: Path) -> Method:
    """The method with the paths of its files relative to the working directory."""
    files = {name: resolve_path(path, folder) for name, path in files_of(method).items()}
    return replace(method, **files) if files else method


def _with_file(text: str, folder: Path) -> str:
    """`mine.py:Mine:field=value` with its file relative to the working directory."""
    if ".py:" not in text:
        return text
    file, _, rest = text.partition(".py:")
    return f"{resolve_path(file + '.py', folder)}:{rest}"
