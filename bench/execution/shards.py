"""Shares of a run for several machines: the cells of a share follow from their keys alone, without a lock."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.cells import Cell

MOST_SHARDS = 100_000
"""More shares than any scheduler starts jobs."""
DIGITS = 15
"""Hexadecimal digits of a key that decide its share: the number that they make is far larger than any count."""
_SHARD = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Shard:
    """Share `number` of `count`, counted from 1.

    The shares have no cell in common, and all cells together: every cell is in the one that its key says. A key does
    not depend on the other cells of a call, so a cell stays in its share when a suite grows.
    """

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Self:
        """The share that a text such as `2/8` names; UserError for any other text.

        >>> Shard.of("2/8")
        Shard(number=2, count=8)
        """
        match = _SHARD.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise UserError(f"a shard is written i/n, such as 2/8 for the second of 8, got {text!r}.")
        number, count = int(match[1]), int(match[2])
        if not 1 <= count <= MOST_SHARDS:
            raise UserError(f"shard {text!r}: there can be 1 to {MOST_SHARDS:,} shards, not {count:,}.")
        if not 1 <= number <= count:
            raise UserError(f"shard {text!r}: shards count from 1, so the shards of {count:,} are 1 to {count:,}.")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def holds(self, key: str) -> bool:
        """Whether the cell with this key is in this share.

        >>> [Shard(number, 4).holds("000000000000006" + 49 * "0") for number in (1, 2, 3, 4)]
        [False, False, True, False]
        """
        return int(key[:DIGITS], 16) % self.count == self.number - 1

    def select(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """The cells of this share, in their order. Errors: as `Identity.of`."""
        from tunefront.bench.execution.identity import Identity, Shared  # imports the libraries

        cells = tuple(cells)
        if self.count == 1:  # all of them, without computing a key
            return cells
        shared = Shared()
        return tuple(cell for cell in cells if self.holds(Identity.of(cell, shared).key))
