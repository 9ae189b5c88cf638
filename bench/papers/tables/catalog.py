"""Papers' tables of adaptation costs, compared with our computations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tunefront.bench.papers.reading import known_papers, paper_data
from tunefront.bench.papers.tables.table import WHY, PaperTable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@functools.cache
def paper_tables(name: str) -> tuple[PaperTable, ...]:
    """The paper's tables: printed figures, results of its rules, our counts, and explanations of differences.

    Errors: UserError for an unknown paper.
    """
    data = paper_data(name)
    return _kinds()[data["kind"]](data)


def print_paper(name: str, console: Console) -> None:
    """Prints the paper's name and the tables of `paper_tables`; same errors."""
    from rich.text import Text

    tables = paper_tables(name)  # first, so that an unknown name prints nothing
    console.print(Text(known_papers()[name]), soft_wrap=True)
    for table in tables:
        console.print()
        console.print(Text(table.title, style="bold"))
        console.print(as_table(table))
        console.print(Text("\n".join((*_numbered(table), *table.notes)), style="dim"))


def as_json(name: str) -> dict[str, Any]:  # Any: what json.dumps takes
    """The paper's name and the tables of `paper_tables`; same errors."""
    tables = [asdict(table) for table in paper_tables(name)]
    return {"paper": known_papers()[name], "tables": tables}


def as_table(table: PaperTable) -> Table:
    """The table for a terminal of 80 columns: reasons become numbered notes below it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for place, column in enumerate(table.columns):
        head = "" if column == WHY else _in_two_lines(column)
        cells = ["(0)" if column == WHY else _kept_together(row[place]) for row in table.rows]
        longest = max(len(word) for cell in (head, *cells) for word in cell.split() or [""])  # do not break words
        drawn.add_column(Text(head), justify="right" if place else "left", min_width=longest)
    numbers = {reason: f"({number})" for number, reason in enumerate(_reasons(table), 1)}
    for row in table.rows:
        named = zip(table.columns, row, strict=True)
        shown = (numbers.get(cell, "") if column == WHY else _kept_together(cell) for column, cell in named)
        drawn.add_row(*map(Text, shown))
    return drawn


def _reasons(table: PaperTable) -> list[str]:
    """The distinct explanations in the last column."""
    place = table.columns.index(WHY) if WHY in table.columns else None
    return list(dict.fromkeys(row[place] for row in table.rows if row[place])) if place is not None else []


def _numbered(table: PaperTable) -> list[str]:
    return [f"({number}) {reason[:1].upper()}{reason[1:]}." for number, reason in enumerate(_reasons(table), 1)]


def _kept_together(cell: str) -> str:
    """Joins a number and its unit, since rich breaks at non-breaking spaces too."""
    return cell.replace(" %", "%")


def _in_two_lines(head: str) -> str:
    """Breaks a header at the space that gives the narrowest lines."""
    spaces = [place for place, letter in enumerate(head) if letter == " "]
    if len(head) < 8 or not spaces:
        return head
    place = min(spaces, key=lambda space: max(space, len(head) - space))
    return f"{head[:place]}\n{head[place + 1 :]}"


def _kinds() -> Mapping[str, Callable[[Mapping[str, Any]], tuple[PaperTable, ...]]]:  # Any: as in `paper_data`
    """The table builder for each kind of file; imported late, since they import torch."""
    from tunefront.bench.papers.conformance.practice import practice_from
    from tunefront.bench.papers.tables.cost_tables import cost_tables
    from tunefront.bench.papers.tables.methods import method_table
    from tunefront.bench.papers.tables.sizes import size_tables

    return {
        "costs": lambda data: (*cost_tables(data), method_table(practice_from(data["practice"]))),
        "sizes": size_tables,
    }
