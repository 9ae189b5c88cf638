"""Engines, which run many cells: in this process, in worker processes, or on the nodes of a cluster."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tunefront.bench.cells import Cell
from tunefront.bench.records import Record

if TYPE_CHECKING:
    from tunefront.bench.execution.identity import Identity
    from tunefront.bench.models.session import Session
    from tunefront.bench.records.store import Store


class Progress(Protocol):
    """The events of a run, for a display; every call happens in the parent process."""

    def planned(self, total: int, reused: int) -> None:
        """The total number of cells, and how many were recorded before."""

    def started(self, cell: Cell) -> None:
        """The cell starts to run."""

    def step(self, cell: Cell, phase: str, done: int, total: int) -> None:
        """The cell has finished `done` of `total` steps of a phase: features, train or evaluate."""

    def finished(self, cell: Cell, record: Record) -> None:
        """The cell's record is written."""

    def working(self, status: str) -> None:
        """Something that takes time is done before or after cells run; an empty text ends it."""


@dataclass(frozen=True)
class Work:
    """A cell to run, its identity, and the reasons of its earlier failed attempts."""

    cell: Cell
    identity: Identity
    attempts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The key of the cell's record."""
        return self.identity.key


class Engine(Protocol):
    """Where and how cells run."""

    @property
    def session(self) -> Session:
        """What this process caches between cells that it runs itself."""

    def run(
        self, works: Sequence[Work], store: Store, progress: Progress
    ) -> Generator[tuple[Work, Record], None, None]:
        """Runs cells; yields each with its record once that is written. What runs is ended when the generator is
        closed. Errors: UserError; DiskFull."""

    def kept(self) -> AbstractContextManager[Engine]:
        """The same engine for several runs: what takes long to start stays until the block ends."""

    def after_computing(self) -> Engine:
        """The same engine for a process that has computed, which must not be forked."""


class Silent:
    """A display that shows nothing."""

    def planned(self, total: int, reused: int) -> None:
        """Shows nothing."""

    def started(self, cell: Cell) -> None:
        """Shows nothing."""

    def step(self, cell: Cell, phase: str, done: int, total: int) -> None:
        """Shows nothing."""

    def finished(self, cell: Cell, record: Record) -> None:
        """Shows nothing."""

    def working(self, status: str) -> None:
        """Shows nothing."""


def is_users_own(cell: Cell) -> bool:
    """Whether the cell's method is defined in a user's file, which may do anything to its process."""
    return cell.method_file is not None


def default_workers(cells: Iterable[Cell]) -> int:
    """The default number of parallel cells: cores divided by threads per cell, at most 4; 1 on CUDA."""
    cells = list(cells)
    if on_cuda(cells):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores // max((cell.config.threads for cell in cells), default=1)))


def on_cuda(cells: Iterable[Cell]) -> bool:
    """Whether any cell runs on CUDA, which cannot be used in a process forked from one that has used it."""
    return any(cell.config.device.startswith("cuda") for cell in cells)
