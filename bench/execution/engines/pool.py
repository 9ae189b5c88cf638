"""Runs cells in persistent worker processes, which end when their parent ends."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import time
import types
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any

from tunefront.bench.cells import Cell
from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Progress, Work
from tunefront.bench.execution.engines.claim import write_claimed
from tunefront.bench.execution.engines.inprocess import BUSY_SECONDS
from tunefront.bench.execution.engines.worker import CellMessage, serve
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

log = logging.getLogger("tunefront")

PRELOAD = ["tunefront.bench.execution.run_cell", "transformers.models.bert.modeling_bert"]


END_SECONDS = 5.0
"""Seconds that a worker has to end before it is killed."""
END_POLL_SECONDS = 0.005


@dataclass
class Worker:
    """A worker process, the pipe to it, and the cell that it runs."""

    process: Any  # Any: multiprocessing's process classes differ by context
    connection: Connection
    work: Work | None = None
    used: bool = False  # by a cell that must be the last of its process
    kinds: set[tuple[str, str, str]] = field(default_factory=set)

    def take(self, work: Work) -> bool:
        """Sends a cell to the worker; False if the worker has died since its last message."""
        try:
            self.connection.send((CellMessage.of(work.cell), work.identity, work.attempts))
        except OSError:
            return False
        self.work = work
        self.kinds.add(_kind(work))
        return True

    def end(self) -> None:
        """Waits for the process to end, then kills it if it still runs. It does not use `join`, which also waits for
        processes that the worker forked."""
        deadline = time.monotonic() + END_SECONDS
        while self.process.is_alive():
            if time.monotonic() > deadline:
                self.process.kill()
            time.sleep(END_POLL_SECONDS)


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
    pool: Pool | None = None
    try:
        with interruption.deferred():  # until a started worker is in the list of workers to be ended
            pool = Pool(store, min(workers, len(works)), workers, start_method)
        while waiting or later or any(worker.work for worker in pool.workers):
            interruption.check()
            now = time.monotonic()
            waiting.extend(work for due, work in later if due <= now)
            later = [(due, work) for due, work in later if due > now]
            for worker in [worker for worker in pool.workers if worker.used and worker.work is None]:
                pool.retire(worker, replace=bool(waiting or later))
            for worker in pool.workers:
                if worker.work is None and waiting:
                    index = next_cell(waiting, worker, pool.workers)
                    if worker.take(waiting[index]):
                        progress.started(waiting[index].cell)
                        del waiting[index]
            for worker, message in pool.messages(BUSY_SECONDS):
                work = worker.work
                if work is None:
                    continue
                kind, *content = message
                if kind == "step":
                    progress.step(work.cell, *content)
                    continue
                worker.work = None
                worker.used = worker.used or alone(work.cell)
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


def next_cell(waiting: Sequence[Work], worker: Worker, workers: Sequence[Worker]) -> int:
    """The index of the first cell whose kind no other worker has run (another seed is the same kind), else 0: counts
    that each process makes once per method and task are then made only once."""
    others = {kind for other in workers if other is not worker for kind in other.kinds - worker.kinds}
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


def _death(exit_code: int) -> str:
    names = {int(number): number.name for number in signal.Signals}
    cause = f"signal {names.get(-exit_code, -exit_code)}" if exit_code < 0 else f"exit {exit_code}"
    hint = "; the machine may have run out of memory, use fewer --workers" if exit_code == -signal.SIGKILL else ""
    return f"the worker process died ({cause}){hint}"


class Pool:
    """Persistent workers with a pipe each, and a lifeline pipe that closes when the parent ends."""

    def __init__(self, store: Store, size: int, concurrent_cells: int, start_method: str):
        self._context: BaseContext = multiprocessing.get_context(start_method)
        if start_method != "fork":
            resource_tracker.ensure_running()  # starting it later would unblock signals in a worker that is not ready
        if start_method == "forkserver":
            self._context.set_forkserver_preload(PRELOAD)
        self._store, self._concurrent_cells = store, concurrent_cells
        self._lifeline, self._lifeline_end = self._context.Pipe(duplex=False)
        self.workers: list[Worker] = []
        while len(self.workers) < size and self._add():
            pass

    def messages(self, timeout: float) -> Iterator[tuple[Worker, tuple[Any, ...]]]:
        """Received messages; a dead worker gives ("died", reason) and is replaced."""
        ready = wait([worker.connection for worker in self.workers], timeout)
        for worker in list(self.workers):
            if worker.connection not in ready:
                continue
            try:
                message = worker.connection.recv()
            except Exception:  # end of the pipe, or garbage that a method wrote to it
                message = self._died(worker)
            yield worker, message
        for worker in list(self.workers):  # a process that a method started may keep the pipe open
            if worker.connection not in ready and not worker.process.is_alive() and not worker.connection.poll():
                yield worker, self._died(worker)

    def retire(self, worker: Worker, replace: bool) -> None:
        """Ends a worker between two cells; `replace` starts another one."""
        with interruption.deferred():
            self.workers.remove(worker)
            worker.connection.close()
            worker.end()
            if replace:
                self._add()

    def _died(self, worker: Worker) -> tuple[str, str]:
        with interruption.deferred():
            self.workers.remove(worker)
            worker.connection.close()
            worker.end()
            self._add()
        return "died", _death(worker.process.exitcode)

    def stop(self) -> None:
        """Ends all workers at once; cells without a record run again next time."""
        for worker in self.workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.end()
        self._lifeline_end.close()
        self._lifeline.close()

    def _add(self) -> bool:
        """Starts another worker; False, with a warning, if no more can be started, and UserError if there is none at
        all."""
        try:
            self.workers.append(self._start())
        except OSError as error:  # no more processes, files or memory
            reason = error.strerror or error
            if not self.workers:
                raise UserError(
                    f"no worker process could be started ({reason}); use --workers 1, or raise the limit (see "
                    "`ulimit -a`). Finished records are kept: repeat the command to continue."
                ) from error
            log.warning("only %d worker(s) could be started (%s)", len(self.workers), reason)
            return False
        return True

    def _start(self) -> Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._lifeline, self._lifeline_end, self._store.location, self._concurrent_cells)
        process = self._context.Process(target=serve, args=arguments, daemon=True)  # type: ignore[attr-defined]
        with interruption.blocked(), _without_main(self._concurrent_cells == 1):
            process.start()
        theirs.close()
        return Worker(process, ours)


@contextmanager
def _without_main(wanted: bool) -> Iterator[None]:
    """If `wanted`, processes that the block spawns do not import the running script: with one worker it needs no
    `if __name__ == "__main__":`."""
    main = sys.modules["__main__"]
    if wanted:
        sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
