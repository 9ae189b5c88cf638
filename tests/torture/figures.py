"""What was tried and what went wrong, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.torture.forked import Ended

WRONG = ("lost", "doubled", "torn", "different", "tracebacks", "bugs", "hangs", "left", "codes", "words")
"""Figures that must be 0: cells without a record at the end, records written again, files that are incomplete,
deterministic fields that are not those of the undisturbed run, tracebacks, "bug in tunefront", commands that hang,
processes that outlive their command, undocumented exit codes, errors that are not the one paragraph expected."""
MOST_NAMED = 40


@dataclass
class Figures:
    """Counts by part and kind, and what to repeat of whatever went wrong."""

    counts: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, part: str, kind: str, **numbers: int) -> None:
        """Adds to the counts of a kind; `tried` is how often, the other names are those of `WRONG` or notes."""
        self.counts.setdefault((part, kind), Counter()).update(numbers)

    def fault(self, part: str, kind: str, name: str, text: str) -> None:
        """Counts something that went wrong, with a text that says what."""
        self.add(part, kind, **{name: 1})
        self.faults.append(f"{part}, {kind}: {name}: {text}")

    def judge(self, part: str, kind: str, ended: Ended) -> bool:
        """Counts what no command may do, however it was treated; whether it did none of it."""
        before = len(self.faults)
        if ended.hung:
            self.fault(part, kind, "hangs", ended.said[-300:])
        if "Traceback" in ended.said:
            self.fault(part, kind, "tracebacks", ended.said[-2000:])
        if "bug in tunefront" in ended.said:
            self.fault(part, kind, "bugs", ended.said[-500:])
        return len(self.faults) == before

    def merge(self, others: Iterable[Figures]) -> Figures:
        """Adds the figures of others."""
        for other in others:
            for (part, kind), numbers in other.counts.items():
                self.add(part, kind, **numbers)
            self.faults += other.faults
        return self

    def total(self, name: str, part: str | None = None) -> int:
        """The sum of a figure, over all parts or one."""
        return sum(numbers[name] for (of, _), numbers in self.counts.items() if part in (None, of))

    @property
    def wrong(self) -> int:
        """The sum of all figures that must be 0."""
        return sum(map(self.total, WRONG))

    def table(self) -> str:
        """The figures in columns, what went wrong below them."""
        rows = [["part", "kind", "tried", *WRONG, "also"]]
        for part in dict.fromkeys(of for of, _ in self.counts):
            mine = {kind: numbers for (of, kind), numbers in self.counts.items() if of == part}
            rows += [_row(part, kind, numbers) for kind, numbers in sorted(mine.items())]
            if len(mine) > 1:
                rows.append(_row(part, "all", sum(mine.values(), Counter())))
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, *self.faults[:MOST_NAMED]])


def _row(part: str, kind: str, numbers: Counter[str]) -> list[str]:
    also = [f"{number:,} {name}" for name, number in sorted(numbers.items()) if name not in ("tried", *WRONG)]
    return [part, kind, f"{numbers['tried']:,}", *(f"{numbers[name]:,}" for name in WRONG), ", ".join(also)]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    last = len(row) - 1
    return [
        text.ljust(width) if place in (0, 1, last) else text.rjust(width)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
