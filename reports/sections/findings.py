"""What was found, in plain words computed from the records, and how sure one can be."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare.statistics import quantile
from tunefront.reports.names import describe_shots
from tunefront.reports.sections.few_shot import describe_levels

if TYPE_CHECKING:
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

NEAR = 1.0
"""Points within which a method counts as close to the reference."""


def lead(panel: Panel, backbone: str, several: bool, reference: str) -> list[str]:
    """Two or three sentences on a panel: the main finding, the best method, and what chance alone would do."""
    where = f"On {backbone} with {describe_shots(panel.shots)}{panel.by_metric}: " if several else ""
    if not panel.worthwhile:
        return [name_those_below(panel, where)]
    below = [text] if (text := name_those_below(panel)) else []
    if not panel.relative_tasks or panel.reference is None:
        return [_best(panel, where), *below, _unrelated(panel, reference)]
    others = [(panel.difference(entry), entry) for entry in panel.entries if entry is not panel.reference]
    pairs = [(gap, entry) for gap, entry in others if gap is not None]
    if not pairs:
        return [where + f"Only {panel.reference.label} has a score on every task; nothing can be set against it yet."]
    pairs = [(gap, entry) for gap, entry in pairs if panel.above_baseline(entry)]
    if not pairs:
        return [f"{where}Only {panel.reference.label} scored above the {panel.baseline_name}.", *below]
    close = [(gap, entry) for gap, entry in pairs if gap >= -NEAR and _trained(entry) is not None]
    best_gap, best = max(pairs, key=lambda pair: pair[0])
    sentences, claim, entry = [], best_gap, best
    if close:
        claim, entry = min(close, key=lambda pair: _trained(pair[1]) or 0.0)
        sentences.append(f"{where}{_against(claim, entry, panel)}, {_share(entry)}, over {_extent(panel, entry)}.")
        if best_gap - claim >= 0.05:
            sentences.append(f"The best average next to it is that of {best.label} ({units.signed(best_gap)} points).")
    else:
        sentences.append(
            f"{_no_method(where)} came within {NEAR:g} point of {panel.reference.label}; the nearest, {best.label}, "
            f"stayed {abs(best_gap):.1f} points below, {_share(best)}, over {_extent(panel, best)}."
        )
    sentences += below
    sentences.append(_count_pairs(panel, entry) if panel.few_shot else _certainty(panel, claim, entry))
    return sentences


def name_those_below(panel: Panel, where: str = "") -> str:
    """Who is no better than always giving the same answer, empty where nobody is: however cheap a method is, one that
    has learned nothing is not recommended."""
    level = "" if panel.baseline is None else f" ({units.points(panel.baseline)} points)"
    same = f"always answering the {panel.baseline_name}{level}"
    if not panel.worthwhile:
        return f"{_no_method(where)} scored above {same}, so that none can be recommended."
    below = [entry.label for entry in panel.entries if not panel.above_baseline(entry)]
    return f"{where}{_capital('not', where)} above {same}: {', '.join(below)}." if below else ""


def seed_noise(panel: Panel) -> float | None:
    """Standard deviation of a score over runs of the same method and task, pooled, in points; None with single runs."""
    groups = [entry.scores(task) for entry in panel.entries for task in panel.tasks]
    spreads = [(len(scores) - 1, statistics.variance(scores)) for scores in groups if len(scores) > 1]
    degrees = sum(degree for degree, _ in spreads)
    return 100 * math.sqrt(sum(degree * variance for degree, variance in spreads) / degrees) if degrees else None


def _best(panel: Panel, where: str) -> str:
    pairs = [(entry.average(panel.tasks), entry) for entry in panel.entries]
    scored = [(average, entry) for average, entry in pairs if average is not None and panel.above_baseline(entry)]
    if not scored:
        return f"{_no_method(where)} has a score on every task."
    average, entry = max(scored, key=lambda pair: pair[0])
    tail = f" among {units.plural(len(scored), 'method')}" if len(scored) > 1 else ""
    what = "average of the tasks' medians" if panel.few_shot else "average"
    verb = f"has the highest {what}" if len(scored) > 1 else f"has an {what} of"
    return (
        f"{where}{entry.label} {verb}{tail}{',' if tail else ''} {units.points(average)} points, {_share(entry)}, "
        f"over {_extent(panel, entry)}."
    )


def _unrelated(panel: Panel, reference: str) -> str:
    """Why scores are not drawn relative to the reference."""
    if panel.reference is None and any(record.label == reference for record in panel.records):
        return (
            f"{reference} was run with several recipes and none was chosen on selection rows, so scores stand as they "
            "are. Keep one recipe with --where, or run with a [search]."
        )
    return f"There is no scored record of {reference} here, so scores stand as they are."


def _no_method(where: str) -> str:
    """The subject of a negative finding."""
    return f"{where}{_capital('no', where)} method"


def _capital(word: str, where: str) -> str:
    """The word, capitalised where it opens the sentence."""
    return word if where else word.capitalize()


def _against(gap: float, entry: Entry, panel: Panel) -> str:
    name = panel.reference.label if panel.reference is not None else ""
    how = "in the median" if panel.few_shot else "on average"
    if abs(gap) < 0.05:
        return f"{entry.label} scored {how} the same as {name}"
    if gap > 0:
        return f"{entry.label} scored {how} {gap:.1f} points above {name}"
    return f"{entry.label} came within {-gap:.1f} points of {name} {how}"


def _share(entry: Entry) -> str:
    if entry.share is None:
        return "its trained parameters not measured"
    trained, whole = entry.share
    if trained == 0:
        return "training no parameters"
    return (
        f"training {units.count(trained)} parameters ({units.percent(trained, whole)} of the backbone's "
        f"{units.count(whole)})"
    )


def _extent(panel: Panel, entry: Entry) -> str:
    runs = [len(entry.scores(task)) for task in panel.relative_tasks or panel.tasks]
    each = f"{runs[0]}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
    text = f"{units.plural(len(runs), 'task')} × {each} run{'' if each == '1' else 's'}"
    return f"{text} ({_cells(panel, entry)})" if panel.few_shot else text


def _cells(panel: Panel, entry: Entry) -> str:
    """How many templates, draws, orders and seeds a task has."""
    return describe_levels(entry.runs(task) for task in panel.relative_tasks or panel.tasks)


def _count_pairs(panel: Panel, entry: Entry) -> str:
    """How the differences between runs of the same cell lie."""
    gaps, name = panel.differences(entry), panel.reference.label if panel.reference is not None else ""
    low, high = quantile(gaps, 0.25), quantile(gaps, 0.75)
    above, below = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return (
        f"Beside the {name} run of the same task, template, draw and seed, {entry.label} was higher in {above} of "
        f"{units.plural(len(gaps), 'run')}, equal in {len(gaps) - above - below} and lower in {below}; the middle half "
        f"of the differences lies between {units.signed(low)} and {units.signed(high)} points. Runs share test rows, "
        "so this is no test of significance."
    )


def _certainty(panel: Panel, gap: float, entry: Entry) -> str:
    noise = seed_noise(panel)
    if noise is None:
        return (
            "Every method ran once on each task, so chance cannot be estimated here: a difference of a point or more "
            "may be luck. Add seeds before deciding."
        )
    compared = [entry] if panel.reference is None else [entry, panel.reference]
    runs = [sum(len(compared_entry.scores(task)) for task in panel.relative_tasks) for compared_entry in compared]
    error = noise * math.sqrt(sum(1 / max(1, amount) for amount in runs))
    verdict = "not told apart by these runs" if abs(gap) < 2 * error else "larger than seeds alone would explain"
    return (
        f"Another seed moves a single score by about {noise:.1f} points (pooled standard deviation), an average "
        f"difference by about {error:.1f}: {units.signed(gap)} points is {verdict}. This counts seeds only, not the "
        "choice of tasks or test rows."
    )


def _trained(entry: Entry) -> float | None:
    return entry.median(lambda record: record.parameters.trainable)
