"""Papers' own tables of what adapting costs, beside what this suite computes."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from bench.errors import Mistake, unknown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class PaperTable:
    """A table as it is printed; `notes` are paragraphs below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def known_papers() -> dict[str, str]:
    """The papers whose tables can be checked: name -> the first line of the comment in its file."""
    shipped = sorted(files("bench.forecast").joinpath("papers").iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8").splitlines()[0].lstrip("# ")
        for file in shipped
        if file.name.endswith(".toml")
    }


def paper_data(name: str) -> dict[str, Any]:  # Any: each kind of table has a file of its own shape
    """What the paper prints and counts with; Mistake with the nearest name for a paper that is not there."""
    if name not in known_papers():
        raise Mistake(unknown("paper", name, known_papers()))
    return tomllib.loads(files("bench.forecast").joinpath("papers", f"{name}.toml").read_text("utf-8"))


@functools.cache
def paper_tables(name: str) -> tuple[PaperTable, ...]:
    """The paper's tables: what it prints, what its rules give, what this suite counts, and why they differ.

    Errors: Mistake for an unknown paper.
    """
    data = paper_data(name)
    return _kinds()[data["kind"]](data)


def print_paper(name: str, console: Console) -> None:
    """Prints the paper's name and the tables of `paper_tables`; errors as there."""
    from rich.text import Text

    tables = paper_tables(name)  # first: a wrong name prints nothing
    console.print(Text(known_papers()[name]), soft_wrap=True)
    for table in tables:
        console.print()
        console.print(as_table(table))


def as_table(table: PaperTable) -> Table:
    """The table for a person, its notes below."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    notes = Text("\n".join(table.notes))
    drawn = Table(
        title=Text(table.title),
        title_justify="left",
        box=box.SIMPLE,
        caption=notes if table.notes else None,
        caption_justify="left",
        pad_edge=False,
    )
    for place, column in enumerate(table.columns):
        prose = place == 0 or column == "why"
        drawn.add_column(column, overflow="fold", justify="left" if prose else "right", no_wrap=place == 0)
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn


def prints_as(value: float, printed: str) -> bool:
    """Whether a number is the printed one to its last digit.

    >>> prints_as(1.17, "1.2"), prints_as(1.44e15, "1.4e15"), prints_as(5.5e13, "5.4e13")
    (True, True, False)
    """
    mantissa, exponent, _ = printed.partition("e")
    digits = len(mantissa.partition(".")[2])
    return float(f"{value:.{digits}{exponent or 'f'}}") == float(printed)


def _kinds() -> Mapping[str, Callable[[Mapping[str, Any]], tuple[PaperTable, ...]]]:  # Any: as in `paper_data`
    """What makes the tables of each kind of file; imported late, for they import torch."""
    from bench.forecast.paper_cost_tables import cost_tables
    from bench.forecast.paper_sizes import size_tables

    return {"costs": cost_tables, "sizes": size_tables}
