"""What the script found: every step is written when it is done; a budget of seconds ends it in time."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tunefront.bench.errors import in_short
from tunefront.bench.files import writing
from tunefront.bench.records import Record

Figures = dict[str, float | str | None]
"""Name, with its unit -> figure; None where this machine cannot measure it."""


@dataclass
class Outcome:
    """What a step found: its figures, what of them is a failure in sentences, what was left out and why, and the record
    of a cell that ran."""

    figures: Figures = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    record: Record | None = None

    def check(self, right: bool, failure: str) -> None:
        """Adds the failure unless the figures are right."""
        if not right:
            self.failures.append(failure)


Step = tuple[str, Callable[[], Outcome]]
"""A name and what it runs."""


@dataclass
class Entry:
    """A step of a section as it is written: seconds None for one that the budget left out."""

    section: str
    step: str
    seconds: float | None
    figures: Figures = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    record: dict[str, Any] | None = None  # Any: as pydantic dumps it


class Results:
    """The entries so far, in the file `out`.

    Args: machine, facts about it; budget, seconds for all sections from now on; now, the clock.
    """

    def __init__(
        self, out: Path, machine: dict[str, Any], budget: float, now: Callable[[], float] = time.monotonic
    ):  # Any: what json.dumps takes
        self.out, self.machine, self.budget, self._now = out, machine, budget, now
        self.entries: list[Entry] = []
        self._start = now()

    @property
    def failures(self) -> list[str]:
        """All failures, with the names of their steps."""
        return [f"{entry.section}, {entry.step}: {text}" for entry in self.entries for text in entry.failures]

    def run(self, section: str, steps: Iterator[Step], share: float) -> None:
        """Runs the steps of a section until this share of the budget is used; the others are left out, in a sentence
        each. A step that raises an error is a failure."""
        for name, run in steps:
            used = self._now() - self._start
            if used > share * self.budget:
                why = (
                    f"not run: {used:.0f} of {self.budget:.0f} seconds are used, and this section ends at "
                    f"{share * self.budget:.0f}"
                )
                self._add(Entry(section, name, None, left_out=[why]))
                continue
            gc.collect()  # else the allocator counts what is left of an earlier step
            try:
                outcome = run()
            except Exception as error:  # the other steps may still show something
                outcome = Outcome(failures=[f"it raised an error: {in_short(error)}"])
            record = None if outcome.record is None else outcome.record.model_dump(mode="json")
            seconds = self._now() - self._start - used
            self._add(Entry(section, name, seconds, outcome.figures, outcome.failures, outcome.left_out, record))

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        took = "left out" if entry.seconds is None else f"{entry.seconds:.0f} s"
        print(f"{entry.section}: {entry.step}: {took}", file=sys.stderr, flush=True)
        with writing(self.out) as file:
            file.write(json.dumps(self.as_json(), indent=1).encode())

    def as_json(self) -> dict[str, Any]:
        """Everything that was found, for a file."""
        entries = [asdict(entry) for entry in self.entries]
        return {**self.machine, "budget_seconds": self.budget, "failures": self.failures, "steps": entries}

    def table(self) -> Table:
        """A row per step."""
        table = Table(title=f"Checks on {self.machine['device_name'] or self.machine['device']}")
        for column in ("section", "step", "seconds", "figures", "failures, and what was left out"):
            table.add_column(column, overflow="fold")
        for entry in self.entries:
            figures = ", ".join(f"{name} {_short(value)}" for name, value in entry.figures.items())
            seconds = "" if entry.seconds is None else f"{entry.seconds:.0f}"
            remarks = [*(f"FAILED: {text}" for text in entry.failures), *entry.left_out]
            table.add_row(entry.section, entry.step, seconds, figures, "\n".join(remarks))
        return table

    def print(self) -> None:
        """Prints the table, the failures and where the figures are."""
        console = Console(width=160)
        console.print(self.table())
        for failure in self.failures:
            console.print(f"failed: {failure}", markup=False)
        console.print(f"figures: {self.out}", markup=False)


def _short(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
