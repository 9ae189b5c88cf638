"""The rows of a cell: trained on, chosen on and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.cells import Cell
from bench.draws import draw, eval_rows, selection
from bench.sources.folder import few_shot
from bench.tasks import Row, Task


@dataclass(frozen=True)
class Rows:
    """A cell's rows: what it trains on, chooses on (none: null) and is scored on; `source`, the folder of published
    draws that the first come from."""

    train: tuple[Row, ...]
    selection: tuple[Row, ...]
    selection_split: str | None
    test: tuple[Row, ...]
    source: str | None = None


def rows_of(cell: Cell, task: Task) -> Rows:
    """A cell's rows: drawn by hash, or from the task folder's published files. Errors: Mistake where there are none."""
    train, source = _drawn(cell, task)
    chosen_on: Sequence[Row] = ()
    split = None
    if cell.config.select:
        train, chosen_on, split = selection(task, train, cell.draw_seed)
    return Rows(tuple(train), tuple(chosen_on), split, tuple(eval_rows(task, cell.config.eval_rows)), source)


def _drawn(cell: Cell, task: Task) -> tuple[Sequence[Row], str | None]:
    """The training rows, and the folder of published files that they come from."""
    if not cell.config.published_draws:
        return draw(task, cell.shots, cell.draw_seed), None
    return few_shot(task, cell.shots, cell.draw_seed)
