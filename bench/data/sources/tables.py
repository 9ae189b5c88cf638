"""The rows of a split as a table, and the problems of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.advice import FOLDER, Advice
from tunefront.bench.errors import UserErrors

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.data.task import Task

Record = dict[str, object]
_NAMED_AT_ONCE = 3
_LONGEST = 1600


@dataclass
class Problems:
    """Collects problems, to report them together; at most three of a sort are shown. `advice` is what the messages
    tell the user to do."""

    found: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    advice: Advice = FOLDER

    def add(self, text: str, *sort: str) -> None:
        """Adds a problem; `sort`, such as a file and a kind of problem, groups those of which three are shown."""
        if len(text) > _LONGEST:  # a name from a damaged file can be as long as the file
            text = f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
        self.found.setdefault(sort or (text,), []).append(text)

    def raise_any(self) -> None:
        """Raises UserErrors if there are any problems."""
        shown = [
            text
            for (where, *_), texts in self.found.items()
            for text in [*texts[:_NAMED_AT_ONCE], *_rest(where, len(texts))]
        ]
        if shown:
            raise UserErrors(shown)


@dataclass(frozen=True)
class Layout:
    """What a file may hold in addition to the rows of one split, as objects or under a header.

    `whole`: a whole task, so that JSON may hold its splits, each a list, and rows may be lists; `header`: whether the
    first row of CSV, Excel and lists names the columns, None to find out from its values; `keeps_empty`: whether a row
    of CSV without any value is one.
    """

    whole: bool = False
    header: bool | None = True
    keeps_empty: bool = False


@dataclass(frozen=True)
class Table:
    """The rows of a split: its columns in order, one record per row, and each row's place for messages.

    `typed`: whether values have types; in CSV all are text. `class_names`: column -> class names in label order, if the
    file's metadata has them. `notes`: one sentence per unusual fact about reading the file.
    """

    file: Path
    columns: tuple[str, ...]
    records: list[Record]
    places: list[str]
    typed: bool = True
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """A task and the tables that it was read from, which also have the columns that are no input.

    `tables`: split -> its rows, those without a label or text left out; `label`, `id` and `group`: columns.
    """

    task: Task
    tables: Mapping[str, Table]
    label: str
    id: str | None = None
    group: str | None = None


def _rest(where: str, count: int) -> list[str]:
    more = count - _NAMED_AT_ONCE
    return [f"{where}: {more} more such row{'s' if more > 1 else ''}."] if more > 0 else []
