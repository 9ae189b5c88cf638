"""What a person sees while cells run: a live display in a terminal, one line a cell elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench.cells import Cell
from bench.records import Record

MARKS = {"ok": ("✓", "green"), "skipped": ("–", "yellow"), "failed": ("✗", "red")}
DONE_WORDS = {"features": "features", "train": "training", "evaluate": "evaluating"}


class Display:
    """Cells done of all, the running ones with their phase and step, time gone and about how much is left.

    It implements `bench.grid.Progress` and is a context manager; `clock` gives seconds. Where `console` is not a
    terminal, each finished cell is one line and nothing is redrawn.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self.console = console
        self.total = self.reused = self.done = 0
        self._clock = clock
        self._began = clock()
        self._running: dict[Cell, tuple[float, str, float]] = {}
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def planned(self, total: int, reused: int) -> None:
        """How many cells there are, and how many of them are recorded already."""
        self.total, self.reused = total, reused
        self._began = self._clock()
        known = f", {reused} recorded before" if reused else ""
        self._say(Text(f"{plural(total, 'cell')}{known}, {total - reused} to run"))

    def started(self, cell: Cell) -> None:
        """A cell begins."""
        self._running[cell] = (self._clock(), "starting", 0.0)

    def step(self, cell: Cell, phase: str, done: int, total: int) -> None:
        """A running cell has done so many steps of a phase."""
        began = self._running.get(cell, (self._clock(), "", 0.0))[0]
        self._running[cell] = (began, f"{DONE_WORDS.get(phase, phase)} {done}/{total}", done / max(total, 1))

    def finished(self, cell: Cell, record: Record) -> None:
        """A cell has its record."""
        began = self._running.pop(cell, (self._clock(), "", 0.0))[0]
        self.done += 1
        mark, colour = MARKS[record.status]
        outcome = record.status if record.status != "ok" else "-" if record.score is None else f"{record.score:.3f}"
        counted = "" if self.console.is_terminal else f"[{self.reused + self.done}/{self.total}] "
        line = Text.assemble(counted, (mark, colour), f" {outcome:<7} {span(self._clock() - began):>7}  {cell.title}")
        self._say(line)
        if record.status != "ok":
            self._say(Text(f"  {record.reason or 'no reason given'}", colour))

    def render(self) -> RenderableType:
        """The live part: a bar over all cells, and a line for each running one."""
        finished = self.reused + self.done
        counts = f"{finished}/{self.total} cells" + (f" ({self.reused} recorded before)" if self.reused else "")
        left = self.left()
        times = span(self._clock() - self._began) + ("" if left is None else f", about {span(left)} left")
        head = Table.grid(padding=(0, 1), expand=False)
        head.add_row(
            ProgressBar(total=max(self.total, 1), completed=finished + self._partly(), width=20), counts, f"· {times}"
        )
        if not self._running:
            return head
        cells = Table.grid(padding=(0, 1), expand=True)
        cells.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        cells.add_column(width=min(max(len(now) for _, now, _ in self._running.values()), 20), no_wrap=True)
        cells.add_column(width=10)
        for cell, (_, now, share) in self._running.items():
            cells.add_row(Text(f"  {cell.title}"), Text(now, "cyan"), ProgressBar(total=1.0, completed=share, width=10))
        return Group(head, cells)

    def left(self) -> float | None:
        """About how many seconds remain, None before anything is known: cells so far went at this pace."""
        ran = self.done + self._partly()
        if not self.done or not self.total:
            return None
        return (self._clock() - self._began) / ran * max(self.total - self.reused - ran, 0.0)

    def _partly(self) -> float:
        """What the running cells have done, in cells; training is most of one."""
        return sum(0.9 * share for _, now, share in self._running.values() if now.startswith(("train", "eval")))

    def _say(self, line: Text) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)


def span(seconds: float) -> str:
    """A time as a person says it.

    >>> span(4.2), span(75), span(3700)
    ('4 s', '1 min 15 s', '1 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "cell"), plural(2, "cell")
    ('1 cell', '2 cells')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"
