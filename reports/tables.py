"""Tables as data, independent of the output format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell. `minor` follows in smaller type (a spread); `title` is exact, `link` the id of its records."""

    text: str
    minor: str = ""
    title: str = ""
    link: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """A column: its head, a second line in smaller type, and whether it contains numbers."""

    head: str
    under: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with its caption and a note below. `lines` are the indices of rows that start a new part. The first
    `leading` columns name a row and are repeated in every part of a table that is too wide for paper."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    lines: tuple[int, ...] = ()
    leading: int = 1

    @property
    def fillers(self) -> list[str]:
        """The longest `minor` text per column, "" if there is none. Cells without `minor` leave this much room, so that
        digits line up."""
        return [max((row[i].minor for row in self.rows), key=len, default="") for i in range(len(self.columns))]


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
