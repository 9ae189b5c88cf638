"""A ledger: what one kind of cost is made of, in words, plots and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.reports.tables import Table


@dataclass(frozen=True)
class Ledger:
    """One ledger of a panel. `tag` is fit for file names and tells which plots are its own; `short` is what it comes
    to, in a few words (empty where there is nothing to say); `text` what its numbers mean, a paragraph each."""

    tag: str
    title: str
    short: str
    text: tuple[str, ...]
    tables: tuple[Table, ...]
