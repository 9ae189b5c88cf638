"""Runs cells on this machine: one at a time in this process, or several in worker processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from tunefront.bench.cells import Cell
from tunefront.bench.execution.engines import Engine, Progress, Work, inprocess, is_users_own, on_cuda, pool
from tunefront.bench.files import is_memory
from tunefront.bench.models.session import Session
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store


@dataclass(frozen=True)
class Local:
    """The engine of one machine.

    Args: workers, the number of parallel processes (recorded as `concurrent_cells`); 1 means this process, which also
    runs all cells of a store in memory; fork, whether workers may be forked from this process, only if it has imported
    but never computed; alone, says which cells must be the last of their process, so that neither a patched library
    nor a killed process affects other cells: with one worker they run first, each in a separate process, and the
    others in this process; session, the objects that this process caches between calls.
    """

    workers: int = 1
    fork: bool = False
    alone: Callable[[Cell], bool] = is_users_own
    session: Session = field(default_factory=Session)

    def run(
        self, works: Sequence[Work], store: Store, progress: Progress
    ) -> Generator[tuple[Work, Record], None, None]:
        """Yields each cell's record once it is written. Cells of the same backbone run together, otherwise in their
        order."""
        works = _by_backbone(works)
        if is_memory(store.location):  # a worker process would have its own copy
            return inprocess.run(works, store, progress, self.session)
        start_method = "spawn" if on_cuda(work.cell for work in works) else "fork" if self.fork else "forkserver"
        if self.workers == 1 or not works:
            return self._one_at_a_time(works, store, progress, start_method)
        return pool.run(works, store, progress, self.workers, start_method, self.alone)

    def kept(self) -> AbstractContextManager[Engine]:
        """This engine: nothing of it takes long to start."""
        return nullcontext(self)

    def after_computing(self) -> Engine:
        """This engine for a process that has computed, which must not be forked."""
        return replace(self, fork=False)

    def _one_at_a_time(
        self, works: Sequence[Work], store: Store, progress: Progress, start_method: str
    ) -> Generator[tuple[Work, Record], None, None]:
        """Runs cells that need a separate process first: they can be forked while this process has not computed yet."""
        separate = [work for work in works if self.alone(work.cell)]
        if separate:
            yield from pool.run(separate, store, progress, 1, start_method, self.alone)
        yield from inprocess.run([work for work in works if not self.alone(work.cell)], store, progress, self.session)


def _by_backbone(works: Sequence[Work]) -> list[Work]:
    """Sorts by backbone, in order of first occurrence: each is read once, although only one is kept at a time."""
    order = {name: index for index, name in enumerate(dict.fromkeys(work.cell.backbone for work in works))}
    return sorted(works, key=lambda work: order[work.cell.backbone])
