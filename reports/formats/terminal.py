"""A report's table in the terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rich import box
from rich import table as rich
from rich.cells import cell_len
from rich.measure import Measurement
from rich.text import Text

from tunefront.bench.errors import printable
from tunefront.reports.tables import split_wide

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from tunefront.reports.tables import Cell, Table


TEXT = 24
"""Characters that a column of texts keeps at least where these are broken."""
NARROWEST = 3
"""Columns that a part of a wide table has at least, its first among them."""


@dataclass(frozen=True)
class Fitted:
    """A table that is printed in parts, each with the first column, where the terminal is too narrow for it."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As few parts as fit; texts are broken between words where that alone saves a table from it."""
        for part in self._parts(console, options.update(max_width=10_000), options.max_width):
            yield Text(part.title, style="bold")  # as a table's title it would be broken at the table's own width
            yield part.drawn
        if self.table.note:
            yield Text(f"{self.table.note}\n", style="dim")

    def _parts(self, console: Console, wide: ConsoleOptions, width: int) -> list[_Part]:
        def fit(parts: list[_Part], broken: bool) -> bool:
            measurements = [Measurement.get(console, wide, part.drawn) for part in parts]
            return all(
                (measurement.minimum if broken else measurement.maximum) <= width for measurement in measurements
            )

        columns = len(self.table.columns)
        whole, broken = _parts(self.table, columns, False), _parts(self.table, columns, True)
        if fit(whole, False):
            return whole
        if fit(broken, True):
            return broken
        for most in range(columns - 1, NARROWEST - 1, -1):
            if fit(parts := _parts(self.table, most, False), False):
                return parts
        return _parts(self.table, NARROWEST, True)


@dataclass(frozen=True)
class _Part:
    title: str
    drawn: rich.Table


def _parts(table: Table, most: int, broken: bool) -> list[_Part]:
    return [
        _Part(part.caption, as_rich(replace(part, caption="", note=""), broken)) for part in split_wide(table, most)
    ]


def as_rich(table: Table, broken: bool = False) -> rich.Table:
    """The table for a rich console: its caption above, its note below, a line before each part. Names stay text, and
    long ones may be `broken` between words."""
    note = Text(table.note, style="dim") if table.note else None
    title = Text(table.caption, style="bold") if table.caption else None
    drawn = rich.Table(title=title, caption=note, box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.title_justify = drawn.caption_justify = "left"
    for place, column in enumerate(table.columns):
        side: Literal["left", "right"] = "right" if column.numeric else "left"
        head = Text(f"{column.head}\n{column.under}" if column.under else column.head)
        drawn.add_column(head, justify=side, no_wrap=column.numeric or not broken, min_width=_width(table, place))
    for number, row in enumerate(table.rows):
        if number and number in table.lines:
            drawn.add_section()
        drawn.add_row(*(Text(_cell_text(cell)) for cell in row))
    return drawn


def _cell_text(cell: Cell) -> str:
    """A cell's text, with all that a terminal would act on written out: its width is then what is seen."""
    return printable(f"{cell.text} {cell.minor}" if cell.minor else cell.text)


def _width(table: Table, place: int) -> int:
    """The least width of a column: numbers are never broken."""
    column = table.columns[place]
    cells = (_cell_text(row[place]) for row in table.rows)
    longest = max(map(cell_len, (column.head, column.under, *cells)))
    return longest if column.numeric else min(TEXT, longest)
