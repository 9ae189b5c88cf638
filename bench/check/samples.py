"""Samples of rows: the same in every run, and without the patterns that every n-th row of a file may have."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def sample(items: Sequence[Item], most: int, seed: int = 0) -> list[Item]:
    """At most this many of the items, drawn without replacement, in their order."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in sorted(random.Random(seed).sample(range(len(items)), most))]


def shortened(text: object, longest: int = 60) -> str:
    """A value on one line, cut.

    >>> shortened("two\\n lines, of which the end is cut", 20)
    'two lines, of which…'
    """
    line = " ".join(str(text)[: 4 * longest].split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"
