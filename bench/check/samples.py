"""Samples of rows: the same in every run, and without the patterns that every n-th row of a file may have."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row

Item = TypeVar("Item")


def sample(items: Sequence[Item], most: int, seed: int = 0) -> list[Item]:
    """At most this many of the items, drawn without replacement, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in sorted(random.Random(seed).sample(range(len(items)), most))]


def cut_texts(row: Row, longest: int) -> Row:
    """The row with its texts cut to this many characters, so that a book in one row takes no gigabytes of tokens."""
    fields = {name: value[:longest] if isinstance(value, str) else value for name, value in row.fields.items()}
    return replace(row, fields=fields)


def shortened(text: object, longest: int = 60) -> str:
    """A value on one line, cut.

    >>> shortened("two\\n lines, of which the end is cut", 20)
    'two lines, of which…'
    """
    line = " ".join(str(text)[: 4 * longest].split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"
