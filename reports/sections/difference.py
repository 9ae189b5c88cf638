"""The difference of two sets of results in words and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.difference.pairs import Lost
from tunefront.reports.names import describe_shots, join_names, natural_key, short_names
from tunefront.reports.tables import Cell, Column, Table

if TYPE_CHECKING:
    from tunefront.reports.compare.difference.checkpoints import Checkpoint
    from tunefront.reports.compare.difference.costs import CostChange
    from tunefront.reports.compare.difference.diff import Difference
    from tunefront.reports.compare.difference.methods import MethodChange

VERDICTS = {
    "worse": "worse",
    "tolerated": "tolerated",
    "better": "better",
    "no change seen": "no change seen",
    "same": "the same",
    "too few runs": "too few runs",
}
"""The verdicts in words, the most important ones first."""
MOST_ROWS = 20
"""The most checkpoints in a table: of more, only those that differ."""


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
    tables = [_method_table(group, known) for group in _groups(known.methods)]
    if known.guards == "checkpoints":
        tables = [_checkpoint_table(known.checkpoints, names)]
    tables += [_cost_table(known)] if known.costs else []
    sizes = [units.plural(amount, "record") for amount in known.records]
    title = f"{new} ({sizes[1]}) against {old} ({sizes[0]})"
    return Text(title, tuple(_lead(known, names)), tuple(tables), tuple(_notes(known, names)))


def without_enough_runs(known: Difference) -> str:
    """How many methods have too few runs."""
    amount = len(known.unknown)
    verb = "has" if amount == 1 else "have"
    methods = units.plural(len(known.methods), "method")
    return f"{amount} of {methods} {verb} too few runs to distinguish a regression from the noise of a seed"


def _lead(known: Difference, names: dict[str, str]) -> list[str]:
    lines = [_checkpoint_lead(known, names) if known.guards == "checkpoints" else _method_lead(known)]
    if known.lost:
        where = [
            f"{one.label}{_place(one, known)} on {names[one.task]} ({units.plural(one.runs, 'run')} {one.status}"
            f"{f': {one.reason}' if one.reason else ''})"
            for one in known.lost
        ]
        lines.append(f"Without a score that they had before: {join_names(where)}.")
    return lines


def _method_lead(known: Difference) -> str:
    worse = [one for one in known.methods if one.verdict == "worse"]
    judged = len(known.methods) - len(known.unknown)
    if not judged:
        return "Nothing can be said about the methods: they ran too few times."
    beyond = f" by more than {known.tolerance:g} points" if known.tolerance else ""
    if not worse:
        text = f"No regression{beyond} in {units.plural(judged, 'method')}"
    else:
        named = [f"{one.label}{_place(one, known)} {units.signed(one.change)} points {_interval(one)}" for one in worse]
        text = f"{len(worse)} of {units.plural(judged, 'method')} {'is' if len(worse) == 1 else 'are'} worse{beyond}: "
        text += join_names(named)
    kinds = (("better", "better"), ("tolerated", "worse within the tolerance"), ("no change seen", "without a change"))
    parts = [(sum(one.verdict == verdict for one in known.methods), words) for verdict, words in kinds]
    parts += [(sum(one.verdict == "same" for one in known.methods), "with the same answers")]
    parts += [(len(known.unknown), "with too few runs")]
    counted = ", ".join(f"{amount} {words}" for amount, words in parts if amount)
    return f"{text}{'; ' if counted else ''}{counted}."


def _place(one: MethodChange | CostChange | Lost, known: Difference) -> str:
    """The backbone and the number of training rows in words, where there are several; else an empty text."""
    places = [(other.backbone, other.shots) for other in known.methods]
    if len(set(places)) < 2:
        return ""
    backbone, shots = one.place if isinstance(one, Lost) else (one.backbone, one.shots)
    names = short_names([*(name for name, _ in places), backbone])
    return f" ({names[backbone]}, {describe_shots(shots)})"


def _checkpoint_lead(known: Difference, names: dict[str, str]) -> str:
    worse = [one for one in known.checkpoints if one.verdict == "worse"]
    amount = units.plural(len(known.checkpoints), "checkpoint")
    about = "This is about these files, not about methods that are trained again."
    if not worse:
        return f"None of {amount} is worse on its test rows. {about}"
    named = [f"{one.label} on {names[one.task]} ({one.run}) {units.signed(one.change)} points" for one in worse]
    return f"{len(worse)} of {amount} {'is' if len(worse) == 1 else 'are'} worse: {join_names(named)}. {about}"


def _groups(methods: Iterable[MethodChange]) -> list[list[MethodChange]]:
    order = list(VERDICTS)
    groups = group_by(methods, lambda one: (one.backbone, one.shots, one.metric))
    return [
        sorted(group, key=lambda one: (order.index(one.verdict), natural_key(one.label))) for group in groups.values()
    ]


def _interval(one: MethodChange | Checkpoint) -> str:
    if one.low is None or one.high is None:
        return ""
    return f"[{units.signed(one.low)}, {units.signed(one.high)}]"


def _method_table(group: Sequence[MethodChange], known: Difference) -> Table:
    first = group[0]
    several = len({one.tasks for one in group}) > 1
    over = "" if several else f", mean over {units.plural(len(first.tasks), 'task')}"
    where = f"{short_names(one.backbone for one in known.methods)[first.backbone]}, {describe_shots(first.shots)}"
    columns = [Column("method", numeric=False), Column("old"), Column("new"), Column("change", "95 % interval")]
    columns += [Column("tasks")] if several else []
    rows = []
    for one in group:
        cells = [Cell(one.label), Cell(f"{one.old:.1f}", title=f"{one.old:.6g}"), Cell(f"{one.new:.1f}")]
        cells.append(Cell(units.signed(one.change), _interval(one), f"{one.change:.6g}"))
        cells += [Cell(str(len(one.tasks)))] if several else []
        rows.append((*cells, Cell(VERDICTS[one.verdict], strong=one.verdict in ("worse", "better"))))
    caption = f"{where}: {first.metric} × 100{over}"
    return Table(caption, (*columns, Column("", numeric=False)), tuple(rows))


def _checkpoint_table(checkpoints: Sequence[Checkpoint], names: dict[str, str]) -> Table:
    order = list(VERDICTS)
    shown = sorted(checkpoints, key=lambda one: (order.index(one.verdict), natural_key(one.label)))
    if len(shown) > MOST_ROWS:
        shown = [one for one in shown if one.verdict in ("worse", "tolerated", "better")]
    columns = [Column("method", numeric=False), Column("task", numeric=False), Column("run", numeric=False)]
    columns += [Column("change", "95 % interval"), Column("p", "McNemar"), Column("", numeric=False)]
    rows = [
        (
            Cell(one.label),
            Cell(names[one.task]),
            Cell(one.run),
            Cell(units.signed(one.change), _interval(one), f"{one.change:.6g}"),
            Cell(f"{one.p:.2g}"),
            Cell(VERDICTS[one.verdict], strong=one.verdict in ("worse", "better")),
        )
        for one in shown
    ]
    left = len(checkpoints) - len(shown)
    note = f"{units.plural(left, 'checkpoint')} without a change beyond chance {'is' if left == 1 else 'are'} left out."
    return Table("Checkpoints, accuracy × 100", tuple(columns), tuple(rows), note if left else "", leading=3)


def _cost_table(known: Difference) -> Table:
    columns = [Column("method", numeric=False), Column("cost", numeric=False), Column("old"), Column("new")]
    rows = [
        (
            Cell(f"{one.label}{_place(one, known)}"),
            Cell(one.cost, "(varies)" if one.noisy else ""),
            *(Cell(_amount(one, value), title=units.exact(value, one.unit)) for value in (one.old, one.new)),
            Cell(_relative(one)),
        )
        for one in known.costs
    ]
    return Table(
        "Costs that changed", (*columns, Column("change")), tuple(rows), "They never count as a regression.", leading=2
    )


def _amount(one: CostChange, value: float) -> str:
    if one.unit == "s":
        return units.seconds(value)
    return units.si(value, one.unit) if one.unit else units.count(value)


def _relative(one: CostChange) -> str:
    if one.ratio is None:
        return units.MISSING
    change = 100 * (one.ratio - 1)
    return f"{units.signed(change)} %" if abs(change) < 1000 else units.times(one.ratio)


def _notes(known: Difference, names: dict[str, str]) -> list[str]:
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
