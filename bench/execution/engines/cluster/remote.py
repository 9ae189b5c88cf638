"""A worker on a node: checks that it has what the driver has, then runs cells and gives back what it wrote."""

from __future__ import annotations

import logging
import pickle
import uuid
from dataclasses import dataclass, field, replace

from tunefront.bench.cells import Cell
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.claim import run_claimed
from tunefront.bench.execution.engines.cluster.belongings import Belonging, Found
from tunefront.bench.execution.engines.cluster.received import Received
from tunefront.bench.execution.engines.worker import CellMessage, Message
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.packing import differences, flat
from tunefront.bench.models.session import Session
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.bench.training.harness import Report

log = logging.getLogger("tunefront")

Written = tuple[Record, bytes | None]
"""A record and its checkpoint, if it has one."""


@dataclass(frozen=True)
class Order:
    """A cell for a node: its message and identity, the reasons of earlier attempts, what it reads from disk, how many
    cells run on that machine at a time, and, where the node does not see the
    store, the earlier steps of a stream that it goes on from."""

    message: CellMessage
    identity: Identity
    attempts: tuple[str, ...]
    belongings: tuple[Belonging, ...]
    concurrent: int
    earlier: tuple[Written, ...] = ()


@dataclass(frozen=True)
class RemoteRunner:
    """Runs cells of a driver on another machine.

    Args: location, of the store; None if this machine does not see it: the driver then writes what comes back.
    """

    location: str | None
    session: Session = field(default_factory=Session)
    found: Found = field(default_factory=lambda: Found(Received()))

    def run(self, order: bytes, report: Report) -> Message:
        """Runs a pickled order; the content of the answer is pickled, so that no process on the way imports what it
        consists of."""
        kind, *content = self._answer(pickle.loads(order), report)
        return kind, pickle.dumps(content)

    def _answer(self, order: Order, report: Report) -> Message:
        """Runs a cell. The answer is `needs` with the belongings that are not here, `differs` if this machine would
        give other numbers, `busy` if another process holds the cell, else `finished` with its record, and with its
        predictions and checkpoint if the driver is to write them."""
        if missing := self.found.missing(order.belongings):
            return "needs", missing
        cell, here = self._cells(order)
        identity = Identity.of(here)
        if identity.key != order.identity.key:
            return "differs", "; ".join(differences(flat(order.identity.ingredients), flat(identity.ingredients)))
        work = Work(cell, order.identity, order.attempts)
        if self.location is not None:
            record = run_claimed(work, Store(self.location), report, order.concurrent, self.session, here)
            return ("busy",) if record is None else ("finished", record)
        return self._carried(work, here, order, report)

    def _cells(self, order: Order) -> tuple[Cell, Cell]:
        """The cell as the driver names its files, and as they are named here."""
        message = order.message
        if message.method_file is not None:
            message = replace(message, method_file=self.found.method_file(order.belongings))
        cell = message.cell()
        return replace(cell, method_file=order.message.method_file), self.found.adopt(cell, order.belongings)

    def _carried(self, work: Work, here: Cell, order: Order, report: Report) -> Message:
        """Runs a cell with a store in the memory of this process, and gives back all that it wrote there."""
        store = Store(f"memory://tunefront-{uuid.uuid4().hex}")
        try:
            store.prepare()
            for record, checkpoint in order.earlier:
                if checkpoint is not None:
                    store.write_checkpoint(checkpoint)
                store.write(record)
            made = run_claimed(work, store, report, order.concurrent, self.session, here)
            if made is None:
                return ("busy",)
            predictions = store.predictions(work.key) if made.status == "ok" else None
            return "finished", made, predictions, store.checkpoint(made)
        finally:
            import fsspec

            fsspec.filesystem("memory").rm(store.location, recursive=True)
