"""Runs cells on the nodes of a Ray cluster: a worker per device or per so many cores, each with its own backbone."""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tunefront.bench.cells import Cell
from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Engine, Progress, Work, is_users_own
from tunefront.bench.execution.engines.claim import is_complete
from tunefront.bench.execution.engines.cluster.belongings import Belonging, belongings
from tunefront.bench.execution.engines.cluster.fleet import Crew, Fleet, Member, Needs, why
from tunefront.bench.execution.engines.cluster.remote import Order, Written
from tunefront.bench.execution.engines.cluster.schedule import UNKNOWN, Expected, Waiting
from tunefront.bench.execution.engines.inprocess import BUSY_SECONDS
from tunefront.bench.execution.engines.pool import record_failure
from tunefront.bench.execution.engines.worker import CellMessage, Message
from tunefront.bench.execution.identity import Identity
from tunefront.bench.models.session import Session
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

log = logging.getLogger("tunefront")

LOST_AT_MOST = 3
"""A cell that ran on so many nodes when they were lost is recorded as failed: it may be the reason."""


@dataclass(frozen=True)
class Cluster:
    """The engine of a Ray cluster.

    Args: address, HOST:PORT, None for the cluster of this machine; workers, the most cells that run at a time, None for
    as many as fit; expected, the predicted costs of cells by key; alone, says which cells must be the last of their
    process; session, for cells that the driver runs itself; crew, the workers that stay between runs, if any do.
    """

    address: str | None = None
    workers: int | None = None
    expected: Mapping[str, Expected] = field(default_factory=dict)
    alone: Callable[[Cell], bool] = is_users_own
    session: Session = field(default_factory=Session)
    crew: Crew | None = field(default=None, repr=False, compare=False)

    def run(
        self, works: Sequence[Work], store: Store, progress: Progress
    ) -> Generator[tuple[Work, Record], None, None]:
        """Yields each cell's record once it is written: by its worker if that sees the store, else by this process. A
        node that is lost costs its running cells, which run again elsewhere."""
        if not works:
            return
        needs = Needs.of(work.cell for work in works)
        with self._with_crew() as crew:
            fleet = crew.fleet(needs, min(self.workers or len(works), len(works)), store, progress)
            try:
                yield from _Run(self, fleet, store, progress, works).records()
            except BaseException:  # cells may be running
                crew.end()
                raise

    @contextmanager
    def kept(self) -> Iterator[Engine]:
        """This engine, whose workers stay between runs until the block ends."""
        with self._with_crew() as crew:
            yield replace(self, crew=crew)

    @contextmanager
    def _with_crew(self) -> Iterator[Crew]:
        """The workers that stay, or others, for this block."""
        if self.crew is not None:
            yield self.crew
            return
        crew = Crew(self.address)
        try:
            yield crew
        finally:
            crew.end()

    def after_computing(self) -> Engine:
        """This engine: no process of it is forked from this one."""
        return self


