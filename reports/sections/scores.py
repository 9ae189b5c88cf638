"""The score table of a panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.collapse import MARK, count_collapsed, mark
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel


def score_table(panel: Panel, index: int, names: Mapping[str, str]) -> Table:
    """Centre and spread of the scores per task, and their average; the reference first, the baseline last."""
    relative = bool(panel.relative_tasks)
    against = (Column("against", panel.reference.label),) if relative and panel.reference else ()
    columns = (
        Column("method", numeric=False),
        *(Column(names[task], panel.metric) for task in panel.tasks),
        Column("average", "over tasks"),
        *against,
        Column("runs", "per task"),
    )
    rows = []
    for e, entry in enumerate(panel.entries):
        cells = [Cell(entry.label, strong=entry is panel.reference)]
        cells += [_score(entry, task, anchor(index, e, t)) for t, task in enumerate(panel.tasks)]
        average = entry.average(panel.tasks)
        cells.append(
            Cell(units.points(average), title=_exact(average), link=link_if_present(average, anchor(index, e)))
        )
        if against:
            gap = panel.difference(entry)
            cells.append(Cell(units.signed(gap), title=_exact(gap), link=link_if_present(gap, anchor(index, e))))
        cells.append(Cell(_runs([len(entry.scores(task)) for task in panel.tasks])))
        rows.append(tuple(cells))
    base = [panel.baselines.get(task) for task in panel.tasks]
    lines: tuple[int, ...] = ()
    if any(value is not None for value in base):
        cells = [
            Cell(panel.baseline_name),
            *(Cell(units.points(v), title=_exact(v)) for v in [*base, panel.baseline]),
        ]
        rows.append((*cells, *(Cell("") for _ in (*against, None))))
        lines = (len(rows) - 1,)
    return Table("Scores", columns, tuple(rows), _note(panel), lines)


def _note(panel: Panel) -> str:
    note = "Scores × 100, mean over runs ± sample standard deviation (no ± for a single run)."
    if panel.few_shot:
        note = (
            "Scores × 100, median over all runs of a task (templates, draws, orders, seeds) with the interquartile "
            "range in brackets; the average is the mean of the tasks' medians."
        )
        if panel.relative_tasks and panel.reference is not None:
            note += (
                f" Against {panel.reference.label}: mean over tasks of the median difference between runs of the same "
                "template, draw and seed; it may differ from the difference of the medians."
            )
    if panel.reference is not None and 0 < len(panel.relative_tasks) < len(panel.tasks):
        note += f" The comparison uses only tasks on which {panel.reference.label} has a score."
    if panel.several_metrics:
        note += " Tasks with another metric are in a separate section: scores of different metrics have no average."
    if any(entry.collapsed for entry in panel.entries):
        note += f" {MARK} Includes collapsed runs."
    if any(entry.average(panel.tasks) is None for entry in panel.entries):
        note += " A method without a score on every task has no average, since it would not be comparable."
    return note


def _score(entry: Entry, task: str, link: str) -> Cell:
    center, spread = entry.center(task), entry.spread(task)
    title = _exact(center) + ("" if spread is None else f" {'IQR' if entry.few_shot else '±'} {spread:.3g}")
    collapsed = count_collapsed(entry.runs(task))
    title += f", {collapsed.words}" if collapsed else ""
    shown = mark(collapsed) + units.points(center)
    return Cell(shown, units.spread(spread, entry.few_shot), title, link_if_present(center, link))


def _exact(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6g}"


def _runs(amounts: list[int]) -> str:
    least, most = min(amounts), max(amounts)
    return str(most) if least == most else f"{least}–{most}"
