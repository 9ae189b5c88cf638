"""Sentences on checkpoints alone, where too few runs say nothing about methods that are trained again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.uncertainty.crossed import ABOUT_METHODS
from tunefront.reports.names import join_names
from tunefront.reports.sections.certainty_words import compared_methods, describe_parameters, extent, interval_text

if TYPE_CHECKING:
    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel


def describe_checkpoints(panel: Panel, known: Evidence, where: str, choice: str) -> list[str]:
    """The sentences, the main one first; some are empty. `choice` is the recommended method."""
    return [
        _best_checkpoint(panel, known, where, choice),
        _checkpoints(known, choice),
        _what_is_missing(panel, known),
    ]


def _best_checkpoint(panel: Panel, known: Evidence, where: str, choice: str) -> str:
    others = [label for label in known.tied_labels if label != known.best]
    single = len(known.tasks) == 1 and max(known.estimate.runs) == 1
    which = f"that of {known.best} has the highest score" if single else f"those of {known.best} have the highest mean"
    text = f"{where}{'of' if where else 'Of'} these checkpoints, {which}, "
    text += f"{units.points(max(known.estimate.means) / 100)} points over {extent(known)}"
    if not others:
        return f"{text}. {describe_parameters(panel, choice, known.tied_labels)}"
    text += f"; on these test rows, {join_names(others)} cannot be distinguished from it."
    return f"{text} {describe_parameters(panel, choice, known.tied_labels)}"


def _checkpoints(known: Evidence, choice: str) -> str:
    """The comparison of checkpoints, which says nothing about methods that are trained again."""
    compared = compared_methods(known, choice)
    if known.reference is None or not compared:
        return ""
    base, texts = known.labels[known.reference], []
    for label, one in compared:
        test = known.checkpoints[known.labels.index(label)] if known.checkpoints else None
        p = f", McNemar p = {test.p:.2g} for this pair alone" if test is not None else ""
        texts.append(f"{label} {units.signed(one.difference)} points {interval_text(one)}{p}")
    rows = sum(known.estimate.rows)
    return f"Which checkpoint to use, on {units.plural(rows, 'test row')}, against {base}: {'; '.join(texts)}."


def _what_is_missing(panel: Panel, known: Evidence) -> str:
    """What one more draw or seed would show."""
    tasks, runs = len(known.tasks), min(known.estimate.runs)
    more = max(1, -(-(ABOUT_METHODS - tasks * (runs - 1)) // tasks))
    cells = more * tasks * len(known.labels)
    unit = "draw" if known.unit == "draw" or any(record.shots is not None for record in panel.records) else "seed"
    if known.estimate.run_df == 0:
        one = "ran once" if not (any(known.left_out) or any(known.unread)) else "has one run that can be compared"
        reason = f"Every method {one} on every task"
    elif runs > 1:
        reason = f"Every method ran with {units.plural(runs, known.unit)} on one task"
    else:
        reason = "Too few methods and tasks have a second run"
    return (
        f"{reason}, so this is about these checkpoints alone: what a method gains when it is trained again was not "
        f"measured. {units.plural(more, f'more {unit}').capitalize()} of every method "
        f"({units.plural(cells, 'cell')}) would give intervals about the methods."
    )
