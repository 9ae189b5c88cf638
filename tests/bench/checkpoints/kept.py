"""Cells that ran and kept their checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunefront.bench.cells import Cell, kept
from tunefront.bench.data.sampling import eval_rows
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.task import Row
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store


def ran(cells: Sequence[Cell], folder: Path) -> tuple[Store, list[Record]]:
    """The store of cells that ran, with their checkpoints, and their records."""
    store = Store(folder)
    return store, list(run_grid(kept(cells), store).records)


def record_path(store: Store, record: Record) -> str:
    """The file of a record."""
    return f"{store.folder}/records/{record.key}.json"


def scored_rows(cell: Cell) -> tuple[Row, ...]:
    """The rows that a cell scored."""
    return eval_rows(load_task(cell.task), cell.config.eval_rows)
