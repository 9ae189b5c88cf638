"""The findings in words, computed from the records, and how certain they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.statistics import quantile
from tunefront.reports.names import describe_shots
from tunefront.reports.sections.certainty import verdict
from tunefront.reports.sections.few_shot import describe_levels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

NEAR = 1.0
"""Points within which a method counts as close to the reference."""


def lead(panel: Panel, backbone: str, several: bool, reference: str, names: Mapping[str, str]) -> list[str]:
    """The sentences on a panel: the main finding, the best method, and how sure that is. `names` are the tasks' short
    names."""
    where = f"On {backbone} with {describe_shots(panel.shots)}{panel.by_metric}: " if several else ""
    if not panel.worthwhile:
        return [name_collapsed(panel, where)]
    below = [text] if (text := name_collapsed(panel)) else []
    if panel.evidence is not None:
        answer, *further = verdict(panel, panel.evidence, where, names)
        alone = [] if panel.relative_tasks else [_unrelated(panel, reference)]
        return [answer, *below, *further, *alone]
    unsure = f"How sure this is cannot be computed: {panel.no_evidence}."
    if not panel.relative_tasks or panel.reference is None:
        return [_best(panel, where), *below, _unrelated(panel, reference)]
    if panel.reference not in panel.worthwhile:
        return [_best(panel, where), *below, unsure]
    others = [(panel.difference(entry), entry) for entry in panel.entries if entry is not panel.reference]
    pairs = [(gap, entry) for gap, entry in others if gap is not None]
    if not pairs:
        return [
            where + f"Only {panel.reference.label} has a score on every task: no method can be compared with it yet."
        ]
    pairs = [(gap, entry) for gap, entry in pairs if entry in panel.worthwhile]
    if not pairs:
        base = panel.reference.label
        return [f"{where}{_capital('every', where)} method with a score on every task except {base} collapsed.", *below]
    close = [(gap, entry) for gap, entry in pairs if gap >= -NEAR and _trained(entry) is not None]
    best_gap, best = max(pairs, key=lambda pair: pair[0])
    sentences, claim, entry = [], best_gap, best
    if close:
        claim, entry = min(close, key=lambda pair: _trained(pair[1]) or 0.0)
        sentences.append(f"{where}{_against(claim, entry, panel)}, {_share(entry)}, over {_extent(panel, entry)}.")
        if best_gap - claim >= 0.05:
            base = panel.reference.label
            sentences.append(f"Apart from {base}, {best.label} has the best average ({units.signed(best_gap)} points).")
    else:
        sentences.append(
            f"{_no_method(where)} came within {NEAR:g} point of {panel.reference.label}. The closest, {best.label}, "
            f"was {abs(best_gap):.1f} points below, {_share(best)}, over {_extent(panel, best)}."
        )
    return [*sentences, *below, *([_count_pairs(panel, entry)] if panel.few_shot else []), unsure]


def name_collapsed(panel: Panel, where: str = "") -> str:
    """Names the methods with collapsed runs, and says what these are; empty if there are none.

    A method that has learned nothing is not recommended, however cheap it is.
    """
    counts = {entry.label: entry.collapsed for entry in panel.entries if entry.collapsed}
    if not counts:
        return ""
    level = "" if panel.baseline is None else f", {units.points(panel.baseline)} points"
    meaning = f"(nearly always one answer, or not clearly better than the {panel.baseline_name}{level})"
    if not panel.worthwhile:
        return f"{where}{_capital('every', where)} method collapsed {meaning}, so none can be recommended."
    listed = ", ".join(f"{label} in {count.runs} of {units.plural(count.of, 'run')}" for label, count in counts.items())
    return f"{where}{_capital('collapsed', where)} {meaning}: {listed}."


def _best(panel: Panel, where: str) -> str:
    pairs = [(entry.average(panel.tasks), entry) for entry in panel.entries]
    scored = [(average, entry) for average, entry in pairs if average is not None and entry in panel.worthwhile]
    if not scored:
        return f"{_no_method(where)} has a score on every task."
    average, entry = max(scored, key=lambda pair: pair[0])
    tail = f" among {units.plural(len(scored), 'method')}" if len(scored) > 1 else ""
    verb = "has the highest average" if len(scored) > 1 else "has an average of"
    return (
        f"{where}{entry.label} {verb}{tail}{',' if tail else ''} {units.points(average)} points, {_share(entry)}, "
        f"over {_extent(panel, entry)}."
    )


def _unrelated(panel: Panel, reference: str) -> str:
    """Why scores are not shown relative to the reference."""
    if panel.reference is None and any(record.label == reference for record in panel.records):
        return (
            f"{reference} was run with several recipes, and none was chosen on selection rows, so scores are shown "
            "without a reference. Keep one recipe with --where, or run with a [search]."
        )
    return f"There is no scored record of {reference}, so scores are shown without a reference."


def _no_method(where: str) -> str:
    """The subject of a negative finding."""
    return f"{where}{_capital('no', where)} method"


def _capital(word: str, where: str) -> str:
    """The word, capitalised if it starts the sentence."""
    return word if where else word.capitalize()


def _against(gap: float, entry: Entry, panel: Panel) -> str:
    name = panel.reference.label if panel.reference is not None else ""
    if abs(gap) < 0.05:
        return f"{entry.label} scored the same as {name} on average"
    if gap > 0:
        return f"{entry.label} scored {gap:.1f} points above {name} on average"
    return f"{entry.label} came within {-gap:.1f} points of {name} on average"


def _share(entry: Entry) -> str:
    if entry.share is None:
        return "with an unknown number of trained parameters"
    trained, whole = entry.share
    if trained == 0:
        return "training no parameters"
    return f"with {units.of_backbone(trained, whole)} trained parameters"


def _extent(panel: Panel, entry: Entry) -> str:
    runs = [len(entry.scores(task)) for task in panel.relative_tasks or panel.tasks]
    each = f"{runs[0]}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
    text = f"{units.plural(len(runs), 'task')} × {each} run{'' if each == '1' else 's'}"
    return f"{text} ({_cells(panel, entry)})" if panel.few_shot else text


def _cells(panel: Panel, entry: Entry) -> str:
    """The numbers of templates, draws, orders and seeds of a task."""
    return describe_levels(entry.runs(task) for task in panel.relative_tasks or panel.tasks)


def _count_pairs(panel: Panel, entry: Entry) -> str:
    """How many runs score higher, equal or lower than the reference's run of the same cell."""
    gaps, name = panel.differences(entry), panel.reference.label if panel.reference is not None else ""
    low, high = quantile(gaps, 0.25), quantile(gaps, 0.75)
    above, below = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return (
        f"Compared with the {name} run of the same task, template, draw and seed, {entry.label} was higher in {above} "
        f"of {units.plural(len(gaps), 'run')}, equal in {len(gaps) - above - below} and lower in {below}; the middle "
        f"half of the differences lies between {units.signed(low)} and {units.signed(high)} points. Runs share test "
        "rows, so this is not a significance test."
    )


def _trained(entry: Entry) -> float | None:
    return entry.median(lambda record: record.parameters.trainable)
