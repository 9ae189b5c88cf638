"""The progress display: live in a terminal, elsewhere one line per cell.

rich draws it (`Live`, `ProgressBar`). Its `Progress` is not used: it draws in a thread of its own, whose lock a worker
that is forked at that moment would inherit for ever. The thread here holds a lock that forking waits for.
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tunefront.bench.cells import Cell
from tunefront.bench.cli.titles import Titles
from tunefront.bench.errors import printable
from tunefront.bench.records import Record

MARKS = {"ok": ("✓", "green"), "skipped": ("–", "yellow"), "failed": ("✗", "red")}
COLLAPSED = ("†", "yellow")
"""Mark of a cell that ran but gives nearly always the same answer, or does not clearly beat a constant one; it is the
mark of reports too."""
PHASES = {
    "features": ("features", 0.0, 0.0),
    "gradients": ("gradients", 0.0, 0.0),
    "train": ("training", 0.0, 0.8),
    "evaluate": ("evaluating", 0.8, 0.2),
    "spans": ("without spans", 1.0, 0.0),
}
"""Phase -> its word, the share of a cell that is done when the phase begins, the phase's own share."""
SECONDS_BETWEEN = 0.2

_drawing = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A worker forked while the display's thread writes would inherit the stream's lock and wait for it for ever.
    os.register_at_fork(before=_drawing.acquire, after_in_parent=_drawing.release, after_in_child=_drawing.release)


@dataclass(frozen=True)
class _Running:
    """A running cell: when it began, its current phase and step, the finished fractions of the phase and the cell."""

    began: float
    now: str = "starting"
    phase_done: float = 0.0
    cell_done: float = 0.0


class _LiveDisplay(ABC):
    """A context manager that redraws itself in a terminal until it is left; `clock` gives seconds."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self.console = console
        self._preparing = "starting"
        self._clock = clock
        self._began = clock()
        self._live = Live(console=console, get_renderable=self.render, auto_refresh=False, transient=True)
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if self._redraws:
            self._live.start()
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._ticker.is_alive():
            self._ticker.join()
        self._live.stop()

    @property
    def _redraws(self) -> bool:
        """Whether the display is live: rich redraws nothing in a terminal without cursor control (`TERM=dumb`)."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    @property
    def _width(self) -> int:
        """The width of lines: the terminal writes its ^C after the last one, and a wrapped ^C leaves a line behind."""
        return self.console.width - 2

    def preparing(self, status: str) -> None:
        """Shows a status line until there are steps to count."""
        self._preparing = status

    @abstractmethod
    def render(self) -> RenderableType:
        """The current picture."""

    def _waiting(self) -> Text:
        return Text.assemble((printable(self._preparing), "cyan"), f" · {format_duration(self._clock() - self._began)}")

    def _tick(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN):
            with _drawing:
                self._live.refresh()

    def _print(self, line: Text) -> None:
        self.console.print(line, highlight=False, soft_wrap=not self._redraws)


