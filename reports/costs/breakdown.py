"""A ledger: the breakdown of one kind of cost in words, plots and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.reports.tables import Table


@dataclass(frozen=True)
class Ledger:
    """One ledger of a panel. `tag` is used in file names and identifies its plots; `short` is its result in a few words
    (may be empty); `text` are paragraphs that explain the numbers."""

    tag: str
    title: str
    short: str
    text: tuple[str, ...]
    tables: tuple[Table, ...]
