"""A worker process: what it is sent, and its life, which ends when the parent goes."""

from __future__ import annotations

import gc
import logging
import os
import threading
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from tunefront.bench.cells import Cell
from tunefront.bench.errors import DiskFull, UserError, in_short, printable
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.claim import run_claimed
from tunefront.bench.models.session import Session
from tunefront.bench.records.store import Store

log = logging.getLogger("tunefront")


@dataclass(frozen=True)
class CellMessage:
    """A cell as it travels to a worker: the method as spelled, since a user's class cannot be pickled."""

    spelled: str
    method_file: str | None
    fields: dict[str, Any]  # Any: the other fields of the cell, plain values

    @classmethod
    def of(cls, cell: Cell) -> CellMessage:
        """The message of a cell."""
        fields = {name: value for name, value in vars(cell).items() if name not in ("method", "method_file")}
        return cls(cell.spelled, cell.method_file, fields)

    def cell(self) -> Cell:
        """The cell of a message; a user's file is imported first."""
        from tunefront.methods.registry import load_file
        from tunefront.methods.spelling import parse

        if self.method_file is not None:
            load_file(self.method_file)
        return Cell(method=parse(self.spelled), method_file=self.method_file, **self.fields)


def serve(connection: Connection, lifeline: Connection, held: Connection, location: str, concurrent: int) -> None:
    """A worker's life: one cell after another until the parent closes the pipe or goes."""
    code = 1
    try:
        interruption.listen_in_worker()
        _prepare(lifeline, held)
        _serve(connection, Store(location), concurrent)
        code = 0
    except KeyboardInterrupt:  # by SIGTERM: what was half written has been removed on the way out
        pass
    finally:
        os._exit(code)  # a thread that a method left would keep the process


def _prepare(lifeline: Connection, held: Connection) -> None:
    if not log.handlers:  # a worker that was not forked has none of the command's
        log.addHandler(logging.StreamHandler())
        log.handlers[-1].setFormatter(_Printable("warning: %(message)s"))
    held.close()  # else this very copy would keep the lifeline open
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    gc.collect()
    gc.freeze()  # what was imported is never garbage: collecting between phases is then quick


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _serve(connection: Connection, store: Store, concurrent: int) -> None:
    """One cell after another until the parent closes the pipe."""
    session = Session()
    while True:
        try:
            message, identity, attempts = connection.recv()
        except (EOFError, OSError):
            return
        try:
            work = Work(message.cell(), identity, attempts)
            record = run_claimed(work, store, partial(_tell, connection), concurrent, session)
            connection.send(("busy",) if record is None else ("finished", record))
        except DiskFull as error:
            connection.send(("disk full", str(error)))
        except UserError as error:
            connection.send(("mistake", str(error)))
        except BaseException as error:  # of the harness: run_cell() records what a method does wrong
            if interruption.pending():
                raise KeyboardInterrupt from error
            log.debug("cell %s broke", identity.key, exc_info=True)
            connection.send(("broke", in_short(error)))


def _tell(connection: Connection, phase: str, done: int, total: int) -> None:
    try:
        connection.send(("step", phase, done, total))
    except OSError:  # the parent has gone: this must not become the failure of a cell that did nothing wrong
        os._exit(1)


def _end_with_parent(lifeline: Connection) -> None:
    wait([lifeline])  # readable only at its end: nothing is ever sent
    os._exit(1)
