"""Runs cells in persistent worker processes, which end when their parent ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence

from tunefront.bench.cells import Cell
from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Progress, Work
from tunefront.bench.execution.engines.claim import write_claimed
from tunefront.bench.execution.engines.inprocess import BUSY_SECONDS
from tunefront.bench.execution.engines.processes import PRELOAD, Pool, Worker
from tunefront.bench.execution.engines.worker import CellMessage, CellRunner, serve
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store


def run(
    works: Sequence[Work],
    store: Store,
    progress: Progress,
    workers: int,
    start_method: str,
    alone: Callable[[Cell], bool] = lambda cell: False,
) -> Generator[tuple[Work, Record], None, None]:
    """Yields each cell's record once it is written.

    start_method: `fork` is fastest, but only for a parent that has imported but never computed (a fork after a
    multi-threaded matrix product deadlocks); `forkserver` for any other parent; `spawn` for CUDA.
    If a worker dies, its cell is recorded as failed and the worker is replaced. A worker ends after a cell that must
    run `alone`.
    """
    if start_method == "fork":
        _import_once(works)
    waiting: deque[Work] = deque(works)
    later: list[tuple[float, Work]] = []  # cells that another process holds, with the time of the next try
    pool: Pool[Work] | None = None
    try:
        with interruption.deferred():  # until a started worker is in the list of workers to be ended
            arguments = (CellRunner, store.location, workers)
            pool = Pool(serve, arguments, min(workers, len(works)), start_method, PRELOAD, without_main=workers == 1)
        while waiting or later or any(worker.item for worker in pool.workers):
            interruption.check()
            now = time.monotonic()
            waiting.extend(work for due, work in later if due <= now)
            later = [(due, work) for due, work in later if due > now]
            for worker in [worker for worker in pool.workers if worker.item is None and worker.items]:
                if alone(worker.items[-1].cell):
                    pool.retire(worker, replace=bool(waiting or later))
            for worker in pool.workers:
                if worker.item is None and waiting:
                    index = next_cell(waiting, worker, pool.workers)
                    work = waiting[index]
                    if worker.send(work, (CellMessage.of(work.cell), work.identity, work.attempts)):
                        progress.started(work.cell)
                        del waiting[index]
            for worker, message in pool.messages(BUSY_SECONDS):
                if worker.item is None:
                    continue
                work = worker.item
                kind, *content = message
                if kind == "step":
                    progress.step(work.cell, *content)
                    continue
                worker.item = None
                if kind == "busy":
                    later.append((time.monotonic() + BUSY_SECONDS, work))
                elif kind == "disk full":
                    raise DiskFull(content[0])
                elif kind == "mistake":
                    raise UserError(content[0])
                else:
                    record = content[0] if kind == "finished" else record_failure(work, store, content[0], workers)
                    if record is None:
                        later.append((time.monotonic() + BUSY_SECONDS, work))
                    else:
                        yield work, record
    finally:
        with interruption.deferred():
            if pool is not None:
                pool.stop()


def _kind(work: Work) -> tuple[str, str, str]:
    return work.cell.spelled, work.cell.backbone, work.cell.task


def next_cell(waiting: Sequence[Work], worker: Worker[Work], workers: Sequence[Worker[Work]]) -> int:
    """The index of the first cell whose kind no other worker has run (another seed is the same kind), else 0: counts
    that each process makes once per method and task are then made only once."""
    own = set(map(_kind, worker.items))
    others = {_kind(work) for other in workers if other is not worker for work in other.items} - own
    return next((index for index, work in enumerate(waiting) if _kind(work) not in others), 0)


def _import_once(works: Sequence[Work]) -> None:
    """Imports all that the workers need in the parent: workers forked from it start at once."""
    import tunefront.bench.data.metric_classes
    import tunefront.bench.execution.run_cell  # noqa: F401
    from tunefront.bench.models.config import import_code

    for name in {work.cell.backbone for work in works}:
        import_code(name)


def record_failure(work: Work, store: Store, reason: str, concurrent: int) -> Record | None:
    """Writes the failed record of a cell whose worker could not write one; a record that it or another process has
    finished is returned instead. None if another process holds the cell now."""
    from tunefront.bench.execution.run_cell import failed_record

    return write_claimed(work, store, lambda: (failed_record(work.cell, work.identity, reason, concurrent), None))
