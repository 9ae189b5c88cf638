"""What a reader must know about a difference: the intervals, what else changed, and what was not compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.names import join_names

if TYPE_CHECKING:
    from tunefront.reports.compare.difference.diff import Difference


def list_notes(known: Difference, names: dict[str, str]) -> list[str]:
    """The notes, those on the intervals first. `names`: the tasks' short names."""
    notes = [] if known.guards == "checkpoints" else _about_intervals(known)
    if known.guards == "methods" and known.unknown:
        notes += _too_few(known)
    notes += [
        f"Changed between the two{_for_whom(labels, known)}: {text}." for text, labels in _by_methods(known).items()
    ]
    for (field, old, new), group in group_by(known.refused, lambda one: (one.field, one.old, one.new)).items():
        values = f" ({old} then, {new} now)" if old or new else ""
        labels = join_names(list(dict.fromkeys(one.label for one in group)))
        tasks = join_names(list(dict.fromkeys(names[one.task] for one in group)))
        notes.append(f"Not compared, because {field} differs{values}: {labels} on {tasks}.")
    for side, only in (("old", known.only_old), ("new", known.only_new)):
        notes += [f"Only in the {side} results: {join_names(only)}."] if only else []
    return [*notes, *known.notes]


def _by_methods(known: Difference) -> dict[str, Sequence[str]]:
    """The differences that concern the same methods in one text."""
    by_labels: dict[tuple[str, ...], list[str]] = {}
    for text, labels in known.changed.items():
        by_labels.setdefault(tuple(labels), []).append(text)
    return {"; ".join(texts): labels for labels, texts in by_labels.items()}


def _for_whom(labels: Sequence[str], known: Difference) -> str:
    everyone = {one.label for one in known.methods}
    return "" if set(labels) == everyone else f" for {join_names(labels)}"


def _about_intervals(known: Difference) -> list[str]:
    judged = [one for one in known.methods if one.low is not None and one.high is not None]
    notes = []
    lacking = [one for one in known.methods if any(one.left_out)]
    if lacking:
        old, new = (sum(one.left_out[side] for one in lacking) for side in (0, 1))
        notes.append(f"Runs that the other results lack do not count: {old} old and {new} new ones.")
    if not judged:
        return notes
    several = len(judged) > 1
    text = "The intervals are about methods that are trained again"
    everything = "both" if len(judged) == 2 else f"all {len(judged)}"
    text += f", and those of {everything} methods hold at once" if several else ""
    halves = sorted((one.high - one.low) / 2 for one in judged if one.high is not None and one.low is not None)
    low, high = f"{halves[0]:.1f}", f"{halves[-1]:.1f}"
    least = low if low == high else f"{low} to {high}"
    notes.append(f"{text}. A change of less than about {least} points cannot be seen with these runs.")
    apart = [one.label for one in judged if not one.paired]
    if apart:
        who = "" if len(apart) == len(judged) else f" of {join_names(apart)}"
        notes.append(
            f"Old and new runs{who} share no draws or seeds, so they are compared as independent samples (Welch)."
        )
    for side, other in ((0, 1), (1, 0)):
        once = [one.label for one in judged if one.runs[side] == len(one.tasks) < one.runs[other] and not one.paired]
        if once:
            names = ("old", "new")
            notes.append(
                f"The {names[side]} results have one run per task of {join_names(once)}; the variance between runs is "
                f"that of the {names[other]} ones."
            )
    alone = [one.label for one in judged if one.basis == "runs"]
    if alone:
        who = "" if len(alone) == len(judged) else f" of {join_names(alone)}"
        notes.append(
            f"The intervals{who} come from the scores of runs alone, so they are about these test rows: predictions "
            "are missing, or the metric is no mean over rows and no run is in both."
        )
    spread = [one.label for one in judged if one.basis == "tasks"]
    if spread:
        notes.append(
            f"{join_names(spread)} ran once on every task, so the interval comes from the spread of the change over "
            "tasks."
        )
    few = [one.more_runs for one in judged if one.more_runs]
    if few:
        more = units.plural(max(few), "more run")
        notes.append(f"With few runs intervals are approximate; {more} on every task would be enough.")
    return notes


def _too_few(known: Difference) -> list[str]:
    labels = [one.label for one in known.unknown]
    more = max(one.more_runs for one in known.unknown)
    of_these = "" if len(labels) == len(known.methods) else f"Of {join_names(labels)}, "
    runs = units.plural(more, "more draw or seed", "more draws or seeds")
    text = f"{of_these}{'there' if of_these else 'There'} are too few runs to tell a regression from the noise of a "
    text += f"seed: an old and a new run differ by their seeds at least. {runs} on every task, old and new, would do"
    notes = [f"{text}. --checkpoints compares these very files instead."]
    pairs = [one for one in known.checkpoints if one.label in labels]
    if pairs:
        differ = [one for one in pairs if one.p <= 0.05]
        verb = "differs" if len(differ) == 1 else "differ"
        text = f"As checkpoints, {len(differ)} of {len(pairs)} {verb} on the test rows (McNemar's test)"
        named = [f"{one.label} {units.signed(one.change)} points (p = {one.p:.2g})" for one in differ]
        notes.append(f"{text}{': ' if named else ''}{join_names(named) if named else ''}; the methods need not.")
    return notes
