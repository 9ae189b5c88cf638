"""Runs cells one after another in this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Sequence

from tunefront.bench.collector import frozen
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Progress, Work
from tunefront.bench.execution.engines.claim import run_claimed
from tunefront.bench.models.session import Session
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

BUSY_SECONDS = 1.0
"""Seconds to wait before trying again to claim cells, if other processes hold all that are left."""


def run(
    works: Sequence[Work], store: Store, progress: Progress, session: Session
) -> Generator[tuple[Work, Record], None, None]:
    """Yields each cell's record once it is written; cells that another process holds come last."""
    if not works:
        return
    import tunefront.bench.execution.run_cell  # noqa: F401  # its libraries are then left out of searches for garbage

    with frozen():
        yield from _run(works, store, progress, session)


def _run(
    works: Sequence[Work], store: Store, progress: Progress, session: Session
) -> Generator[tuple[Work, Record], None, None]:
    waiting = deque(works)
    held = 0  # cells in a row that another process holds
    while waiting:
        interruption.check()
        work = waiting.popleft()
        progress.started(work.cell)
        record = run_claimed(
            work,
            store,
            lambda phase, done, total, work=work: progress.step(work.cell, phase, done, total),  # type: ignore[misc]
            1,
            session,
        )
        if record is None:
            waiting.append(work)
            held += 1
            if held >= len(waiting):
                time.sleep(BUSY_SECONDS)
                held = 0
            continue
        held = 0
        yield work, record
