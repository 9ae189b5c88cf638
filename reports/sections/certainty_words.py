"""Words that the sentences and tables on how sure differences are have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.uncertainty.contrasts import Interval

BOLD = "Bold: the highest mean, and what cannot be distinguished from it."
"""The note on bold type in tables of methods."""


def probability(value: float | None) -> str:
    """A probability with two digits, never 0 or 1: it comes from draws.

    >>> probability(0.123), probability(0.0), probability(0.999), probability(None)
    ('0.12', '<0.01', '>0.99', '—')
    """
    if value is None or value != value:
        return units.MISSING
    return "<0.01" if value < 0.01 else ">0.99" if value > 0.99 else f"{value:.2f}"


def about(known: Evidence) -> str:
    """What the intervals are about."""
    return "these checkpoints on other test rows" if known.estimate.checkpoints_only else "methods trained again"


def describe_intervals(known: Evidence) -> str:
    """What the intervals of an answer are about, and how far they can be trusted."""
    if known.estimate.checkpoints_only:
        return "In brackets: 95 % intervals of these checkpoints on other test rows; other draws and seeds did not run."
    if known.rows_alone:
        return "In brackets: 95 % intervals on other test rows of these tasks."
    how = "approximate " if known.estimate.approximate else ""
    where = "this task" if len(known.tasks) == 1 else f"these {len(known.tasks)} tasks"
    return f"In brackets: {how}95 % intervals of methods trained again on {where}, all at once."


def interval_text(found: Interval, mean: bool = False) -> str:
    """The ends of the interval of a difference, or of a mean, in points."""
    if found.standard_error == 0:
        return "[no variation seen]"
    low, high = (units.points(end / 100) if mean else units.signed(end) for end in (found.low, found.high))
    return f"[{low}, {high}]"


def extent(known: Evidence) -> str:
    """The numbers of tasks and runs behind the means."""
    tasks = units.plural(len(known.tasks), "task")
    if known.rows_alone:
        return tasks
    low, high = min(known.estimate.runs), max(known.estimate.runs)
    if not known.estimate.shared_runs:
        return f"{tasks} × all {known.unit}s of each method"
    if known.estimate.checkpoints_only and high == 1:
        return f"{tasks} × 1 run"
    shared = " that all methods have" if any(known.left_out) else ""
    return f"{tasks} × {units.plural(low, known.unit) if low == high else f'{low} to {high} {known.unit}s'}{shared}"


def describe_parameters(panel: Panel, choice: str, tied: Sequence[str]) -> str:
    """What the recommended method trains; `tied`: the methods tied with the best, it included."""
    entry = next(entry for entry in panel.entries if entry.label == choice)
    usable = [label for label in tied if label in {known.label for known in panel.worthwhile}]
    those = f"Of these {len(usable)}" if len(usable) == len(tied) else f"Of the {len(usable)} that did not collapse"
    subject = (
        f"{those}, {choice} trains the fewest parameters:" if len(usable) > 1 else f"Trained parameters of {choice}:"
    )
    return f"{subject} {_trained_share(entry)}."


def _trained_share(entry: Entry) -> str:
    """The trained parameters of a method, and their share of the backbone, in words."""
    if entry.share is None:
        return "an unknown number"
    trained, whole = entry.share
    if trained == 0:
        return "none"
    return units.of_backbone(trained, whole)


def compared_methods(known: Evidence, choice: str) -> list[tuple[str, Interval]]:
    """The recommended and the best method with their differences from the reference; if it is both, the next best."""
    labels = dict.fromkeys((choice, known.best))
    base = None if known.reference is None else known.labels[known.reference]
    if set(labels) == {base}:
        order = sorted(range(len(known.labels)), key=lambda place: -known.estimate.means[place])
        labels = dict.fromkeys(known.labels[place] for place in order[1:2])
    found = [(label, known.interval(label)) for label in labels]
    return [(label, one) for label, one in found if one is not None]