class Display(_LiveDisplay):
    """The count of finished cells, the running cells with phase and step, the elapsed and the estimated remaining time.

    It implements `engines.Progress` and is a context manager. If `console` is not a terminal, each finished cell is
    one line and nothing is redrawn. Workers may be forked while it is shown. `titles` are those of the run's cells; set
    them before the first one begins.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        self.total = self.reused = self.done = 0
        self._running: dict[Cell, _Running] = {}
        self.titles = Titles()
        self._failed = 0
        self._reason = self._status = ""
        super().__init__(console, clock)  # last, because it draws at once

    def planned(self, total: int, reused: int) -> None:
        """Sets the number of cells, and how many of them are recorded already."""
        self.total, self.reused = total, reused
        self._began = self._clock()
        recorded = f", {reused} recorded before" if reused else ""
        common = f" ({self.titles.common})" if self.titles.common else ""
        self._print(Text(printable(f"{plural(total, 'cell')}{recorded}, {total - reused} to run{common}")))

    def started(self, cell: Cell) -> None:
        """A cell begins."""
        self._running[cell] = _Running(self._clock())

    def step(self, cell: Cell, phase: str, done: int, total: int) -> None:
        """Updates the progress of a running cell."""
        word, before, share = PHASES.get(phase, (phase, 0.0, 0.0))
        fraction = done / max(total, 1)
        began = self._running.get(cell, _Running(self._clock())).began
        self._running[cell] = _Running(began, f"{word} {done}/{total}", fraction, before + share * fraction)

    def finished(self, cell: Cell, record: Record) -> None:
        """Prints the result of a finished cell."""
        began = self._running.pop(cell, _Running(self._clock())).began
        self.done += 1
        mark, colour = MARKS[record.status]
        outcome = record.status if record.status != "ok" else "-" if record.score is None else f"{record.score:.3f}"
        mark, colour = COLLAPSED if record.collapse.collapsed else (mark, colour)
        counted = "" if self._redraws else f"[{self.reused + self.done}/{self.total}] "
        start = f" {outcome:<7} {format_duration(self._clock() - began):>10}  "
        title, notes = self.titles.of_cell(cell), printable(_fewer_demonstrations(record))
        shown = title.fitted(self._width - len(start) - len(notes) - 1) if self._redraws else str(title)
        self._print(Text.assemble(counted, (mark, colour), f"{start}{printable(shown)}{notes}"))
        if record.status == "failed":
            self._failed, self._reason = self._failed + 1, record.reason or "no reason given"
        elif record.status == "ok" and record.collapse.reason is not None:
            self._print(Text(f"  {printable(record.collapse.reason)}", colour))

    def working(self, status: str) -> None:
        """Shows what is done before or after cells run, instead of an estimate of the time left; an empty text ends
        it."""
        self._status = status
        if status and not self._redraws:
            self._print(Text(printable(status)))

    def render(self) -> RenderableType:
        """The live part: a bar over all cells, and a line per running cell."""
        if not self.total:
            return self._waiting()
        finished = self.reused + self.done
        left = None if self._status else self.left()
        times = format_duration(self._clock() - self._began) + (
            "" if left is None else f", about {format_duration(left)} left"
        )
        head = self._head(finished, f"· {times}")
        parts: list[RenderableType] = [head, *([self._bars()] if self._running else [])]
        if self._status:
            parts.append(Text(f"  {printable(self._status)}", "cyan", no_wrap=True, overflow="ellipsis"))
        if self._failed:  # a hint while cells run; the command says it in full at the end
            text = f"  {self._failed} failed, the last one: {printable(self._reason, single_line=True)}"
            parts.append(Text(text, "red", no_wrap=True, overflow="ellipsis"))
        return Constrain(Group(*parts), self._width)

    def _head(self, finished: int, times: str) -> Table:
        """The bar over all cells. Where the line is short, the bar is, and only the numbers that change are left."""
        counts = f"{finished}/{self.total} cells"
        recorded = f"{counts} ({self.reused} recorded before)" if self.reused else counts
        if len(recorded) + len(times) < self._width:
            counts = recorded
        room = min(20, self._width - len(counts) - len(times) - 3)
        head = Table.grid(padding=(0, 1), expand=False)
        bar = ProgressBar(total=max(self.total, 1), completed=finished + self._fraction_done(), width=max(room, 1))
        texts = (Text(counts, no_wrap=True), Text(times, no_wrap=True))
        head.add_row(*((bar, *texts) if room >= 5 else texts))
        return head

    def _bars(self) -> Table:
        """A line per running cell. If it is too long, the method and task are shortened, never what follows them."""
        running = list(self._running.items())
        cells = Table.grid(padding=(0, 1), expand=True)
        cells.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        now = min(max((len(state.now) for _, state in running), default=0), 20)
        cells.add_column(width=now, no_wrap=True)
        bar = 10 if self._width >= 60 else 0
        if bar:
            cells.add_column(width=bar)
        for cell, state in running:
            room = self._width - now - bar - (2 if bar else 1) - 2
            title = printable(self.titles.of_cell(cell).fitted(room))
            row = (Text(f"  {title}"), Text(state.now, "cyan"))
            cells.add_row(*row, *([ProgressBar(total=1.0, completed=state.phase_done, width=bar)] if bar else []))
        return cells

    def left(self) -> float | None:
        """The estimated remaining seconds at the pace so far, None before any cell has finished."""
        ran = self.done + self._fraction_done()
        if not self.done or not self.total:
            return None
        return (self._clock() - self._began) / ran * max(self.total - self.reused - ran, 0.0)

    def _fraction_done(self) -> float:
        """The sum of the finished fractions of the running cells."""
        return sum(state.cell_done for state in list(self._running.values()))


def _fewer_demonstrations(record: Record) -> str:
    """A note on how many demonstrations fitted into the prompts, if fewer than requested."""
    requested = len(record.prompt.demonstration_ids[0]) if record.prompt.demonstration_ids else 0
    if not record.prompt.shortened_test or record.prompt.demonstrations_per_row is None:
        return ""
    return f" · only {record.prompt.demonstrations_per_row:.3g} of {requested} demonstrations fit"


class TrainingDisplay(_LiveDisplay):
    """The progress of one training: steps, elapsed and estimated remaining time; if `console` is not a terminal, a line
    at every tenth. A context manager."""

    done = total = 0

    def step(self, phase: str, done: int, total: int) -> None:
        """Updates the steps of a phase; the time starts with the first step."""
        if not self.total:
            self._began = self._clock()
        before, self.done, self.total, self._preparing = self.done, done, total, PHASES.get(phase, (phase,))[0]
        if not self._redraws and done * 10 // total > before * 10 // total:
            self._print(Text(f"[{done}/{total}] {self._preparing} · {self._times()}"))

    def render(self) -> RenderableType:
        """A bar over all steps."""
        if not self.total or self.done == self.total:
            return self._waiting()
        row = Table.grid(padding=(0, 1), expand=False)
        bar = ProgressBar(total=self.total, completed=self.done, width=20)
        row.add_row(bar, f"{self._preparing} {self.done}/{self.total}", f"· {self._times()}")
        return row

    def _times(self) -> str:
        elapsed = self._clock() - self._began
        left = elapsed / self.done * (self.total - self.done) if self.done > 1 else None
        return format_duration(elapsed) + ("" if not left else f", about {format_duration(left)} left")


def format_duration(seconds: float) -> str:
    """A duration for people.

    >>> format_duration(4.2), format_duration(75), format_duration(3700)
    ('4 s', '1 min 15 s', '1 h 1 min')
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
