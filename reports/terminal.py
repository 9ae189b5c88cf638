"""A report's table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich import box
from rich import table as rich
from rich.text import Text

if TYPE_CHECKING:
    from reports.tables import Table


def as_rich(table: Table) -> rich.Table:
    """The table for a rich console: its caption above, its note below, a line before each part. Names stay text."""
    note = Text(table.note, style="dim") if table.note else None
    found = rich.Table(title=Text(table.caption, style="bold"), caption=note, box=box.SIMPLE_HEAD, pad_edge=False)
    found.title_justify = found.caption_justify = "left"
    for column in table.columns:
        side: Literal["left", "right"] = "right" if column.numeric else "left"
        found.add_column(Text(f"{column.head}\n{column.under}" if column.under else column.head), justify=side)
    for number, row in enumerate(table.rows):
        if number and number in table.lines:
            found.add_section()
        found.add_row(*(Text(f"{cell.text} {cell.minor}" if cell.minor else cell.text) for cell in row))
    return found