class _Run:
    """The cells of one run, and which worker has which."""

    def __init__(self, engine: Cluster, fleet: Fleet, store: Store, progress: Progress, works: Sequence[Work]):
        self._engine, self._fleet, self._store, self._progress = engine, fleet, store, progress
        self._waiting = Waiting(works, engine.expected)
        self._later: list[tuple[float, Work]] = []  # cells that another process holds, with the time of the next try
        self._lost: Counter[str] = Counter()
        self._started = False
        self._belongings: dict[str, tuple[Belonging, ...]] = {}

    def records(self) -> Generator[tuple[Work, Record], None, None]:
        """Runs all cells; yields each with its record once that is written."""
        fleet = self._fleet
        while self._waiting or self._later or any(member.work for member in fleet.members):
            interruption.check()
            fleet.look()
            now = time.monotonic()
            for due, work in self._later:
                if due <= now:
                    self._waiting.add(work)
            self._later = [(due, work) for due, work in self._later if due > now]
            for member in fleet.members:
                if member.is_free:
                    yield from self._assign(member)
            for member, content in fleet.messages(BUSY_SECONDS):
                if isinstance(content, Exception):
                    yield from self._is_lost(member, content)
                    continue
                for message in content:
                    yield from self._receive(member, message)
                if member.work is not None and member.pending is None:
                    member.pending = member.actor.exchange.remote(None, False, BUSY_SECONDS)

    def _assign(self, member: Member) -> Generator[tuple[Work, Record], None, None]:
        """Gives a free worker the next cell, if there is one for it."""
        busy = [other.work for other in self._fleet.members if other.node == member.node and other.work is not None]
        free = self._fleet.memory_bytes.get(member.node) if busy else None
        if free is not None:
            free -= sum(self._engine.expected.get(work.key, UNKNOWN).peak_bytes or 0 for work in busy)
        work = self._waiting.take(member.backbone, free, len(self._fleet.members))
        if work is None:
            return
        assert member.arrived is not None  # it is free
        if not member.arrived.sees_store:  # else its worker claims the cell
            if not member.claim.enter_context(self._store.claim(work.key)):
                self._put_off(member, work)
                return
            existing = self._store.read(work.key)
            if existing is not None and is_complete(existing, work.cell, self._store):
                member.claim.close()
                yield work, existing
                return
        if not self._started:
            self._progress.working("")
            self._started = True
        member.work, member.backbone = work, work.cell.backbone
        self._progress.started(work.cell)
        self._send(member, work)

    def _send(self, member: Member, work: Work) -> None:
        order = pickle.dumps(self._order(member, work))
        alone = self._engine.alone(work.cell)
        member.pending = member.actor.exchange.remote(order, alone, BUSY_SECONDS)

    def _order(self, member: Member, work: Work) -> Order:
        if work.key not in self._belongings:
            self._belongings[work.key] = belongings(work)
        assert member.arrived is not None
        return Order(
            CellMessage.of(work.cell),
            work.identity,
            work.attempts,
            self._belongings[work.key],
            self._fleet.on_host(member),
            () if member.arrived.sees_store else self._earlier(work.cell),
        )

    def _earlier(self, cell: Cell) -> tuple[Written, ...]:
        """The records and checkpoints of the earlier steps of a stream that a cell reads."""
        if cell.stage is None:
            return ()
        read = cell.tasks if cell.stage.way == "separate" else (cell.before,)
        records = [self._store.read(Identity.of(other).key) for other in read if other is not None]
        return tuple((record, self._store.checkpoint(record)) for record in records if record is not None)

    def _receive(self, member: Member, message: Message) -> Generator[tuple[Work, Record], None, None]:
        kind, *content = message
        work = member.work
        if work is None:
            return
        if content and isinstance(content[0], bytes):
            content = pickle.loads(content[0])
        if kind == "step":
            self._progress.step(work.cell, *content)
        elif kind == "needs":
            try:
                for belonging in content[0]:
                    self._fleet.send(member, belonging)
            except self._fleet.ray.exceptions.RayError as error:
                yield from self._is_lost(member, error)
                return
            self._send(member, work)
        elif kind == "busy":
            self._put_off(member, work)
        elif kind == "disk full":
            raise DiskFull(content[0])
        elif kind == "mistake":
            raise UserError(f"on the host {member.host}: {content[0]}")
        elif kind == "differs":
            raise UserError(
                f"{work.cell.title} would be another cell on the host {member.host}: {content[0]}. Give every machine "
                "the same code and package versions."
            )
        else:
            yield from self._finish(member, work, kind, content)

    def _finish(
        self, member: Member, work: Work, kind: str, content: Sequence[Any]
    ) -> Generator[tuple[Work, Record], None, None]:
        """The record of a cell that has run, written if its worker did not."""
        record: Record | None
        if kind != "finished":  # the worker died, or there is a bug
            member.claim.close()
            record = record_failure(
                work, self._store, f"{content[0]} on the host {member.host}", self._fleet.on_host(member)
            )
        else:
            record, *carried = content
            if carried:
                record = self._write(work, record, *carried)
            member.claim.close()
        if record is None:
            self._put_off(member, work)
            return
        member.work = None
        yield work, record

    def _write(self, work: Work, record: Record, predictions: Any, checkpoint: bytes | None) -> Record:
        """Writes what a worker has sent back; a failure replaces no result."""
        existing = self._store.read(work.key)
        if existing is not None and existing.status == "ok" and record.status == "failed":
            return existing
        if checkpoint is not None:
            self._store.write_checkpoint(checkpoint)
        self._store.write(record, predictions)
        return record

    def _is_lost(self, member: Member, error: Exception) -> Generator[tuple[Work, Record], None, None]:
        """A worker is gone with its node, or because Ray ended it: its cell runs again, but not for ever."""
        work = member.work
        self._fleet.lose(member, error)
        if work is None:
            return
        self._lost[work.key] += 1
        if self._lost[work.key] < LOST_AT_MOST:
            log.warning(
                "a worker on %s was lost while it ran %s, which runs again (%s)",
                member.host,
                work.cell.title,
                why(error),
            )
            self._waiting.add(work)
            return
        reason = (
            f"its worker was lost while it ran, {LOST_AT_MOST} times ({why(error)}); it may need more memory than "
            "there is"
        )
        record = record_failure(work, self._store, reason, 1)
        if record is None:
            self._later.append((time.monotonic() + BUSY_SECONDS, work))
        else:
            yield work, record

    def _put_off(self, member: Member, work: Work) -> None:
        """Another process holds the cell: it is tried again later."""
        member.work = None
        member.claim.close()
        self._later.append((time.monotonic() + BUSY_SECONDS, work))
