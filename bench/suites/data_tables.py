"""The [[data]] tables of a suite file: files of one's own, each with how to read it, as names of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from tunefront.bench.data.sources.file_name import OPTIONS
from tunefront.bench.data.sources.own_names import names_of
from tunefront.bench.errors import ErrorCollector, UserError, unknown
from tunefront.bench.suites.values import shortened

DATA, FILE = "data", "file"
"""The key of the tables, and their key for the path of a file or folder."""
_SEVERAL = "text"
"""The option that may be a list."""


def names_in(value: object, keys: tuple[str, ...], wrong: ErrorCollector, prefix: str) -> tuple[str, ...]:
    """The names of the tasks that `data` lists: tables, or paths alone. Wrong tables are collected as errors.

    Args: keys, those of the suite itself, which may stand in a table by mistake.
    """
    if not isinstance(value, list) or not value:
        raise UserError(f'{DATA} must be tables, each [[{DATA}]] with {FILE} = "tickets.csv", got {shortened(value)}.')
    names: list[str] = []
    for number, table in enumerate(value, 1):
        with wrong.collect(f"{prefix}[[{DATA}]] {number}: "):
            names += _names(table, keys)
    return tuple(dict.fromkeys(names))


def _names(table: object, keys: tuple[str, ...]) -> list[str]:
    if isinstance(table, str):
        return names_of([table], {})
    if not isinstance(table, Mapping):
        raise UserError(f'it must be a table with {FILE} = "tickets.csv", or a path, got {shortened(table)}.')
    for key in table:
        if key in keys:
            raise UserError(
                f"{key} is no key of this table; TOML counts to a table all that follows its head, so move {key} above "
                f"the first [[{DATA}]]."
            )
        if key not in (FILE, *OPTIONS):
            raise UserError(unknown("key", key, (FILE, *OPTIONS)))
    if FILE not in table:
        raise UserError(f'it names no file; add {FILE} = "tickets.csv", the path of a file or folder.')
    options = {key: _texts(key, value) for key, value in table.items() if key != FILE}
    return names_of([_text(FILE, table[FILE])], options)


def _texts(key: str, value: object) -> str | list[str]:
    if key == _SEVERAL:
        return [_text(key, item) for item in (value if isinstance(value, list) else [value])]
    if key == "header" and isinstance(value, bool):
        return "yes" if value else "no"
    return _text(key, value)


def _text(key: str, value: object) -> str:
    """A text, or a number as text: a share, or the place of a column."""
    kinds = str if key == FILE else str | int | float
    if isinstance(value, bool) or not isinstance(value, kinds) or not str(value).strip():
        several = f" or a list of them, {key} = [{_quoted('title')}, {_quoted('review')}]" if key == _SEVERAL else ""
        raise UserError(f"{key} must be a text{several}, got {shortened(value)}.")
    return str(value)


def _quoted(text: str) -> str:
    return f'"{text}"'
