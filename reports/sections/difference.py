"""The difference of two sets of results in words and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.names import join_names, short_names
from tunefront.reports.sections.difference_notes import list_notes
from tunefront.reports.sections.difference_tables import (
    checkpoint_table,
    cost_table,
    describe_place,
    interval_text,
    method_tables,
)
from tunefront.reports.tables import Table

if TYPE_CHECKING:
    from tunefront.reports.compare.difference.diff import Difference


@dataclass(frozen=True)
class Text:
    """What a difference says: the answer first, then tables, then what a reader must know about them."""

    title: str
    lead: tuple[str, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]


def describe(known: Difference, old: str, new: str) -> Text:
    """The difference of results `old` and `new`, by their names."""
    tasks = [task for method in known.methods for task in method.tasks]
    names = short_names([*tasks, *(gone.task for gone in known.lost), *(one.task for one in known.refused)])
    tables = method_tables(known)
    if known.guards == "checkpoints":
        tables = [checkpoint_table(known.checkpoints, names)]
    tables += [cost_table(known)] if known.costs else []
    sizes = [units.plural(amount, "record") for amount in known.records]
    title = f"{new} ({sizes[1]}) against {old} ({sizes[0]})"
    return Text(title, tuple(_lead(known, names)), tuple(tables), tuple(list_notes(known, names)))


def without_enough_runs(known: Difference) -> str:
    """How many methods have too few runs."""
    amount = len(known.unknown)
    verb = "has" if amount == 1 else "have"
    methods = units.plural(len(known.methods), "method")
    return f"{amount} of {methods} {verb} too few runs to distinguish a regression from the noise of a seed"


def _lead(known: Difference, names: dict[str, str]) -> list[str]:
    lines: list[str] = []
    scores = [_checkpoint_lead(known, names) if known.guards == "checkpoints" else _method_lead(known)]
    if known.lost:
        where = [
            f"{one.label}{describe_place(one, known)} on {names[one.task]} "
            f"({units.plural(one.runs, 'run')} {one.status}{f': {one.reason}' if one.reason else ''})"
            for one in known.lost
        ]
        lines.append(f"Without a score that they had before: {join_names(where)}.")
    return [*lines, *scores]


def _method_lead(known: Difference) -> str:
    worse = [one for one in known.methods if one.verdict == "worse"]
    judged = len(known.methods) - len(known.unknown)
    if not judged:
        return "Nothing can be said about the methods: they ran too few times."
    beyond = f" by more than {known.tolerance:g} points" if known.tolerance else ""
    if not worse:
        none = "No regression" if not known.lost else "No lower score"
        text = f"{none}{beyond} in {units.plural(judged, 'method')}"
    else:
        named = [
            f"{one.label}{describe_place(one, known)} {units.signed(one.change)} points {interval_text(one)}"
            for one in worse
        ]
        text = f"{len(worse)} of {units.plural(judged, 'method')} {'is' if len(worse) == 1 else 'are'} worse{beyond}: "
        text += join_names(named)
    kinds = (
        ("better", "better"),
        ("tolerated", "worse within the tolerance"),
        ("no change seen", "with no change seen"),
    )
    parts = [(sum(one.verdict == verdict for one in known.methods), words) for verdict, words in kinds]
    parts += [(sum(one.verdict == "same" for one in known.methods), "the same")]
    parts += [(len(known.unknown), "with too few runs")]
    counted = ", ".join(f"{amount} {words}" for amount, words in parts if amount)
    return f"{text}{'; ' if counted else ''}{counted}."


def _checkpoint_lead(known: Difference, names: dict[str, str]) -> str:
    worse = [one for one in known.checkpoints if one.verdict == "worse"]
    amount = units.plural(len(known.checkpoints), "checkpoint")
    about = "This is about these files, not about methods that are trained again."
    if not worse:
        return f"None of {amount} is worse on its test rows. {about}"
    named = [f"{one.label} on {names[one.task]} ({one.run}) {units.signed(one.change)} points" for one in worse]
    return f"{len(worse)} of {amount} {'is' if len(worse) == 1 else 'are'} worse: {join_names(named)}. {about}"
