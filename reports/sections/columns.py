"""Lays out a table of text so that it fits a terminal: what is needed last is left out first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GAP = "  "
SPREADS = 6
"""The level at which the second parts of cells are shown. A column is shown up to its own level."""
BRIEF = -1
"""The level at which columns have their brief cells."""
WIDTHS: dict[int, tuple[int | None, ...]] = {7: (None,), 6: (None,), 5: (None, 36), BRIEF: (20, 16)}
"""Level -> the most characters of a name before it is folded, to try in this order. Other levels: `NARROWER`."""
NARROWER = (None, 36, 24, 20)
_PIECES = re.compile(r"(?<=[,: ])(?! )")
"""Where a name may be folded: after a comma, colon or blank, never in the middle of a number."""


@dataclass(frozen=True)
class Column:
    """A column of numbers: its head and a text per row, with `minor` texts that follow if there is room for them.

    `level` 0 is always shown; the columns with the highest level are left out first. `brief` are cells for a terminal
    that is too narrow even for the columns of level 0.
    """

    head: str
    cells: tuple[str, ...]
    level: int = 0
    minor: tuple[str, ...] = ()
    brief: tuple[str, ...] = ()

    def texts(self, level: int) -> list[str]:
        """The cells, padded so that the digits of those with and without a minor text line up."""
        if level == BRIEF and self.brief:
            return list(self.brief)
        room = max((cell_len(text) for text in self.minor), default=0)
        if level < SPREADS or not room:
            return list(self.cells)
        minor = [text.ljust(room) for text in self.minor]
        return [f"{cell} {more}" for cell, more in zip(self.cells, minor, strict=True)]


@dataclass(frozen=True)
class Layout:
    """Lines of a table: `head`, and each row's lines (several if its name is folded), of which the names take the
    `first` columns of the terminal. `left_out` are the heads of the columns without room; `level` is that of the
    layout."""

    first: int
    head: str
    rows: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...]
    level: int

    @property
    def spreads(self) -> bool:
        """Whether minor texts are shown."""
        return self.level >= SPREADS

    @property
    def brief(self) -> bool:
        """Whether brief cells are shown."""
        return self.level == BRIEF


def lay_out(title: str, names: Sequence[str], columns: Sequence[Column], width: int) -> Layout:
    """The fullest layout that fits `width`; the narrowest one if none does."""
    layout = None
    for level, most in _tries(columns):
        folded = [fold(name, most) for name in names]
        shown = [column for column in columns if column.level <= max(level, 0)]
        drawn = [_padded(column, level) for column in shown]
        first = max(map(cell_len, [title, *(line for lines in folded for line in lines)]))
        head = GAP.join([_pad(title, first), *(texts[0] for texts in drawn)])
        layout = Layout(
            first,
            head.rstrip(),
            tuple(
                (GAP.join([_pad(lines[0], first), *(texts[row + 1] for texts in drawn)]).rstrip(), *lines[1:])
                for row, lines in enumerate(folded)
            ),
            tuple(column.head for column in columns if column not in shown),
            level,
        )
        if cell_len(head) <= width:
            return layout
    assert layout is not None
    return layout


def _tries(columns: Sequence[Column]) -> Iterator[tuple[int, int | None]]:
    """The levels to try, from the fullest, and the width of names at each."""
    for level in range(max([SPREADS, *(column.level for column in columns)]), BRIEF - 1, -1):
        for most in WIDTHS.get(level, NARROWER):
            yield level, most


def fold(name: str, most: int | None) -> list[str]:
    """The lines of a name of at most `most` characters, broken after a comma, colon or blank where possible.

    >>> fold("houlsby:bottleneck=256,std=0.01", 24)
    ['houlsby:bottleneck=256,', '  std=0.01']
    """
    if most is None or cell_len(name) <= most:
        return [name]
    lines = [""]
    for piece in _PIECES.split(name):
        for part in [piece] if cell_len(piece) <= most - 2 else chop_cells(piece, most - 2):
            if lines[-1].strip() and cell_len(lines[-1] + part.rstrip()) > most:
                lines.append("  ")
            lines[-1] += part
    return [line.rstrip() for line in lines]


def _padded(column: Column, level: int) -> list[str]:
    """The head and the cells of a column, all of one width, on the right."""
    texts = [column.head, *column.texts(level)]
    width = max(map(cell_len, texts))
    return [" " * (width - cell_len(text)) + text for text in texts]


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
