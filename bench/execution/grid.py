"""Runs a grid of cells: reuses existing records, runs the other cells, writes each record as soon as its cell ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from tunefront.bench.cells import Cell
from tunefront.bench.collector import without_collector
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Engine, Progress, Silent, Work
from tunefront.bench.execution.engines.claim import is_complete, with_names_of
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.identity import Identity, Shared
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


@dataclass(frozen=True)
class Grid:
    """Cells that do not depend on each other."""

    cells: Sequence[Cell]

    def run(self, store: Store, engine: Engine | None = None, progress: Progress | None = None) -> Outcome:
        """Runs the cells that are not recorded; see `run_grid`."""
        return run_grid(self.cells, store, engine, progress)


def run_grid(
    cells: Sequence[Cell], store: Store, engine: Engine | None = None, progress: Progress | None = None
) -> Outcome:
    """Runs every cell that has no ok or skipped record yet, or lacks the checkpoint that it is to keep; Ctrl-C stops
    cleanly with `interrupted` set.

    Args: engine, where they run; by default in this process.
    Errors: UserError if the store cannot be written or a task or backbone is missing; DiskFull.
    """
    store.prepare()
    engine = engine or Local()
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
    progress.planned(len(requested), len(done))
    reused = len(done)
    running = engine.run(works, store, progress)
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
    records = tuple(with_names_of(done[key], work) for key, work in requested.items() if key in done)
    return Outcome(
        records=records,
        ran=len(done) - reused,
        reused=reused,
        failed=sum(record.status == "failed" for record in records),
        skipped=sum(record.status == "skipped" for record in records),
        interrupted=interrupted,
    )


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
