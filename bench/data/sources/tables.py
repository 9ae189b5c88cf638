"""A split's rows as a table, and the list of what is wrong with files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.errors import Mistakes

if TYPE_CHECKING:
    from pathlib import Path

Record = dict[str, object]
_NAMED_AT_ONCE = 3
_LONGEST = 1600


@dataclass
class Problems:
    """What is wrong, gathered so that all of it is reported together; the first three of a sort."""

    found: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def add(self, text: str, *sort: str) -> None:
        """Note a problem; those of one sort, such as a file and a kind of mistake, are reported at most three times."""
        if len(text) > _LONGEST:  # a name out of a damaged file can be as long as the file
            text = f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
        self.found.setdefault(sort or (text,), []).append(text)

    def raise_any(self) -> None:
        """Mistakes where anything was noted."""
        shown = [
            text
            for (where, *_), texts in self.found.items()
            for text in [*texts[:_NAMED_AT_ONCE], *_rest(where, len(texts))]
        ]
        if shown:
            raise Mistakes(shown)


@dataclass(frozen=True)
class Table:
    """The rows of a split: its columns in order, a record for each row, and the place of each to name in messages.

    `typed`: whether values have types; in CSV all are text. `class_names`: column -> names of its classes in label
    order, where the file's metadata gives them. `notes`: a sentence for each unusual thing about how it was read.
    """

    file: Path
    columns: tuple[str, ...]
    records: list[Record]
    places: list[str]
    typed: bool = True
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _rest(where: str, count: int) -> list[str]:
    more = count - _NAMED_AT_ONCE
    return [f"{where}: {more} more such row{'s' if more > 1 else ''}."] if more > 0 else []
