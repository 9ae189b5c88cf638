"""Sentences on methods that are trained again: which are the best, what they gain, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.records import SIGNIFICANT
from tunefront.reports import units
from tunefront.reports.compare.uncertainty.chances import missing_runs
from tunefront.reports.compare.uncertainty.contrasts import FEWEST_TASKS as NEW_TASKS
from tunefront.reports.compare.uncertainty.crossed import ENOUGH
from tunefront.reports.compare.uncertainty.ranks import FEWEST_TASKS as RANKED_TASKS
from tunefront.reports.names import NAMED, join_names
from tunefront.reports.sections.certainty_words import (
    compared_methods,
    describe_parameters,
    extent,
    interval_text,
    probability,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.panels import Panel

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


def describe_methods(panel: Panel, known: Evidence, where: str, choice: str, names: Mapping[str, str]) -> list[str]:
    """The sentences, the main one first; some are empty. `choice` is the recommended method; `names` are the tasks'
    short names."""
    return [
        _best_method(panel, known, where, choice),
        _gains(known, choice),
        _one_task(known, choice, names),
        _caveats(known),
        _other_tasks(known, choice, names),
        _chances(known),
        _more(known, choice),
    ]


def _best_method(panel: Panel, known: Evidence, where: str, choice: str) -> str:
    best, others = known.best, [label for label in known.tied_labels if label != known.best]
    means = dict(zip(known.labels, known.estimate.means, strict=True))
    same = [label for label in others if means[best] - means[label] < EQUAL]
    subject = f"{join_names([best, *same])} have the same" if same else f"{best} has the"
    text = f"{where}{subject} highest mean, {units.points(means[best] / 100)} points over {extent(known)}"
    others = [label for label in others if label not in same]
    below = len(known.labels) - 1 - len(others) - len(same)
    if same and not others:
        text += "." if not below else f", and {units.plural(below, 'method')} {'is' if below == 1 else 'are'} below it "
        text += "" if not below else "beyond chance."
        return f"{text} {describe_parameters(panel, choice, known.tied_labels)}"
    if not others:
        text += ", and the other method is below it" if below == 1 else f", and the other {below} methods are below it"
        return f"{text} beyond chance. {describe_parameters(panel, choice, known.tied_labels)}"
    if not below:
        text += f", but {'the other method' if len(others) == 1 else f'none of the other {len(others)} methods'} "
        text += "cannot be distinguished from it." if len(others) == 1 else "can be distinguished from it."
    else:
        text += f"; {join_names(others)} cannot be distinguished from it, and {units.plural(below, 'method')} "
        text += f"{'is' if below == 1 else 'are'} below it beyond chance."
    return f"{text} {describe_parameters(panel, choice, known.tied_labels)}"


def _gains(known: Evidence, choice: str) -> str:
    compared = compared_methods(known, choice)
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
        texts.append(
            f"The intervals are approximate: these runs give {estimate.run_df} degrees of freedom for the variance "
            f"between runs, and {ENOUGH} are enough ({units.plural(missing_runs(estimate), 'more run')} on every task)."
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
        ("runs", needed.more_runs, f"{units.plural(needed.more_runs or 0, 'more run')} on every task"),
        ("rows", needed.more_rows, f"{units.plural(needed.more_rows or 0, 'more test row')} on every task"),
        ("tasks", needed.more_tasks, units.plural(needed.more_tasks or 0, "more such task")),
    ]
    found = [(kind, text) for kind, amount, text in options if amount]
    if not found:
        return f"No number of further runs, rows or tasks that was tried would distinguish {known.best} from {other}."
    first = [text for kind, text in found if kind == needed.pays_most]
    rest = [text for kind, text in found if kind != needed.pays_most]
    ways = " or ".join([*first, *rest])
    pays = f"; {needed.pays_most} pay most" if first and rest else ""
    return (
        f"If the difference stays as it is, distinguishing {known.best} from {other} "
        f"({units.signed(needed.difference)} points) takes about {ways}{pays}."
    )
