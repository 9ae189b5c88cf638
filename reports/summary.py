"""The comparison as a table for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from reports import measures, panels, tuning, units
from reports.checks import check
from reports.filters import select
from reports.names import shortened, shots
from reports.spellings import unified

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from bench.records import Record
    from reports.filters import Where

COSTS = ("trained", "share", "training", "time")
SPARE = ("training", "trained", "time")
"""Costs that are left out first, in this order, where the terminal is too narrow; then the tasks, from the last."""

UNBOUNDED = 10_000
"""Wider than any table: what is asked is how wide it would like to be."""


@dataclass(frozen=True)
class Summary:
    """The table with as many of its columns as the terminal is wide; the others are named under it."""

    heads: tuple[str, ...]
    sections: tuple[tuple[str | None, tuple[tuple[str, ...], ...]], ...]
    spare: tuple[int, ...]
    notes: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Leaves columns out until the rest fits; the methods' names are folded only where that does not help."""
        for left_out in range(len(self.spare) + 1):
            table = self._table(self.spare[:left_out])
            if Measurement.get(console, options.update(max_width=UNBOUNDED), table).maximum <= options.max_width:
                break
        else:
            table.columns[0].no_wrap = False
        yield table
        for note in (*self.notes, *self._missing(self.spare[:left_out])):
            yield Text(note, style="dim italic")

    def _table(self, without: Collection[int]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        kept = [place for place in range(len(self.heads)) if place not in without]
        for place in kept:
            side: Literal["left", "right"] = "right" if place else "left"
            table.add_column(Text(self.heads[place]), justify=side, no_wrap=True, overflow="fold")
        for title, rows in self.sections:
            if title is not None:
                table.add_row(Text(title, style="dim"))
            for row in rows:
                table.add_row(*(Text(row[place]) for place in kept), end_section=row is rows[-1])
        return table

    def _missing(self, without: Sequence[int]) -> list[str]:
        if not without:
            return []
        listed = ", ".join(self.heads[place] for place in sorted(without))
        return [f"left out for want of width, and in the report: {listed}"]


def summary_table(records: Sequence[Record], where: Where = None, reference: str = "full") -> Summary:
    """Method, points against the reference, mean score per task, what was trained and what it cost.

    Mistake where the records do not compare. Without ok records the table is empty and says so.
    """
    ok = [record for record in select(unified(records), where) if record.status == "ok"]
    check(ok)
    found = panels.build(tuning.choose(ok), reference)
    tasks = sorted({task for panel in found for task in panel.tasks})
    names, backbones = shortened(tasks), shortened(panel.backbone for panel in found)
    heads = ("method", f"against {reference}", *(names[task] for task in tasks), *COSTS)
    first = len(heads) - len(COSTS)
    sections = []
    for panel in found:
        title = f"{backbones[panel.backbone]}, {shots(panel.shots)}" if len(found) > 1 else None
        sections.append((title, tuple(tuple(_row(panel, entry, tasks)) for entry in panel.entries)))
    return Summary(
        heads,
        tuple(sections),
        (*(first + COSTS.index(cost) for cost in SPARE), *reversed(range(2, first))),
        tuple(_notes(found)) if ok else ("no cell has a score yet",),
    )


def _notes(found: Sequence[panels.Panel]) -> list[str]:
    sizes = {panel.backbone_params for panel in found}
    size = sizes.pop() if len(sizes) == 1 else None
    whole = "its backbone's parameters" if size is None else f"the backbone's {units.count(size)} parameters"
    notes = [f"share: trained parameters, the head's included, in percent of {whole}"]
    uneven = next((panel.uneven for panel in found if panel.uneven), None)
    return notes if uneven is None else [*notes, f"times that do not compare are left out: {uneven}"]


def _row(panel: panels.Panel, entry: panels.Entry, tasks: list[str]) -> list[str]:
    trained = measures.PARAMETERS.of(panel, entry)
    return [
        entry.label,
        units.signed(panel.difference(entry)),
        *(_score(entry, task) for task in tasks),
        units.count(trained),
        units.percent(trained, entry.median(lambda record: record.backbone_params)),
        units.si(measures.TRAIN_FLOPS.of(panel, entry), "FLOP"),
        units.seconds(measures.TRAIN_SECONDS.of(panel, entry)),
    ]


def _score(entry: panels.Entry, task: str) -> str:
    spread = entry.spread(task)
    return units.points(entry.mean(task)) + ("" if spread is None else f" ± {100 * spread:.1f}")
