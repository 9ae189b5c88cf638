"""Names of columns: from a file's first row, or by their places where that row is data."""

from __future__ import annotations

from collections.abc import Sequence

from tunefront.bench.data.sources.labels import missing, number

_UNNAMED = "\0"
"""Start of the temporary name of an unnamed column, which no file can contain."""
_LOOKED_AT = 1000
_LONG_NAME, _WORDS = 60, 8
"""Characters and words from which a cell is a text and no name."""


def named_columns(header: Sequence[str]) -> list[str]:
    """The names in a header, a temporary one for each column without a name."""
    return [name if name.strip() else f"{_UNNAMED}{place}" for place, name in enumerate(header)]


def is_unnamed(column: str) -> bool:
    """Whether the header does not name this column."""
    return column.startswith(_UNNAMED)


def without_header(width: int, notes: list[str]) -> list[str]:
    """The names of the columns of a file without a header; noted."""
    notes.append("no header: the first row is data, and columns are named by their places (else --header yes)")
    return [f"column {place + 1}" for place in range(width)]


def has_header(first: Sequence[object], rows: Sequence[Sequence[object]]) -> bool:
    """Whether the first row names the columns: it has no text as long as a sentence, no number above numbers, and no
    value that its column repeats, such as a class.

    >>> has_header(["a fine film", "good"], [["a dull film", "bad"], ["a sound film", "good"], ["an odd film", "bad"]])
    False
    """
    shown = rows[:_LOOKED_AT]
    if list(first) in [list(row) for row in shown]:
        return True  # files joined with their headers
    return not any(_is_value(cell, [row[place] for row in shown]) for place, cell in enumerate(first))


def _is_value(cell: object, column: Sequence[object]) -> bool:
    filled = [value for value in column if not missing(value)]
    if missing(cell) or not filled:
        return False
    text = str(cell)
    if len(text) > _LONG_NAME and len(text.split()) >= _WORDS:
        return True
    if number(cell) is not None and all(number(value) is not None for value in filled):
        return True
    distinct = {str(value) for value in filled}
    return text in distinct and 2 * len(distinct) <= len(column) + 1
