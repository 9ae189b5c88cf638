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
"""Least width of a column of texts if they are wrapped, in characters."""
NARROWEST = 3
"""Least number of columns in a part of a wide table, including the first."""


@dataclass(frozen=True)
class Fitted:
    """A table that is printed in parts, each with the first column, if the terminal is too narrow."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Prints as few parts as possible. Texts are wrapped between words if that avoids parts."""
        for part in self._parts(console, options.update(max_width=10_000), options.max_width):
            yield Text(part.title, style="bold")  # a table's own title would wrap at the table's width
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
    """The table for a rich console: its caption above, its note below, a line before each part.

    Names are not interpreted as markup. `broken`: long texts may wrap between words.
    """
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
    """A cell's text with terminal control characters escaped, so that its width is the visible width."""
    return printable(f"{cell.text} {cell.minor}" if cell.minor else cell.text)


def _width(table: Table, place: int) -> int:
    """The least width of a column. Numbers are never wrapped."""
    column = table.columns[place]
    cells = (_cell_text(row[place]) for row in table.rows)
    longest = max(map(cell_len, (column.head, column.under, *cells)))
    return longest if column.numeric else min(TEXT, longest)
