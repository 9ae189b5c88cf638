"""Many cells: what is recorded is taken, what is not runs, and each record is written as soon as its cell is done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from tunefront.bench.cells import Cell
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Progress, Silent, Work, inprocess, pool
from tunefront.bench.execution.identity import ingredients, key, label_of
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

__all__ = ["Outcome", "Progress", "ingredients", "key", "run_grid"]


@dataclass(frozen=True)
class Outcome:
    """What a grid came to: one record a cell in the cells' order (fewer when interrupted), and how many of which kind
    this call ran (`ran`), found (`reused`), and hold a failure or a skip. The records
    name tasks and backbones as the cells do."""

    records: tuple[Record, ...]
    ran: int
    reused: int
    failed: int
    skipped: int
    interrupted: bool


def run_grid(
    cells: Sequence[Cell], store: Store, workers: int = 1, progress: Progress | None = None, fork: bool = False
) -> Outcome:
    """Runs every cell that has no ok or skipped record yet; Ctrl-C stops cleanly with `interrupted` set.

    Args: workers, processes that run cells side by side (recorded as `concurrent_cells`), 1 for this one; fork,
    whether workers may be forked from this process: only where it has imported but never computed.
    Errors: Mistake where the store cannot be written or a task or backbone is gone, DiskFull.
    """
    store.prepare()
    progress = progress or Silent()
    keys = {key(cell): cell for cell in cells}
    labels = {name: label_of(cell.method) for name, cell in keys.items()}
    found = {name: record for name in keys if (record := store.read(name)) is not None}
    done = {name: record for name, record in found.items() if record.status != "failed"}
    works = [Work(cell, name, _attempts(found.get(name))) for name, cell in keys.items() if name not in done]
    progress.planned(len(keys), len(done))
    reused = len(done)
    if workers == 1 or not works:
        running = inprocess.run(works, store, progress)
    else:
        cuda = any(cell.config.device.startswith("cuda") for cell in cells)
        running = pool.run(works, store, progress, workers, "spawn" if cuda else "fork" if fork else "forkserver")
    with interruption.listening():
        try:
            with closing(running):
                for work, record in running:
                    done[work.key] = record
                    progress.finished(work.cell, record)
                    interruption.check()
        except BaseException as error:  # it may come out as another error: an import makes an ImportError of it
            if isinstance(error, KeyboardInterrupt):
                interruption.note()
            if not interruption.pending():
                raise
        interrupted = interruption.pending()
        interruption.answered()
    records = tuple(_named(done[name], cell, labels[name]) for name, cell in keys.items() if name in done)
    return Outcome(
        records=records,
        ran=len(done) - reused,
        reused=reused,
        failed=sum(record.status == "failed" for record in records),
        skipped=sum(record.status == "skipped" for record in records),
        interrupted=interrupted,
    )


def _named(record: Record, cell: Cell, label: str) -> Record:
    """A record under the names that were asked for: a folder or file may have gone by another when it was written."""
    names = {"task": cell.task, "backbone": cell.backbone, "method": cell.spelled, "label": label}
    return record.model_copy(update=names)


def _attempts(earlier: Record | None) -> tuple[str, ...]:
    return () if earlier is None else (*earlier.attempts, earlier.reason or "no reason recorded")
