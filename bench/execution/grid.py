"""Runs a grid of cells: reuses existing records, runs the other cells, writes each record as soon as its cell ends."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tunefront.bench.cells import Cell
from tunefront.bench.collector import without_collector
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Progress, Silent, Work, inprocess, on_cuda, pool
from tunefront.bench.execution.engines.claim import is_complete
from tunefront.bench.execution.identity import Identity, Shared
from tunefront.bench.files import is_memory
from tunefront.bench.models.session import Session
from tunefront.bench.records import Record, Searched
from tunefront.bench.records.store import Store

__all__ = ["Grid", "Outcome", "Progress", "run_grid"]


@dataclass(frozen=True)
class Outcome:
    """Result of a grid: records in cell order (fewer when interrupted), and counts of executed (`ran`), reused, failed
    and skipped cells. The records name tasks and backbones as the cells do."""

    records: tuple[Record, ...]
    ran: int
    reused: int
    failed: int
    skipped: int
    interrupted: bool


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of several rounds, of which the last one may have been interrupted."""
    records = {record.key: record for outcome in outcomes for record in outcome.records}
    return Outcome(
        records=tuple(records.values()),
        ran=sum(outcome.ran for outcome in outcomes),
        reused=sum(outcome.reused for outcome in outcomes),
        failed=sum(record.status == "failed" for record in records.values()),
        skipped=sum(record.status == "skipped" for record in records.values()),
        interrupted=any(outcome.interrupted for outcome in outcomes),
    )


class AnnouncedBefore:
    """The progress of one round of several, whose cells are announced together."""

    def __init__(self, progress: Progress):
        self.started, self.step = progress.started, progress.step
        self.finished, self.working = progress.finished, progress.working

    def planned(self, total: int, reused: int) -> None:
        """All rounds are planned at once."""


def is_users_own(cell: Cell) -> bool:
    """Whether the cell's method is defined in a user's file, which may do anything to its process."""
    return cell.method_file is not None


@dataclass(frozen=True)
class Grid:
    """Cells that do not depend on each other."""

    cells: Sequence[Cell]

    def run(
        self,
        store: Store,
        workers: int = 1,
        progress: Progress | None = None,
        fork: bool = False,
        alone: Callable[[Cell], bool] = is_users_own,
    ) -> Outcome:
        """Runs the cells that are not recorded; see `run_grid`."""
        return run_grid(self.cells, store, workers, progress, fork, alone)


def run_grid(
    cells: Sequence[Cell],
    store: Store,
    workers: int = 1,
    progress: Progress | None = None,
    fork: bool = False,
    alone: Callable[[Cell], bool] = is_users_own,
    session: Session | None = None,
) -> Outcome:
    """Runs every cell that has no ok or skipped record yet, or lacks the checkpoint that it is to keep; Ctrl-C stops
    cleanly with `interrupted` set.

    Args: workers, the number of parallel processes (recorded as `concurrent_cells`); 1 means this process, which also
    runs all cells of a store in memory; fork, whether workers may be forked from this process, only if it has imported
    but never computed; alone, says which cells must be the last of their process, so that neither a patched library
    nor a killed process affects other cells: with one worker they run first, each in a separate process, and the
    others in this process; session, the objects that this process caches between calls. Cells of the same backbone run
    together, otherwise in their order.
    Errors: UserError if the store cannot be written or a task or backbone is missing; DiskFull.
    """
    store.prepare()
    if is_memory(store.location):  # a worker process would have its own copy
        workers, alone = 1, lambda _: False
    progress = progress or Silent()
    shared = Shared()
    with without_collector():  # a third of the time of reading thousands of records, which have no cycles
        requested = {work.key: work for work in (Work(cell, Identity.of(cell, shared)) for cell in cells)}
        existing = store.read_all(requested)
    done = {
        key: _up_to_date(record, requested[key].cell, store)
        for key, record in existing.items()
        if is_complete(record, requested[key].cell, store)
    }
    works = [replace(work, attempts=_attempts(existing.get(key))) for key, work in requested.items() if key not in done]
    works = _by_backbone(works)
    progress.planned(len(requested), len(done))
    reused = len(done)
    start_method = "spawn" if on_cuda(cells) else "fork" if fork else "forkserver"
    if workers == 1 or not works:
        running = _one_at_a_time(works, store, progress, start_method, alone, session or Session())
    else:
        running = pool.run(works, store, progress, workers, start_method, alone)
    with interruption.listening():
        try:
            with closing(running):
                for work, record in running:
                    done[work.key] = record
                    progress.finished(work.cell, record)
                    interruption.check()
        except BaseException as error:  # may be another error: an import turns an interruption into an ImportError
            if isinstance(error, KeyboardInterrupt):
                interruption.note()
            if not interruption.pending():
                raise
        interrupted = interruption.pending()
        interruption.mark_answered()
    records = tuple(_with_names_of(done[key], work) for key, work in requested.items() if key in done)
    return Outcome(
        records=records,
        ran=len(done) - reused,
        reused=reused,
        failed=sum(record.status == "failed" for record in records),
        skipped=sum(record.status == "skipped" for record in records),
        interrupted=interrupted,
    )


def _one_at_a_time(
    works: Sequence[Work],
    store: Store,
    progress: Progress,
    start_method: str,
    alone: Callable[[Cell], bool],
    session: Session,
) -> Generator[tuple[Work, Record], None, None]:
    """Runs cells that need a separate process first: they can be forked while this process has not computed yet."""
    separate = [work for work in works if alone(work.cell)]
    if separate:
        yield from pool.run(separate, store, progress, 1, start_method, alone)
    yield from inprocess.run([work for work in works if not alone(work.cell)], store, progress, session)


def _by_backbone(works: Sequence[Work]) -> list[Work]:
    """Sorts by backbone, in order of first occurrence: each is read once, although only one is kept at a time."""
    order = {name: index for index, name in enumerate(dict.fromkeys(work.cell.backbone for work in works))}
    return sorted(works, key=lambda work: order[work.cell.backbone])


def _with_names_of(record: Record, work: Work) -> Record:
    """The record with the requested names: a folder or file may have had another name when it was written."""
    cell, identity = work.cell, work.identity
    spelled = identity.ingredients["method"]
    names = {"task": cell.task, "backbone": cell.backbone, "method": spelled, "label": identity.label}
    if all(getattr(record, name) == value for name, value in names.items()):
        return record
    return record.model_copy(update=names)


def _up_to_date(record: Record, cell: Cell, store: Store) -> Record:
    """An existing record; it is rewritten if it lacks what its cell is now: compared with a paper, or the trial of a
    search."""
    changes: dict[str, object] = {}
    if cell.deviations is not None:
        changes |= {"paper": cell.paper, "deviations": cell.deviations}
    if cell.trial is not None:
        changes["search"] = Searched(**vars(cell.trial))
    if all(getattr(record, name) == value for name, value in changes.items()):
        return record
    store.write(record := record.model_copy(update=changes))
    return record


def _attempts(earlier: Record | None) -> tuple[str, ...]:
    if earlier is None or earlier.status != "failed":
        return ()
    return (*earlier.attempts, earlier.reason or "no reason recorded")
