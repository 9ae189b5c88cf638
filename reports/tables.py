"""Tables as data, independent of the output format."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunefront.reports.units import MINUS

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Cell:
    """One cell. `minor` follows in smaller type (a spread); `title` is exact, `link` the id of its records, `keys` the
    keys of its records where no id stands for them. `shade`: a difference in points that colours the cell."""

    text: str
    minor: str = ""
    title: str = ""
    link: str = ""
    strong: bool = False
    keys: tuple[str, ...] = ()
    shade: float | None = None

    @property
    def number(self) -> float | None:
        """The number that the cell shows, as exact as its title; None if it is a text or missing."""
        exact = number_in(self.title)
        return number_in(self.text) if exact is None else exact


@dataclass(frozen=True)
class Column:
    """A column: its head, a second line in smaller type, and whether it contains numbers."""

    head: str
    under: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with its caption and a note below. `lines` are the indices of rows that start a new part. The first
    `leading` columns name a row and are repeated in every part of a table that is too wide for paper. `keys` are those
    of the records behind each row, for numbers that have none of their own; empty where numbers have links."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    lines: tuple[int, ...] = ()
    leading: int = 1
    keys: tuple[tuple[str, ...], ...] = ()

    @property
    def darkest(self) -> float:
        """The difference in points that has the darkest colour: the largest of the table, and at least `DARKEST`."""
        return max([DARKEST, *(abs(cell.shade) for row in self.rows for cell in row if cell.shade is not None)])

    @property
    def fillers(self) -> list[str]:
        """The longest `minor` text per column, "" if there is none. Cells without `minor` leave this much room, so that
        digits line up."""
        return [max((row[i].minor for row in self.rows), key=len, default="") for i in range(len(self.columns))]


def fold_constant(table: Table) -> Table:
    """The table with every column of numbers that says the same in all of its rows as a line of the note instead."""
    if len(table.rows) < FOLDED:
        return table
    constant = [
        place
        for place, column in enumerate(table.columns)
        if place >= table.leading and column.numeric and _says_the_same([row[place] for row in table.rows])
    ]
    kept = [place for place in range(len(table.columns)) if place not in constant]
    if not constant or len(kept) == table.leading:
        return table
    said = []
    for place in constant:
        column, cell = table.columns[place], table.rows[0][place]
        said.append(" ".join(filter(None, (column.head, column.under, cell.text, cell.minor))))
    return replace(
        table,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        note=" ".join(filter(None, (table.note, f"The same in every row: {'; '.join(said)}."))),
    )


def _says_the_same(cells: Sequence[Cell]) -> bool:
    first = cells[0]
    known = first.number is not None or first.minor != ""
    return known and all((cell.text, cell.minor) == (first.text, first.minor) for cell in cells)


def number_in(text: str) -> float | None:
    """The number at the start of a text as `units` writes it, with its prefix or unit of time; None if there is none.

    >>> [number_in(text) for text in ("−0.8", "22,713,216 B", "1.5\xa0MB", "× 1.27", "3\xa0min\xa005\xa0s", "—")]
    [-0.8, 22713216.0, 1500000.0, 1.27, 185.0, None]
    """
    found = _NUMBER.match(text.replace(MINUS, "-").replace("\xa0", " "))
    if found is None:
        return None
    value, rest = float(found[1].replace(",", "")), text.replace("\xa0", " ")[found.end() :]
    clock = re.match(r" ?(min|h)(?: (\d+) (s|min))?", rest)
    if clock is not None:
        big = {"h": 3600.0, "min": 60.0}[clock[1]]
        return value * big + (float(clock[2]) * big / 60 if clock[2] else 0.0)
    unit = re.match(r" ?(ms\b|[kMGTPE](?=FLOP|B\b|\b))", rest)
    return value if unit is None else value * _SIZES[unit[1]]


_NUMBER = re.compile(r"(?:[×±†~<>≤≥] ?)?([-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)")
_SIZES = {"ms": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
DARKEST = 2.0
FOLDED = 3
"""From this number of rows on, a column that says the same in all of them becomes a line of the note."""


def anchor(panel: int, entry: int, task: int | None = None) -> str:
    """The id of the list of records behind a number."""
    return f"runs-{panel}-{entry}" + ("" if task is None else f"-{task}")


def split_wide(table: Table, most: int = 8) -> list[Table]:
    """Splits a table that is too wide for paper into several, each with the columns that name a row."""
    if len(table.columns) <= most:
        return [table]
    rest = list(range(table.leading, len(table.columns)))
    amount = -(-len(rest) // (most - table.leading))
    size = -(-len(rest) // amount)
    parts = []
    for part in range(amount):
        keep = [*range(table.leading), *rest[part * size : (part + 1) * size]]
        caption = table.caption + (f" ({part + 1} of {amount})")
        rows = tuple(tuple(row[i] for i in keep) for row in table.rows)
        note = table.note if part == amount - 1 else ""
        parts.append(Table(caption, tuple(table.columns[i] for i in keep), rows, note, table.lines, table.leading))
    return parts


def link_if_present(value: float | None, link: str) -> str:
    """The link of a number; empty if the number is missing."""
    return "" if value is None else link
