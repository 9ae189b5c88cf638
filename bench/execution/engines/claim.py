"""Runs a claimed cell and writes its record; every engine uses this for each cell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tunefront.bench.cells import Cell
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Work
from tunefront.bench.models.session import Session
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.bench.training.harness import Report

if TYPE_CHECKING:
    import pandas as pd

REPORT_EVERY_SECONDS = 0.2


def run_claimed(
    work: Work, store: Store, report: Report, concurrent_cells: int, session: Session, here: Cell | None = None
) -> Record | None:
    """Runs the cell and writes its record; None if another process holds the cell. `here` is the cell with the names
    that its files have on this machine, if these are others than in the record."""
    from tunefront.bench.execution.run_cell import run_cell

    def run() -> tuple[Record, pd.DataFrame | None]:
        process = os.getpid()
        try:
            ran = run_cell(here or work.cell, throttle(report), concurrent_cells, session, work.identity, store)
            return with_names_of(ran[0], work), ran[1]
        finally:
            if os.getpid() != process:  # a copy of the process that a method forked
                os._exit(1)

    return write_claimed(work, store, run)


def write_claimed(work: Work, store: Store, make: Callable[[], tuple[Record, pd.DataFrame | None]]) -> Record | None:
    """Writes the record and predictions that `make` returns; None if another process holds the cell. A record that
    another process has written in the meantime is returned instead."""
    with store.claim(work.key) as mine:
        if not mine:
            return None
        existing = store.read(work.key)
        if is_complete(existing, work.cell, store):
            return existing
        record, predictions = make()
        found = store.read(work.key)  # where nothing is claimed, or a claim was lost, another process may have written
        if found is not None and found != existing and is_complete(found, work.cell, store):
            return found  # its predictions may differ in rounding, and belong to it
        if record.status == "failed" and found is not None and found.status != "failed":
            return found  # it ran only for its checkpoint: a failure replaces no result
        record = record.model_copy(update={"attempts": work.attempts})
        store.write(record, predictions)
        return record


def is_complete(record: Record | None, cell: Cell, store: Store) -> bool:
    """Whether a cell need not run: it has a record that has not failed, and the checkpoint that it is to keep."""
    if record is None or record.status == "failed":
        return False
    return record.status != "ok" or not cell.keep or store.has_checkpoint(record)


def with_names_of(record: Record, work: Work) -> Record:
    """The record with the requested names: a folder or file may have had another name when it was written."""
    cell, identity = work.cell, work.identity
    spelled = identity.ingredients["method"]
    names = {"task": cell.task, "backbone": cell.backbone, "method": spelled, "label": identity.label}
    if all(getattr(record, name) == value for name, value in names.items()):
        return record
    return record.model_copy(update=names)


def throttle(report: Report) -> Report:
    """Forwards a few reports per second, and the last of each phase, so that reporting costs nothing. Each report is a
    safe point for interruptions; an interruption raised by the listener is not a failure of the cell either."""
    last = 0.0

    def report_rarely(phase: str, done: int, total: int) -> None:
        nonlocal last
        interruption.check()
        now = time.monotonic()
        if done == total or now - last > REPORT_EVERY_SECONDS:
            last = now
            try:
                report(phase, done, total)
            except KeyboardInterrupt:
                interruption.note()
                raise

    return report_rarely
