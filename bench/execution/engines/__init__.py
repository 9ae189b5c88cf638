"""Engines that run many cells: in this process, or in worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tunefront.bench.cells import Cell
from tunefront.bench.records import Record

if TYPE_CHECKING:
    from tunefront.bench.execution.identity import Identity


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
        """Something that takes time is done with all cells that have run."""


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
