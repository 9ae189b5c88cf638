"""The comparison as a table in the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tunefront.reports import units
from tunefront.reports.compare import measures, panels, recipe_choice
from tunefront.reports.compare.aliases import unify_names
from tunefront.reports.compare.checks import check
from tunefront.reports.compare.collapse import MARK, count_collapsed, mark
from tunefront.reports.compare.filters import select
from tunefront.reports.compare.panels import REFERENCE
from tunefront.reports.compare.printable import make_printable
from tunefront.reports.compare.waiting import describe_waiting
from tunefront.reports.names import describe_shots, short_names
from tunefront.reports.sections.findings import name_collapsed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from tunefront.bench.records import Record
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.filters import Where

COSTS = ("trained", "share", "training", "time")
PER_QUERY = "per query"
"""A column for methods with demonstrations, whose costs are per query."""
SPARE = ("training", "trained", "time", PER_QUERY)
"""Costs that are left out first, in this order, if the terminal is too narrow; then the spread of scores, then tasks
from the last one."""

UNBOUNDED = 10_000
"""Wider than any table, to measure its natural width."""

Row = tuple[tuple[str, str], ...]
"""Cells, each with its spread, which may be left out."""


FOLDED = 36
"""Width of a method's name if it is folded."""


@dataclass(frozen=True)
class Summary:
    """The table with the columns that fit into the terminal; the others are named below it."""

    heads: tuple[str, ...]
    sections: tuple[tuple[str | None, tuple[Row, ...]], ...]
    costs: tuple[int, ...]
    tasks: tuple[int, ...]
    notes: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Leaves out columns until the rest fits. Names of methods are folded before a score is left out."""
        for without, scatter, names in self._tries():
            table = self._table(without, scatter)
            table.columns[0].max_width, table.columns[0].no_wrap = names, names is None
            if Measurement.get(console, options.update(max_width=UNBOUNDED), table).maximum <= options.max_width:
                break
        else:
            table.columns[0].no_wrap = False
        yield table
        for note in (*self.notes, *self._missing(without, scatter)):
            yield Text(note, style="dim italic")

    def _tries(self) -> Iterator[tuple[tuple[int, ...], bool, int | None]]:
        """The layouts to try, from full to smallest: columns left out, whether spreads are shown, width of names."""
        for count in range(len(self.costs) + 1):
            yield self.costs[:count], True, None
        yield self.costs, False, None
        for count in range(len(self.tasks) + 1):
            yield (*self.costs, *self.tasks[:count]), False, FOLDED

    def _table(self, without: Collection[int], scatter: bool) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        kept = [place for place in range(len(self.heads)) if place not in without]
        for place in kept:
            side: Literal["left", "right"] = "right" if place else "left"
            table.add_column(Text(self.heads[place]), justify=side, no_wrap=True, overflow="fold")
        for number, (title, rows) in enumerate(self.sections):
            if title is not None:
                if number:
                    table.add_row()
                table.add_row(Text(title, style="dim"))
            for row in rows:
                cells = [f"{text} {spread}" if spread and scatter else text for text, spread in row]
                table.add_row(*(Text(cells[place]) for place in kept))
        return table

    def _missing(self, without: Sequence[int], scatter: bool) -> list[str]:
        names = [self.heads[place] for place in sorted(without)]
        if not scatter and any(spread for _, rows in self.sections for row in rows for _, spread in row):
            names.append("the spread of the scores")
        return [f"left out because the terminal is too narrow (see the report): {', '.join(names)}"] if names else []


def summary_table(records: Sequence[Record], where: Where = None, reference: str = REFERENCE) -> Summary:
    """Method, difference to the reference in points, score per task, trained parameters and costs.

    UserError if the records cannot be compared. Without ok records the table is empty, with a note.
    """
    ok = [record for record in select(unify_names(make_printable(records)), where) if record.status == "ok"]
    check(ok)
    panel_list = panels.build(recipe_choice.choose(ok), reference)
    tasks = sorted({task for panel in panel_list for task in panel.tasks})
    names, backbones = short_names(tasks), short_names(panel.backbone for panel in panel_list)
    prompted = any(record.prompt.demonstration_ids for record in ok)
    costs = (*COSTS, PER_QUERY) if prompted else COSTS
    heads = ("method", f"against {reference}", *(names[task] for task in tasks), *costs)
    first = len(heads) - len(costs)
    titles = [f"{backbones[panel.backbone]}, {describe_shots(panel.shots)}{panel.by_metric}" for panel in panel_list]
    sections = []
    for panel, title in zip(panel_list, titles, strict=True):
        rows = [_row(panel, entry, tasks)[: len(heads)] for entry in panel.entries]
        sections.append((title if len(panel_list) > 1 else None, (*rows, *_baseline(panel, tasks, len(heads)))))
    return Summary(
        heads,
        tuple(sections),
        tuple(first + costs.index(cost) for cost in SPARE if cost in costs),
        tuple(reversed(range(2, first))),
        tuple(_notes(panel_list, titles)) if ok else ("no cell has a score yet",),
    )


def _notes(panel_list: Sequence[panels.Panel], titles: Sequence[str]) -> list[str]:
    notes = []
    sizes = {panel.backbone_params for panel in panel_list}
    size = sizes.pop() if len(sizes) == 1 else None
    whole = "its backbone's parameters" if size is None else f"the backbone's {units.count(size)} parameters"
    notes.append(f"share: trained parameters, including the head, in percent of {whole}")
    collapsed = (
        name_collapsed(panel, f"{title}: " if len(panel_list) > 1 else "")
        for panel, title in zip(panel_list, titles, strict=True)
    )
    notes += [f"{MARK} {text}" for text in collapsed if text]
    if any(panel.several_metrics for panel in panel_list):
        notes.append("tasks of different metrics are listed separately: their scores have no average")
    if busy := describe_waiting([record for panel in panel_list for record in panel.records]):
        notes.append(busy)
    uneven = next((panel.timing_mismatch for panel in panel_list if panel.timing_mismatch), None)
    return notes if uneven is None else [*notes, f"times cannot be compared and are left out: {uneven}"]


def _baseline(panel: panels.Panel, tasks: list[str], width: int) -> tuple[Row, ...]:
    """The row of always giving the constant answer; empty if no record has its score."""
    if not panel.baselines:
        return ()
    scores = ((units.points(panel.baselines.get(task)), "") for task in tasks)
    cells = ((panel.baseline_name, ""), ("", ""), *scores)
    return ((*cells, *(("", ""),) * (width - len(cells))),)


def _row(panel: panels.Panel, entry: Entry, tasks: list[str]) -> Row:
    trained = measures.PARAMETERS.median(panel, entry)
    return (
        (entry.label, ""),
        (units.signed(panel.difference(entry)), ""),
        *(
            (
                mark(count_collapsed(entry.runs(task))) + units.points(entry.center(task)),
                units.spread(entry.spread(task)),
            )
            for task in tasks
        ),
        (units.count(trained), ""),
        (units.percent(*entry.share) if entry.share else units.MISSING, ""),
        (units.si(measures.TRAIN_FLOPS.median(panel, entry), "FLOP"), ""),
        (units.seconds(measures.TRAIN_SECONDS.median(panel, entry)), ""),
        (units.si(measures.INFERENCE_FLOPS.median(panel, entry), "FLOP"), ""),
    )
