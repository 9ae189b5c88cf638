"""How sure the differences between methods are, in words and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.records import SIGNIFICANT
from tunefront.reports import units
from tunefront.reports.compare.uncertainty.contrasts import FEWEST_TASKS as NEW_TASKS
from tunefront.reports.compare.uncertainty.crossed import ABOUT_METHODS, ENOUGH
from tunefront.reports.compare.uncertainty.ranks import FEWEST_TASKS as RANKED_TASKS
from tunefront.reports.names import NAMED, join_names
from tunefront.reports.tables import Cell, Column, Table, anchor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel
    from tunefront.reports.compare.uncertainty.contrasts import Interval

EQUAL = 1e-9
"""Means that differ by less are the same."""
FLAT = 0.05
"""A difference below this is shown as 0.0 points."""
ALONE = 0.25
"""If the other tasks together keep at most this share of a gain, one task makes it."""
WORTH_A_WORD = 0.5
"""Points from which on a difference that may be chance is explained further."""
LIKELY = 0.05
"""Chances below this are not named."""


def verdict(panel: Panel, known: Evidence, where: str, names: Mapping[str, str]) -> list[str]:
    """The sentences on a panel with evidence: which methods are the best, what they gain, and how sure that is.

    `where` starts the first sentence; `names` are the tasks' short names.
    """
    choice = _choice(panel, known)
    if known.estimate.checkpoints_only:
        texts = [_best_checkpoint(panel, known, where, choice), _checkpoints(known, choice)]
        texts.append(_what_is_missing(panel, known))
    else:
        texts = [_best_method(panel, known, where, choice), _gains(known, choice), _one_task(known, choice, names)]
        texts += [_caveats(known), _other_tasks(known, choice, names), _chances(known), _more(known, choice)]
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
            f"hold at once. A bar that crosses 0 is not told apart from {panel.reference.label}."
        )
    return "Bar: 95 % interval of the mean when the method is trained again."


def certainty_table(panel: Panel, index: int) -> Table | None:
    """Mean, differences with intervals, and chances of every method that is compared; None without evidence."""
    known = panel.evidence
    if known is None:
        return None
    chances = known.chances if not known.estimate.checkpoints_only else None
    shown = chances is not None and chances.best is not None
    columns = [Column("method", numeric=False), Column("mean", f"over {units.plural(len(known.tasks), 'task')}")]
    columns += [Column("against the best", known.best), Column("95 % interval", "all pairs at once")]
    if known.ranks is not None:
        columns.append(Column("rank", "mean over tasks"))
    if shown:
        columns += [Column("P(best)"), Column("P(front)"), Column("rank", "expected"), Column("regret", "points")]
    rows = []
    places = sorted(range(len(known.labels)), key=lambda place: -known.estimate.means[place])
    for place in places:
        label = known.labels[place]
        e = next(number for number, entry in enumerate(panel.entries) if entry.label == label)
        link, tied = anchor(index, e), place in known.tied.tied
        mean = float(known.estimate.means[place])
        cells = [Cell(label, strong=tied), Cell(f"{mean:.1f}", title=f"{mean:.6g}", link=link, strong=tied)]
        cells += _difference(known.behind[place])
        cells += [] if known.ranks is None else [Cell(f"{known.ranks.mean[place]:.1f}")]
        if shown and chances is not None and chances.best is not None:
            assert chances.rank is not None
            assert chances.regret is not None
            front = None if chances.front is None else float(chances.front[place])
            cells += [Cell(probability(float(chances.best[place]))), Cell(probability(front))]
            cells += [Cell(f"{chances.rank[place]:.1f}"), Cell(f"{chances.regret[place]:.1f}")]
        rows.append(tuple(cells))
    return Table("How sure", tuple(columns), tuple(rows), _note(known, shown))


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


def interval_text(found: Interval) -> str:
    """The ends of an interval in points."""
    return f"[{units.signed(found.low)}, {units.signed(found.high)}]"


def extent(known: Evidence) -> str:
    """The numbers of tasks and runs behind the means."""
    tasks = units.plural(len(known.tasks), "task")
    if known.rows_alone:
        return tasks
    low, high = min(known.estimate.runs), max(known.estimate.runs)
    if known.estimate.checkpoints_only and high == 1:
        return f"{tasks} × 1 run"
    return f"{tasks} × {units.plural(low, known.unit) if low == high else f'{low} to {high} {known.unit}s'}"


def _difference(found: Interval | None) -> list[Cell]:
    if found is None:
        return [Cell("0.0"), Cell("")]
    return [Cell(units.signed(found.difference), title=f"{found.difference:.6g}"), Cell(interval_text(found))]


def _note(known: Evidence, chances: bool) -> str:
    note = f"Points. The intervals are about {about(known)}. Bold: the highest mean, and what cannot be told from it."
    if chances:
        note += (
            " P(best): probability of the highest mean; P(front): that no method with at most as many trained "
            "parameters is at least as good; regret: expected distance from the best."
        )
    elif not known.estimate.checkpoints_only:
        missing = known.chances.missing_runs
        note += f" Chances of being the best need {units.plural(missing, 'more run')} on every task."
    return note


def _choice(panel: Panel, known: Evidence) -> str:
    """The method of the tied set that trains the fewest parameters and did not collapse."""
    usable = {entry.label: entry for entry in panel.worthwhile}
    tied = [label for label in known.tied_labels if label in usable]
    if not tied:
        return known.best
    costs = dict(zip(known.labels, known.costs, strict=True))
    means = dict(zip(known.labels, known.estimate.means, strict=True))

    def rank(label: str) -> tuple[float, float]:
        cost = costs[label]
        return (float("inf") if cost is None else cost, -means[label])

    return min(tied, key=rank)


def _best_method(panel: Panel, known: Evidence, where: str, choice: str) -> str:
    best, others = known.best, [label for label in known.tied_labels if label != known.best]
    means = dict(zip(known.labels, known.estimate.means, strict=True))
    same = [label for label in others if means[best] - means[label] < EQUAL]
    subject = f"{join_names([best, *same])} have the same" if same else f"{best} has the"
    text = f"{where}{subject} highest mean, {means[best]:.1f} points over {extent(known)}"
    others = [label for label in others if label not in same]
    below = len(known.labels) - 1 - len(others) - len(same)
    if same and not others:
        text += "." if not below else f", and {units.plural(below, 'method')} {'is' if below == 1 else 'are'} below it "
        text += "" if not below else "beyond chance."
        return f"{text} {_parameters(panel, choice, best, alone=False)}"
    if not others:
        text += ", and the other method is below it" if below == 1 else f", and the other {below} methods are below it"
        return f"{text} beyond chance. {_parameters(panel, choice, best, alone=True)}"
    if not below:
        text += f", but {'the other method' if len(others) == 1 else f'none of the other {len(others)} methods'} "
        text += "cannot be told from it." if len(others) == 1 else "can be told from it."
    else:
        text += f"; {join_names(others)} cannot be told from it, and {units.plural(below, 'method')} "
        text += f"{'is' if below == 1 else 'are'} below it beyond chance."
    return f"{text} {_parameters(panel, choice, best, alone=False)}"


def _parameters(panel: Panel, choice: str, best: str, alone: bool) -> str:
    entry = next(entry for entry in panel.entries if entry.label == choice)
    subject = "Its trained parameters:" if alone else f"Of these, {choice} trains the fewest parameters:"
    return f"{subject} {trained_share(entry)}."


def trained_share(entry: Entry) -> str:
    """The trained parameters of a method, and their share of the backbone, in words."""
    if entry.share is None:
        return "an unknown number"
    trained, whole = entry.share
    if trained == 0:
        return "none"
    return f"{units.count(trained)} ({units.percent(trained, whole)} of the backbone's {units.count(whole)})"


def _compared(known: Evidence, choice: str) -> list[tuple[str, Interval]]:
    """The recommended and the best method with their differences from the reference; if it is both, the next best."""
    labels = dict.fromkeys((choice, known.best))
    base = None if known.reference is None else known.labels[known.reference]
    if set(labels) == {base}:
        order = sorted(range(len(known.labels)), key=lambda place: -known.estimate.means[place])
        labels = dict.fromkeys(known.labels[place] for place in order[1:2])
    found = [(label, known.interval(label)) for label in labels]
    return [(label, one) for label, one in found if one is not None]


def _gains(known: Evidence, choice: str) -> str:
    compared = _compared(known, choice)
    if known.reference is None or not compared:
        return ""
    base = known.labels[known.reference]
    texts = [f"{label} {units.signed(one.difference)} points {interval_text(one)}" for label, one in compared]
    return f"Trained again, against {base}: {'; '.join(texts)} (95 % intervals of all methods at once)."


def _one_task(known: Evidence, choice: str, names: Mapping[str, str]) -> str:
    """Says if a single task makes a difference."""
    base = known.labels[known.reference] if known.reference is not None else None
    first = known.best if known.best != base else choice
    second = base if base is not None else choice
    if second is None or first == second or len(known.tasks) < 2:
        return ""
    gains = known.task_gains(first, second)
    total = sum(gains.values()) / len(gains)
    if abs(total) < WORTH_A_WORD and not known.pair(first, second).separates:
        return ""
    sign = 1 if total > 0 else -1
    task = max(gains, key=lambda name: sign * gains[name])
    rest = (sum(gains.values()) - gains[task]) / (len(gains) - 1)
    if sign * rest > ALONE * abs(total):
        return ""
    other = "the other task" if len(gains) == 2 else f"the other {len(gains) - 1} tasks"
    mean = "it is" if len(gains) == 2 else "its mean is"
    return (
        f"One task, {names[task]}, makes the difference of {first} from {second} ({units.signed(gains[task])} points); "
        f"on {other} {mean} {units.signed(rest)}."
    )


def _caveats(known: Evidence) -> str:
    """What the intervals do not cover, and where they are approximate."""
    estimate, texts = known.estimate, []
    if estimate.run_df < ENOUGH and not known.rows_alone:
        missing = -(-(ENOUGH - estimate.run_df) // len(estimate.runs))
        texts.append(
            f"The intervals are approximate: these runs give {estimate.run_df} degrees of freedom for the variance "
            f"between runs, and {ENOUGH} are enough ({units.plural(missing, 'more run')} on every task)."
        )
    if estimate.assumed:
        once = [known.labels[place] for place in estimate.assumed]
        texts.append(f"{join_names(once)} ran once on every task, so the variance between runs is that of the others.")
    if not estimate.shared_runs:
        texts.append("The methods share too few draws and seeds, so they are compared as independent samples (Welch).")
    if known.rows_alone:
        texts.append("No method uses training rows, so the intervals are about other test rows only.")
    elif known.unit == "seed":
        texts.append("All runs of a task use one draw of training rows: other draws may differ more than seeds do.")
    return " ".join(texts)


def _other_tasks(known: Evidence, choice: str, names: Mapping[str, str]) -> str:
    """What is known about tasks that were not tried, and about ranks over tasks."""
    tasks = len(known.tasks)
    if tasks == 1:
        return f"This is about {names[known.tasks[0]]} alone."
    if tasks < NEW_TASKS:
        return (
            f"This is about these {tasks} tasks: an interval for other tasks needs {NEW_TASKS} of them, a ranking over "
            f"tasks {RANKED_TASKS}."
        )
    base = known.labels[known.reference] if known.reference is not None else choice
    first = known.best if known.best != base else choice
    found = known.on_new_tasks(first, base) if first != base else None
    texts = []
    if found is not None:
        gain = f"{first} {units.signed(found.difference)} points {interval_text(found)}"
        texts.append(
            f"On other tasks like these {tasks}, against {base}: {gain} (95 % intervals of all methods at once, from "
            "the spread over tasks)."
        )
    ranks = known.ranks
    if ranks is None:
        texts.append(f"{tasks} tasks are too few to rank methods over tasks; {RANKED_TASKS} are enough.")
    elif ranks.p is not None:
        texts.append(
            f"Over the {tasks} tasks, mean ranks {'differ' if ranks.p < SIGNIFICANT else 'do not clearly differ'} "
            f"(Friedman p = {ranks.p:.2g}); two that are {ranks.critical_difference:.1f} apart do (Nemenyi)."
        )
    return " ".join(texts)


def _chances(known: Evidence) -> str:
    chances = known.chances.best
    if chances is None:
        return ""
    order = sorted(range(len(known.labels)), key=lambda place: -chances[place])
    likely = [place for place in order if chances[place] >= LIKELY][:NAMED]
    named = [f"{known.labels[place]} {probability(float(chances[place]))}" for place in likely]
    return f"Probability of the highest mean: {', '.join(named)}."


def _more(known: Evidence, choice: str) -> str:
    """How much more data would separate the best method from the recommended one, the reference or the second."""
    others = [label for label in known.tied_labels if label != known.best]
    if not others or known.rows_alone or known.estimate.assumed:
        return ""
    base = known.labels[known.reference] if known.reference is not None else ""
    other = choice if choice in others else base if base in others else others[0]
    needed = known.more(other)
    if needed.separated or abs(needed.difference) < FLAT:
        return ""
    options = [
        ("runs", needed.more_runs, f"{needed.more_runs} more runs on every task"),
        ("rows", needed.more_rows, f"{needed.more_rows or 0:,} more test rows on every task"),
        ("tasks", needed.more_tasks, f"{needed.more_tasks} more such tasks"),
    ]
    found = [(kind, text) for kind, amount, text in options if amount]
    if not found:
        return f"No number of further runs, rows or tasks that was tried would tell {known.best} from {other}."
    first = [text for kind, text in found if kind == needed.pays_most]
    rest = [text for kind, text in found if kind != needed.pays_most]
    ways = " or ".join([*first, *rest])
    pays = f"; {needed.pays_most} pay most" if first and rest else ""
    return (
        f"If the difference stays as it is, telling {known.best} from {other} ({units.signed(needed.difference)} "
        f"points) takes about {ways}{pays}."
    )


def _best_checkpoint(panel: Panel, known: Evidence, where: str, choice: str) -> str:
    others = [label for label in known.tied_labels if label != known.best]
    text = f"{where}{'of' if where else 'Of'} these checkpoints, those of {known.best} have the highest mean, "
    if extent(known).endswith("× 1 run") and len(known.tasks) == 1:
        text = f"{where}{'of' if where else 'Of'} these checkpoints, that of {known.best} has the highest score, "
    text += f"{max(known.estimate.means):.1f} points over {extent(known)}"
    if not others:
        return f"{text}. {_parameters(panel, choice, known.best, alone=True)}"
    text += f"; on these test rows, {join_names(others)} cannot be told from it."
    return f"{text} {_parameters(panel, choice, known.best, alone=False)}"


def _checkpoints(known: Evidence, choice: str) -> str:
    """The comparison of checkpoints, which says nothing about methods that are trained again."""
    compared = _compared(known, choice)
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
    ran = "once on every task" if runs == 1 else f"with {units.plural(runs, known.unit)} on one task"
    return (
        f"Every method ran {ran}, so this is about these checkpoints alone: what a method gains when it is trained "
        f"again was not measured. {units.plural(more, f'more {unit}').capitalize()} of every method "
        f"({units.plural(cells, 'cell')}) would give intervals about the methods."
    )


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
