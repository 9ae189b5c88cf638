"""A report's table in the terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rich import box
from rich import table as rich
from rich.measure import Measurement
from rich.text import Text

from reports.tables import chunked

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from reports.tables import Table


NARROWEST = 3
"""Columns that a part of a wide table has at least, its first among them."""


@dataclass(frozen=True)
class Fitted:
    """A table that is printed in parts, each with the first column, where the terminal is too narrow for it."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As few parts as fit."""
        for most in range(len(self.table.columns), NARROWEST - 1, -1):
            parts = [as_rich(replace(part, note="")) for part in chunked(self.table, most)]
            wide = options.update(max_width=10_000)
            if all(Measurement.get(console, wide, part).maximum <= options.max_width for part in parts):
                break
        yield from parts
        if self.table.note:
            yield Text(f"{self.table.note}\n", style="dim")


def as_rich(table: Table) -> rich.Table:
    """The table for a rich console: its caption above, its note below, a line before each part. Names stay text."""
    note = Text(table.note, style="dim") if table.note else None
    found = rich.Table(title=Text(table.caption, style="bold"), caption=note, box=box.SIMPLE_HEAD, pad_edge=False)
    found.title_justify = found.caption_justify = "left"
    for column in table.columns:
        side: Literal["left", "right"] = "right" if column.numeric else "left"
        head = Text(f"{column.head}\n{column.under}" if column.under else column.head)
        found.add_column(head, justify=side, no_wrap=True)
    for number, row in enumerate(table.rows):
        if number and number in table.lines:
            found.add_section()
        found.add_row(*(Text(f"{cell.text} {cell.minor}" if cell.minor else cell.text) for cell in row))
    return found
