"""Runs cells in kept worker processes, which end themselves when the parent goes."""

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
from tunefront.bench.execution.engines.claim import recorded
from tunefront.bench.execution.engines.inprocess import BUSY_SECONDS
from tunefront.bench.execution.engines.worker import CellMessage, serve
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

log = logging.getLogger("tunefront")

PRELOAD = ["tunefront.bench.execution.run_cell", "transformers.models.bert.modeling_bert"]


END_SECONDS = 5.0
"""How long a worker that is to end may take before it is killed."""
END_POLL_SECONDS = 0.005


@dataclass
class _Worker:
    process: Any  # Any: multiprocessing's process classes differ by context
    connection: Connection
    work: Work | None = None
    used: bool = False  # by a cell after which no other may run here
    kinds: set[tuple[str, str, str]] = field(default_factory=set)

    def take(self, work: Work) -> bool:
        """Whether the worker has the cell now; False where it has died since its last message."""
        try:
            self.connection.send((CellMessage.of(work.cell), work.identity, work.attempts))
        except OSError:
            return False
        self.work = work
        self.kinds.add(_kind(work))
        return True

    def end(self) -> None:
        """Waits for the process's end, and kills one that goes on. The process itself is asked: `join` waits for what
        it forked too."""
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

    start_method: `fork` is quickest and only for a parent that has imported but never computed (a fork after a
    multi-threaded matrix product deadlocks); `forkserver` for any other parent; `spawn` for CUDA.
    A worker that dies costs its cell, which is recorded as failed, and is replaced. One that has run a cell which runs
    `alone` ends after it.
    """
    if start_method == "fork":
        _import_once(works)
    waiting: deque[Work] = deque(works)
    later: list[tuple[float, Work]] = []  # held by another process: ask again then
    pool: _Pool | None = None
    try:
        with interruption.held():  # nothing may come between a worker's start and its place among those to be ended
            pool = _Pool(store, min(workers, len(works)), workers, start_method)
        while waiting or later or any(worker.work for worker in pool.workers):
            interruption.check()
            now = time.monotonic()
            waiting.extend(work for due, work in later if due <= now)
            later = [(due, work) for due, work in later if due > now]
            for worker in [worker for worker in pool.workers if worker.used and worker.work is None]:
                pool.retire(worker, replace=bool(waiting or later))
            for worker in pool.workers:
                if worker.work is None and waiting:
                    place = _next(waiting, worker, pool.workers)
                    if worker.take(waiting[place]):
                        progress.started(waiting[place].cell)
                        del waiting[place]
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
                    record = content[0] if kind == "finished" else _lost(work, store, content[0], workers)
                    if record is None:
                        later.append((time.monotonic() + BUSY_SECONDS, work))
                    else:
                        yield work, record
    finally:
        with interruption.held():
            if pool is not None:
                pool.stop()


def _kind(work: Work) -> tuple[str, str, str]:
    return work.cell.spelled, work.cell.backbone, work.cell.task


def _next(waiting: Sequence[Work], worker: _Worker, workers: Sequence[_Worker]) -> int:
    """The place of the first cell that no other worker ran a sister of (another seed, say), else of the first: what is
    counted once per method and task in each process is so counted once in all."""
    others = {kind for other in workers if other is not worker for kind in other.kinds - worker.kinds}
    return next((place for place, work in enumerate(waiting) if _kind(work) not in others), 0)


def _import_once(works: Sequence[Work]) -> None:
    """Imports, in the parent, all that the workers need: they are forked with it, and start at once."""
    import tunefront.bench.data.metric_classes
    import tunefront.bench.execution.run_cell  # noqa: F401
    from tunefront.bench.models.config import import_code

    for name in {work.cell.backbone for work in works}:
        import_code(name)


def _lost(work: Work, store: Store, reason: str, concurrent: int) -> Record | None:
    """The failed record, written here, of a cell that a worker process could not write; what it or another process had
    finished is taken as it is. None where another process holds the cell now."""
    from tunefront.bench.execution.run_cell import failed

    return recorded(work, store, lambda: (failed(work.cell, work.identity, reason, concurrent), None))


def _death(exit_code: int) -> str:
    known = {int(number): number.name for number in signal.Signals}
    killed = f"signal {known.get(-exit_code, -exit_code)}" if exit_code < 0 else f"exit {exit_code}"
    hint = "; the machine may have run out of memory, use fewer --workers" if exit_code == -signal.SIGKILL else ""
    return f"the worker process died ({killed}){hint}"


class _Pool:
    """Kept workers, a pipe each, and one lifeline pipe whose closing tells them all that the parent is gone."""

    def __init__(self, store: Store, size: int, concurrent_cells: int, start_method: str):
        self._context: BaseContext = multiprocessing.get_context(start_method)
        if start_method != "fork":
            resource_tracker.ensure_running()  # its start would let signals through to a worker that is not ready
        if start_method == "forkserver":
            self._context.set_forkserver_preload(PRELOAD)
        self._store, self._concurrent_cells = store, concurrent_cells
        self._lifeline, self._held = self._context.Pipe(duplex=False)
        self.workers: list[_Worker] = []
        while len(self.workers) < size and self._add():
            pass

    def messages(self, timeout: float) -> Iterator[tuple[_Worker, tuple[Any, ...]]]:
        """Messages that have come; a dead worker's is ("died", reason), and another takes its place."""
        ready = wait([worker.connection for worker in self.workers], timeout)
        for worker in list(self.workers):
            if worker.connection not in ready:
                continue
            try:
                message = worker.connection.recv()
            except Exception:  # its end; or half a message, whatever a method wrote into the pipe
                message = self._died(worker)
            yield worker, message
        for worker in list(self.workers):  # whose pipe a process holds open that a method started
            if worker.connection not in ready and not worker.process.is_alive() and not worker.connection.poll():
                yield worker, self._died(worker)

    def retire(self, worker: _Worker, replace: bool) -> None:
        """Ends a worker between two cells; another takes its place where there is work for it."""
        with interruption.held():
            self.workers.remove(worker)
            worker.connection.close()
            worker.end()
            if replace:
                self._add()

    def _died(self, worker: _Worker) -> tuple[str, str]:
        with interruption.held():
            self.workers.remove(worker)
            worker.connection.close()
            worker.end()
            self._add()
        return "died", _death(worker.process.exitcode)

    def stop(self) -> None:
        """Ends all workers at once; what they had not recorded runs again next time."""
        for worker in self.workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.end()
        self._held.close()
        self._lifeline.close()

    def _add(self) -> bool:
        """Starts another worker; False, with a warning, where there is no room for more than those there are, and
        UserError where there is none."""
        try:
            self.workers.append(self._start())
        except OSError as error:  # no more processes, files or memory
            reason = error.strerror or error
            if not self.workers:
                raise UserError(
                    f"no worker process could be started ({reason}); give --workers 1, or raise the limit (see "
                    "`ulimit -a`). What is recorded stays: the same command goes on."
                ) from error
            log.warning("no more than %d worker(s) could be started (%s)", len(self.workers), reason)
            return False
        return True

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._lifeline, self._held, self._store.location, self._concurrent_cells)
        process = self._context.Process(target=serve, args=arguments, daemon=True)  # type: ignore[attr-defined]
        with interruption.blocked(), _main_left_alone(self._concurrent_cells == 1):
            process.start()
        theirs.close()
        return _Worker(process, ours)


@contextmanager
def _main_left_alone(wanted: bool) -> Iterator[None]:
    """Where wanted, processes that the block spawns do not import the script that runs: with one worker its call needs
    no `if __name__ == "__main__":`."""
    main = sys.modules["__main__"]
    if wanted:
        sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
