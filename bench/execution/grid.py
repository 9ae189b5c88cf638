"""Many cells: what is recorded is taken, what is not runs, and each record is written as soon as its cell is done."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tunefront.bench.cells import Cell
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Progress, Silent, Work, inprocess, on_cuda, pool
from tunefront.bench.execution.identity import Identity
from tunefront.bench.files import is_memory
from tunefront.bench.models.session import Session
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

__all__ = ["Outcome", "Progress", "run_grid"]


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


def is_users_own(cell: Cell) -> bool:
    """Whether the cell's method is defined in a file of the user's, which may do anything to its process."""
    return cell.method_file is not None


def run_grid(
    cells: Sequence[Cell],
    store: Store,
    workers: int = 1,
    progress: Progress | None = None,
    fork: bool = False,
    alone: Callable[[Cell], bool] = is_users_own,
    session: Session | None = None,
) -> Outcome:
    """Runs every cell that has no ok or skipped record yet; Ctrl-C stops cleanly with `interrupted` set.

    Args: workers, processes that run cells side by side (recorded as `concurrent_cells`), 1 for this one, and always
    for a store in memory, all of whose cells run in this process; fork,
    whether workers may be forked from this process: only where it has imported but never computed; alone, of which
    cells no other may run in the same process afterwards, so that neither a patched library nor a killed process
    reaches it: with one worker they run first, each in a process of its own, the others in this one; session, what this
    process keeps for the cells of another call. Cells of one backbone run together, in their order otherwise.
    Errors: UserError where the store cannot be written or a task or backbone is gone, DiskFull.
    """
    store.prepare()
    if is_memory(store.location):  # of which a worker process would have one of its own
        workers, alone = 1, lambda _: False
    progress = progress or Silent()
    asked = {work.key: work for work in (Work(cell, Identity.of(cell)) for cell in cells)}
    found = {key: record for key in asked if (record := store.read(key)) is not None}
    done = {
        key: _compared_again(record, asked[key].cell, store)
        for key, record in found.items()
        if record.status != "failed"
    }
    works = [replace(work, attempts=_attempts(found.get(key))) for key, work in asked.items() if key not in done]
    works = _by_backbone(works)
    progress.planned(len(asked), len(done))
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
        except BaseException as error:  # it may come out as another error: an import makes an ImportError of it
            if isinstance(error, KeyboardInterrupt):
                interruption.note()
            if not interruption.pending():
                raise
        interrupted = interruption.pending()
        interruption.answered()
    records = tuple(_named(done[key], work) for key, work in asked.items() if key in done)
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
    """Cells that run alone first: they may be forked while this process has not computed yet."""
    apart = [work for work in works if alone(work.cell)]
    if apart:
        yield from pool.run(apart, store, progress, 1, start_method, alone)
    yield from inprocess.run([work for work in works if not alone(work.cell)], store, progress, session)


def _by_backbone(works: Sequence[Work]) -> list[Work]:
    """Backbones in the order in which they first occur: each is read once, though one is kept at a time."""
    places = {name: place for place, name in enumerate(dict.fromkeys(work.cell.backbone for work in works))}
    return sorted(works, key=lambda work: places[work.cell.backbone])


def _named(record: Record, work: Work) -> Record:
    """A record under the names that were asked for: a folder or file may have gone by another when it was written."""
    cell = work.cell
    names = {"task": cell.task, "backbone": cell.backbone, "method": cell.spelled, "label": work.identity.label}
    return record.model_copy(update=names)


def _compared_again(record: Record, cell: Cell, store: Store) -> Record:
    """A record that was found; it is rewritten where the suite that asks repeats a paper and the record does not say
    how its cell differs from it."""
    if cell.deviations is None or (record.paper, record.deviations) == (cell.paper, cell.deviations):
        return record
    store.write(record := record.model_copy(update={"paper": cell.paper, "deviations": cell.deviations}))
    return record


def _attempts(earlier: Record | None) -> tuple[str, ...]:
    return () if earlier is None else (*earlier.attempts, earlier.reason or "no reason recorded")
