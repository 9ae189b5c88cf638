"""The rows of a cell: trained on, chosen on and scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cells import Cell
from bench.draws import draw, eval_rows, selection
from bench.settings import RunConfig
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
    train, chosen_on, split, source = training_rows(task, cell.shots, cell.draw_seed, cell.config)
    return Rows(train, chosen_on, split, tuple(eval_rows(task, cell.config.eval_rows)), source)


def training_rows(
    task: Task, shots: int | None, draw_seed: int, config: RunConfig
) -> tuple[tuple[Row, ...], tuple[Row, ...], str | None, str | None]:
    """(rows to train on, rows to select with, the split these come from, the folder of a published draw)."""
    train, source = _drawn(task, shots, draw_seed, config)
    if not config.select:
        return tuple(train), (), None, source
    kept, chosen_on, split = selection(task, train, draw_seed)
    return tuple(kept), tuple(chosen_on), split, source


def _drawn(task: Task, shots: int | None, draw_seed: int, config: RunConfig) -> tuple[Sequence[Row], str | None]:
    if config.published_draws:
        return few_shot(task, shots, draw_seed)
    return draw(task, shots, draw_seed, config.balanced_draws), None


def published_fingerprint(cell: Cell, task: Task) -> str | None:
    """sha256 over the rows of a published draw, which are no part of the task's splits; None for draws by hash."""
    if not cell.config.published_draws:
        return None
    rows, source = few_shot(task, cell.shots, cell.draw_seed)
    content = [source, [[row.id, dict(row.fields), row.label] for row in rows]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
