"""The comparison as a table in the terminal, for the question which method to use."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from tunefront.reports import units
from tunefront.reports.compare import panels, recipe_choice
from tunefront.reports.compare.aliases import unify_names
from tunefront.reports.compare.checks import check
from tunefront.reports.compare.filters import select
from tunefront.reports.compare.panels import REFERENCE
from tunefront.reports.compare.printable import make_printable
from tunefront.reports.compare.protocols import ordinary
from tunefront.reports.names import describe_shots, short_names
from tunefront.reports.sections.columns import Layout, lay_out
from tunefront.reports.sections.findings import lead
from tunefront.reports.sections.summary_columns import TASKS, TIED, SummaryColumns, ranked
from tunefront.reports.sections.summary_warnings import summary_warnings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderResult

    from tunefront.bench.records import Record
    from tunefront.bench.records.answers import AnswerFiles
    from tunefront.reports.compare.filters import Where
    from tunefront.reports.compare.panels import Panel


LEADING = 4
"""The most panels whose main findings are printed."""


@dataclass(frozen=True)
class Summary:
    """The table with its explanations. `answers`: the main finding on each panel, in a sentence; none if there are more
    than `LEADING` panels. `warnings` are not part of it: a command prints them where it prints others."""

    panels: tuple[Panel, ...]
    names: Mapping[str, str]
    backbones: Mapping[str, str]
    reference: str
    answers: tuple[str, ...]
    warnings: tuple[str, ...]

    @cached_property
    def columns(self) -> SummaryColumns:
        """The columns, whether they fit or not."""
        return SummaryColumns(self.panels, self.names, self.reference)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Leaves out what has no room. Names of methods are folded before a cost is left out."""
        if not self.panels:
            yield Text("no cell has a score yet", style="dim")
            return
        layout = lay_out("method", self.columns.rows, self.columns.all, options.max_width)
        rows = iter(layout.rows)
        for number, panel in enumerate(self.panels):
            if number:
                yield Text("")
            yield Text(self._title(panel, options.max_width), "bold")
            if not number:
                yield Text(layout.head, "dim", overflow="fold")
            for entry in ranked(panel):
                tied = panel.is_tied(entry)
                yield from (_row(line, layout.first if tied else 0) for line in next(rows))
            for line in next(rows) if panel.baselines else ():
                yield Text(line, "dim", overflow="fold")
            if number < len(self.answers) and self.answers[number]:
                yield _wrapped(self.answers[number], options.max_width)
        yield from (_wrapped(note, options.max_width, "dim") for note in self._notes(layout))

    def _title(self, panel: Panel, width: int) -> str:
        """The panel with its tasks, or their number if the names do not fit into a line."""
        metric = "" if panel.by_metric or not panel.metric else f", {panel.metric}"
        where = f"{describe(panel, self.backbones)}{metric}"
        whole = f"{where}: {', '.join(sorted(self.names[task] for task in panel.tasks))}"
        return whole if cell_len(whole) <= width else f"{where}: {units.plural(len(panel.tasks), 'task')}"

    def _notes(self, layout: Layout) -> list[str]:
        """The explanations of the columns that are shown, and what has no room."""
        notes = [self._about_scores(layout), self._about_the_reference()]
        shown = {column.head for column in self.columns.all} - set(layout.left_out)
        sizes = {panel.backbone_params for panel in self.panels}
        size = sizes.pop() if len(sizes) == 1 else None
        whole = "its backbone's parameters" if size is None else f"the backbone's {units.count(size)} parameters"
        costs = "; costs: medians over runs" if shown & {"training", "time", "per query"} else ""
        notes.append(f"trained: % of {whole}{costs}" if "trained" in shown else "")
        if any(panel.several_metrics for panel in self.panels):
            notes.append("tasks of different metrics are listed separately: their scores have no average")
        lost = self._lost(layout)
        notes.append(f"no room here, see the report: {', '.join(lost)}" if lost else "")
        return [note for note in notes if note]

    def _about_scores(self, layout: Layout) -> str:
        """What the scores are over, and what the mark and the brackets are."""
        several = any(len(entry.runs(task)) > 1 for p in self.panels for entry in p.entries for task in p.tasks)
        over = ["tasks"] if any(len(panel.tasks) > 1 for panel in self.panels) else []
        over += [f"runs{' ± standard deviation' if layout.spreads else ''}"] if several else []
        notes = [f"score × 100{', mean over ' if over else ''}{' and '.join(over)}"]
        if self.columns.has_ties:
            notes.append(f"{TIED} best or tied with it")
        if not layout.brief and any(panel.interval(entry) for panel in self.panels for entry in panel.entries):
            rough = any(panel.evidence is not None and panel.evidence.estimate.approximate for panel in self.panels)
            notes.append(f"[ ] {'approximate ' if rough else ''}95 % interval")
        return "; ".join(notes)

    def _about_the_reference(self) -> str:
        """Why some methods have no difference; empty if all have one."""
        compared = [panel for panel in self.panels if len(panel.entries) > 1]
        missing = not all(panel.relative_tasks for panel in compared)
        return f"without a score of {self.reference} there is no difference to it" if missing else ""

    def _lost(self, layout: Layout) -> list[str]:
        """What is left out, in words; the share says as much as the number of parameters."""
        tasks = {column.head for column in self.columns.all if column.level == TASKS}
        lost = [head for head in layout.left_out if head not in {*tasks, "parameters"}]
        lost += ["the intervals"] if layout.brief else []
        if tasks & set(layout.left_out):
            return [*lost, f"the scores on the {len(tasks)} tasks"]
        spreads = any(any(column.minor) for column in self.columns.all) and not self.columns.has_ties
        return lost + (["the spread of the scores"] if spreads and not layout.spreads else [])


def summary_table(
    records: Sequence[Record],
    where: Where = None,
    reference: str = REFERENCE,
    predictions: AnswerFiles | None = None,
) -> Summary:
    """The summary of these records: per panel the methods, the best mean first, and the score of the constant answer.

    `predictions` reads the records' answers, which the intervals come from. UserError if the records cannot be
    compared. Without ok records the table is empty, and says so.
    """
    chosen = select(unify_names(make_printable(records)), where)
    ok = ordinary(record for record in chosen if record.status == "ok")
    check(ok)
    selection = recipe_choice.choose(ok, [record for record in chosen if record.status in ("failed", "skipped")])
    panel_list = panels.build(selection, reference, predictions)
    names = short_names(record.task for record in ok)
    backbones = short_names(panel.backbone for panel in panel_list)
    titles = [describe(panel, backbones) for panel in panel_list]
    warnings = summary_warnings(panel_list, titles, selection, ok, names)
    answers = [
        lead(panel, backbones[panel.backbone], False, reference, names)[0] if panel.worthwhile else ""
        for panel in panel_list[: LEADING if len(panel_list) <= LEADING else 0]
    ]
    return Summary(tuple(panel_list), names, backbones, reference, tuple(answers), warnings)


def describe(panel: Panel, backbones: Mapping[str, str]) -> str:
    """A panel's backbone, training rows and, if panels differ in it, metric."""
    return f"{backbones[panel.backbone]}, {describe_shots(panel.shots)}{panel.by_metric}"


def _row(line: str, bold: int) -> Text:
    """A line of a table, its first characters in bold type."""
    text = Text(line, overflow="fold")
    text.stylize("bold", 0, bold)
    return text


def _wrapped(text: str, width: int, style: str = "") -> Text:
    """A text broken between words, without blanks at the ends of lines."""
    return Text("\n".join(textwrap.wrap(text, width, break_on_hyphens=False)), style, overflow="fold")
