"""How sure the differences between methods are, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports.names import join_names
from tunefront.reports.sections.certainty_checkpoints import describe_checkpoints
from tunefront.reports.sections.certainty_methods import describe_methods

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel


def verdict(panel: Panel, known: Evidence, where: str, names: Mapping[str, str]) -> list[str]:
    """The sentences on a panel with evidence: which methods are the best, what they gain, and how sure that is.

    `where` starts the first sentence; `names` are the tasks' short names.
    """
    choice = cheapest_tied(panel, known)
    if known.estimate.checkpoints_only:
        texts = describe_checkpoints(panel, known, where, choice)
    else:
        texts = describe_methods(panel, known, where, choice, names)
    return [text for text in (*texts, _left_out(known)) if text]


def describe_bars(panel: Panel) -> str:
    """What the bars of the trade-off plot are."""
    known = panel.evidence
    if known is None:
        return f"No bars, because how sure the heights are is not known: {panel.no_evidence}."
    if panel.relative_tasks and known.reference is None and panel.reference is not None:
        base = panel.reference.label
        return f"No bars, because {base} cannot be compared row by row: {known.missing.get(base, 'no predictions')}."
    relative = bool(panel.relative_tasks) and known.reference is not None
    if known.estimate.checkpoints_only:
        base = panel.reference.label if relative and panel.reference is not None else ""
        what = f"the difference from the checkpoint of {base}" if base else "the mean"
        return f"Bar: 95 % interval of {what} on other test rows; other seeds and draws were not measured."
    if relative and panel.reference is not None:
        return (
            f"Bar: 95 % interval of the difference from {panel.reference.label} when both are trained again; all bars "
            f"hold at once. A bar that crosses 0 is not distinguished from {panel.reference.label}."
        )
    return "Bar: 95 % interval of the mean when the method is trained again."


def of_worthwhile(panel: Panel, known: Evidence) -> Evidence:
    """The evidence of the methods that did not collapse; of all of them if every compared one did."""
    usable = [entry.label for entry in panel.worthwhile if entry.label in known.labels]
    return known if not usable or len(usable) == len(known.labels) else known.among(usable)


def cheapest_tied(panel: Panel, known: Evidence) -> str:
    """Of the methods that did not collapse, the one of the tied set that trains the fewest parameters."""
    usable = of_worthwhile(panel, known)
    return usable.cheapest(usable.tied_labels)


def _left_out(known: Evidence) -> str:
    texts = []
    if known.missing:
        by_reason: dict[str, list[str]] = {}
        for label, why in known.missing.items():
            by_reason.setdefault(why, []).append(label)
        texts.append(
            "Not compared: " + "; ".join(f"{join_names(ones)} ({why})" for why, ones in by_reason.items()) + "."
        )
    for amounts, what in (
        (known.left_out, "that the other methods lack"),
        (known.unread, "without stored predictions"),
    ):
        if any(amounts):
            listed = [f"{label} {amount}" for label, amount in zip(known.labels, amounts, strict=True) if amount]
            texts.append(f"Runs {what} were not compared: {join_names(listed)}.")
    return " ".join(texts)
