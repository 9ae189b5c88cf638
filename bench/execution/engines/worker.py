"""A worker process: the messages that it receives, and its loop, which ends when the parent ends."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Protocol

from tunefront.bench.cells import Cell
from tunefront.bench.errors import DiskFull, UserError, in_short, printable
from tunefront.bench.execution import interruption
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.claim import run_claimed
from tunefront.bench.execution.engines.processes import end_with_parent
from tunefront.bench.models.session import Session
from tunefront.bench.models.sites_file import add_sites, added_sites
from tunefront.bench.records.store import Store
from tunefront.bench.training.harness import Report
from tunefront.methods.sites import Sites

log = logging.getLogger("tunefront")


@dataclass(frozen=True)
class CellMessage:
    """A cell as sent to a worker: the method is spelled, because a user's class cannot be pickled."""

    spelled: str
    method_file: str | None
    fields: dict[str, Any]  # Any: the other fields of the cell, plain values
    sites: dict[str, Sites]
    """Records of sites that the parent process added."""

    @classmethod
    def of(cls, cell: Cell) -> CellMessage:
        """The message of a cell."""
        fields = {name: value for name, value in vars(cell).items() if name not in ("method", "method_file")}
        return cls(cell.spelled, cell.method_file, fields, added_sites())

    def cell(self) -> Cell:
        """The cell of this message; imports the user's file and adds the records of sites first."""
        from tunefront.methods.registry import load_file
        from tunefront.methods.spelling import parse

        add_sites(self.sites)
        if self.method_file is not None:
            load_file(self.method_file)
        return Cell(method=parse(self.spelled), method_file=self.method_file, **self.fields)


Message = tuple[Any, ...]  # Any: a word that says what follows, and plain values, a record or an identity


class Runner(Protocol):
    """What a worker does with what it receives."""

    def run(self, order: Any, report: Report) -> Message:  # Any: what the parent has sent
        """Runs a cell; returns the message about it for the parent. Errors: DiskFull; UserError; those of a bug."""


@dataclass(frozen=True)
class CellRunner:
    """Runs cells whose files have the names here that they have for the parent.

    Args: location, of the store; concurrent, number of cells that run at a time; session, what the process caches.
    """

    location: str
    concurrent: int
    session: Session = field(default_factory=Session)

    def run(self, order: Message, report: Report) -> Message:
        """Runs a cell, given as its message, its identity and the reasons of earlier attempts."""
        message, identity, attempts = order
        work = Work(message.cell(), identity, attempts)
        record = run_claimed(work, Store(self.location), report, self.concurrent, self.session)
        return ("busy",) if record is None else ("finished", record)


def serve(
    connection: Connection,
    lifeline: Connection,
    lifeline_end: Connection,
    runner: Callable[..., Runner],
    *arguments: object,
) -> None:
    """The main function of a worker: runs one cell after another until the parent closes the pipe or ends. `runner`
    makes what runs them, of these arguments."""
    code = 1
    try:
        interruption.listen_in_worker()
        _prepare(lifeline, lifeline_end)
        _serve(connection, runner(*arguments))
        code = 0
    except KeyboardInterrupt:  # by SIGTERM: unfinished files have been removed by now
        pass
    finally:
        os._exit(code)  # a thread that a method left would keep the process


def _prepare(lifeline: Connection, lifeline_end: Connection) -> None:
    if not log.handlers:  # a worker that was not forked lacks the command's handler
        log.addHandler(logging.StreamHandler())
        log.handlers[-1].setFormatter(_Printable("warning: %(message)s"))
    end_with_parent(lifeline, lifeline_end)
    gc.collect()
    gc.freeze()  # imported objects are never garbage; collecting between phases is then fast


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _serve(connection: Connection, runner: Runner) -> None:
    """Runs one cell after another until the parent closes the pipe."""
    while True:
        try:
            order = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(runner.run(order, partial(send_step, connection)))
        except DiskFull as error:
            connection.send(("disk full", str(error)))
        except UserError as error:
            connection.send(("mistake", str(error)))
        except BaseException as error:  # an error of the harness: run_cell() records the errors of methods
            if interruption.pending():
                raise KeyboardInterrupt from error
            log.debug("a cell broke", exc_info=True)
            connection.send(("broke", in_short(error)))


def send_step(connection: Connection, phase: str, done: int, total: int) -> None:
    """Sends the progress of a cell to the parent; ends the process if the parent has ended."""
    try:
        connection.send(("step", phase, done, total))
    except OSError:  # the parent has ended; the cell has not failed
        os._exit(1)
