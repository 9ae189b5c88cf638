"""The score table of a panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.collapse import MARK, count_collapsed, mark
from tunefront.reports.compare.statistics import mean
from tunefront.reports.sections.certainty_words import BOLD, about, interval_text
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

SPREAD = "Scores × 100, mean over runs ± sample standard deviation (no ± for a single run)."
"""The note on the numbers of a score table."""


def score_table(panel: Panel, index: int, names: Mapping[str, str]) -> Table:
    """The average over tasks, its difference to the reference, and the score on every task; the reference first, the
    baseline last."""
    relative = bool(panel.relative_tasks)
    against = (Column("against", panel.reference.label),) if relative and panel.reference else ()
    columns = (
        Column("method", numeric=False),
        Column("average", "over tasks"),
        *against,
        *(Column(names[task], panel.metric) for task in panel.tasks),
        Column("runs", "per task"),
    )
    rows = []
    for e, entry in enumerate(panel.entries):
        is_base, average = entry is panel.reference, entry.average(panel.tasks)
        tied = average is not None and panel.is_tied(entry)
        cells = [Cell(entry.label, "reference" if is_base and relative else "", strong=tied)]
        cells.append(
            Cell(units.points(average), "", _exact(average), link_if_present(average, anchor(index, e)), strong=tied)
        )
        if against:
            gap = panel.difference(entry)
            known = panel.interval(entry)
            minor = "" if known is None else interval_text(known)
            cells.append(Cell(units.signed(gap), minor, _exact(gap), link_if_present(gap, anchor(index, e))))
        cells += [_score(panel, entry, task, anchor(index, e, t)) for t, task in enumerate(panel.tasks)]
        cells.append(Cell(_runs([len(entry.scores(task)) for task in panel.tasks]), link=anchor(index, e)))
        rows.append(tuple(cells))
    base = [panel.baselines.get(task) for task in panel.tasks]
    lines: tuple[int, ...] = ()
    if any(value is not None for value in base):
        links = [anchor(index, 0), *(anchor(index, 0, t) for t in range(len(panel.tasks)))]
        overall, *scores = (
            Cell(units.points(value), title=_exact(value), link=link_if_present(value, link))
            for value, link in zip([panel.baseline, *base], links, strict=True)
        )
        rows.append((Cell(panel.baseline_name), overall, *(Cell("") for _ in against), *scores, Cell("")))
        lines = (len(rows) - 1,)
    return Table("Scores", columns, tuple(rows), _note(panel), lines)


def _note(panel: Panel) -> str:
    note = SPREAD + _about_intervals(panel)
    if panel.reference is not None and 0 < len(panel.relative_tasks) < len(panel.tasks):
        note += f" The comparison uses only tasks on which {panel.reference.label} has a score."
    if panel.several_metrics:
        note += " Tasks with another metric are in a separate section: scores of different metrics have no average."
    if any(entry.collapsed for entry in panel.entries):
        note += f" {MARK} Includes collapsed runs."
    if any(entry.average(panel.tasks) is None for entry in panel.entries):
        note += " A method without a score on every task has no average, since it would not be comparable."
    return note


def _about_intervals(panel: Panel) -> str:
    """What brackets and bold type mean."""
    known = panel.evidence
    if known is None:
        return ""
    bold = f" {BOLD}"
    if known.reference is None:
        return bold
    return f" Brackets after a difference: its 95 % interval, about {about(known)}; all of them hold at once.{bold}"


def _score(panel: Panel, entry: Entry, task: str, link: str) -> Cell:
    """A method's mean on a task, shaded by its difference to the reference there."""
    center, spread = entry.center(task), entry.spread(task)
    title = _exact(center) + ("" if spread is None else f" ± {spread:.3g}")
    collapsed = count_collapsed(entry.runs(task))
    title += f", {collapsed.words}" if collapsed else ""
    shown = mark(collapsed) + units.points(center)
    shade = None if entry is panel.reference else mean(panel.task_differences(entry, task))
    return Cell(shown, units.spread(spread), title, link_if_present(center, link), shade=shade)


def _exact(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6g}"


def _runs(amounts: list[int]) -> str:
    least, most = min(amounts), max(amounts)
    return str(most) if least == most else f"{least}–{most}"
