"""Several backbones or numbers of shots at a glance: a row per method, a column per panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import differing_settings
from tunefront.reports.compare.collapse import MARK
from tunefront.reports.names import describe_shots, natural_key
from tunefront.reports.tables import Cell, Column, Table, anchor, link_if_present

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

MOST = 12
"""Most panels for which this table is shown."""

BOLD_COLUMN = "Bold: the highest of its column, and what cannot be distinguished from it."
"""The note on bold type in a table with a column per panel."""


def overview_table(panels: Sequence[Panel], titles: Sequence[str], reference: str) -> Table | None:
    """Every method's average over tasks and its difference to the reference; None for one panel or too many."""
    if not 1 < len(panels) <= MOST:
        return None
    same_shots = len({panel.shots for panel in panels}) == 1
    heads = [title.partition(", ") for title in titles]
    under = [
        panel.by_metric.removeprefix(", ") if same_shots else rest
        for panel, (*_, rest) in zip(panels, heads, strict=True)
    ]
    columns = (
        Column("method", numeric=False),
        *(Column(name, rest) for (name, *_), rest in zip(heads, under, strict=True)),
    )
    labels = dict.fromkeys(entry.label for panel in panels for entry in panel.entries)
    first = sorted(labels, key=lambda label: (label != reference, -_most(panels, label), natural_key(label)))
    rows = tuple(
        (
            Cell(label),
            *(_cell(panel, index, label) for index, panel in enumerate(panels)),
        )
        for label in first
    )
    shots_text = f", with {describe_shots(panels[0].shots)}" if same_shots else ""
    compared = any(panel.relative_tasks and len(panel.entries) > 1 for panel in panels)
    gaps = f", with the difference to {reference} in points in brackets" if compared else ""
    note = (
        f"Average over the tasks of the column, × 100{shots_text}{gaps}, as in the score tables below. A dash: not "
        "run, or no score on some task."
    )
    if len({panel.tasks for panel in panels}) > 1:
        note += " Compare within a column only: the columns have different tasks."
    if any(panel.evidence is not None for panel in panels):
        note += f" {BOLD_COLUMN}"
    if any(entry.collapsed.mostly for panel in panels for entry in panel.entries):
        note += f" {MARK} At least half of the runs collapsed."
    uneven = differing_settings([record for panel in panels for record in panel.records])
    if uneven:
        listed = ", ".join(f"{name} ({', '.join(values)})" for name, values in uneven.items())
        note += f" Compare within a column only: the columns differ in settings that change scores: {listed}."
    return Table("At a glance", columns, rows, note)


def _cell(panel: Panel, index: int, label: str) -> Cell:
    match = _entry(panel, label)
    if match is None:
        return Cell(units.MISSING)
    e, entry = match
    average, gap = entry.average(panel.tasks), panel.difference(entry)
    minor = f"({units.signed(gap)})" if gap is not None and entry is not panel.reference else ""
    title = "" if average is None else f"{average:.6g}"
    if entry.collapsed:
        title += f", {entry.collapsed.words}"
    shown = (MARK if entry.collapsed.mostly and average is not None else "") + units.points(average)
    return Cell(shown, minor, title, link_if_present(average, anchor(index, e)), strong=panel.is_tied(entry))


def _entry(panel: Panel, label: str) -> tuple[int, Entry] | None:
    return next(((e, entry) for e, entry in enumerate(panel.entries) if entry.label == label), None)


def _most(panels: Sequence[Panel], label: str) -> float:
    """The largest share of a backbone's parameters that the method trains."""
    entries = [entry for panel in panels for entry in panel.entries if entry.label == label]
    sizes = [entry.share for entry in entries if entry.share is not None]
    return max((part / whole for part, whole in sizes if whole), default=0.0)
