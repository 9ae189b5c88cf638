"""The answer of a panel: which method to start with, and the best one within each budget of trained parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.compare import measures
from tunefront.reports.compare.entries import on_shared_cells
from tunefront.reports.names import elide, join_names
from tunefront.reports.sections.certainty import of_worthwhile
from tunefront.reports.sections.certainty_methods import EQUAL, FLAT
from tunefront.reports.sections.certainty_words import describe_intervals, extent, interval_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.evidence import Evidence
    from tunefront.reports.compare.measures import Cost
    from tunefront.reports.compare.panels import Panel

LONGEST = 40
"""Most characters of the name of a tied method."""
LIMITS: tuple[float | None, ...] = (0.0, 0.001, 0.01, 0.1, None)
"""Budgets: the largest share of the backbone's parameters that may be trained; None for no limit."""
NEAR = 1.0
"""Points below the highest mean up to which a cheaper method may be the one to start with."""
FEW = 3
"""Up to this number of panels, a headline names the method of each."""


@dataclass(frozen=True)
class Budget:
    """The method with the highest mean within a budget. `words` say the budget, `rest` what is known of the method."""

    limit: float | None
    words: str
    label: str
    rest: str

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.words}: {self.label}, {self.rest}"


@dataclass(frozen=True)
class Answer:
    """What a panel recommends: `headline` in a few words, `why` and `costs` as sentences, `limits` what is not known;
    `label` is the method to start with, None if there is none. `budgets` are in order, each with another method."""

    label: str | None
    headline: str
    why: str
    costs: str
    limits: str
    budgets: tuple[Budget, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The recommendation in a few lines."""
        return tuple(filter(None, (self.why, self.costs, self.limits)))


def answer(panel: Panel, findings: Sequence[str]) -> Answer:
    """The answer of a panel. `findings` are its sentences, of which the first stands in where no method can be
    recommended because the differences are not known."""
    known = panel.evidence
    budgets = tuple(_budgets(panel))
    if known is None or not panel.worthwhile:
        return Answer(None, _unsure(panel), findings[0] if findings else "", "", "", budgets)
    usable = of_worthwhile(panel, known)
    label = _choice(usable)
    entry = next(entry for entry in panel.entries if entry.label == label)
    return Answer(
        label,
        _headline(panel, known, usable, entry),
        _why(usable, label, len(usable.labels) < len(known.labels)),
        _costs(panel, entry),
        describe_intervals(known),
        budgets,
    )


def summarise(answers: Mapping[str, Answer]) -> str:
    """The headline of several panels, by title: the methods to start with.

    >>> one, other = (Answer(label, "", "", "", "", ()) for label in ("ia3", "lora"))
    >>> summarise({"minilm": one, "bert": one}), summarise({"minilm": one, "bert": other})
    ('Start with ia3, in both comparisons', 'Start with ia3 (minilm) or lora (bert)')
    >>> summarise(dict(zip("abcd", [one, other, one, one])))
    'No single method to start with: ia3 in 3 of 4 comparisons, lora in 1'
    """
    labels = [found.label for found in answers.values() if found.label is not None]
    if not labels:
        return f"{_comparisons(len(answers))}: how sure the differences are is not known"
    times = {label: labels.count(label) for label in sorted(labels, key=lambda label: (-labels.count(label), label))}
    if len(times) == 1:
        where = f"{len(labels)} of {_comparisons(len(answers))}"
        if len(labels) == len(answers):
            where = "both comparisons" if len(labels) == 2 else f"all {_comparisons(len(labels))}"
        return f"Start with {labels[0]}, in {where}"
    if len(labels) == len(answers) <= FEW:
        return "Start with " + " or ".join(f"{found.label} ({title})" for title, found in answers.items())
    (first, most), *rest = times.items()
    others = [f"{label} in {amount}" for label, amount in rest]
    return f"No single method to start with: {first} in {most} of {_comparisons(len(answers))}, {join_names(others)}"


def _comparisons(amount: int) -> str:
    return units.plural(amount, "comparison")


def _choice(known: Evidence) -> str:
    """The method to start with: the fewest trained parameters of those that are tied with the highest mean and at most
    `NEAR` points below it. What few runs cannot distinguish may still be much worse."""
    means = dict(zip(known.labels, known.estimate.means, strict=True))
    return known.cheapest([label for label in known.tied_labels if means[label] >= means[known.best] - NEAR])


def _headline(panel: Panel, known: Evidence, usable: Evidence, entry: Entry) -> str:
    """`usable` is the evidence of the methods that did not collapse."""
    base, found = panel.reference, known.interval(entry.label)
    below = len(usable.labels) - 1
    if entry is base and usable.tied_labels == (entry.label,) and below:
        others = "the other method is" if below == 1 else f"the other {below} methods are"
        return f"{entry.label} is worth its cost: {others} below it beyond chance"
    share = _share(entry)
    costs = "" if share is None else " without training" if share == 0 else f" for {_percent(share)} of the parameters"
    if base is None or found is None:
        place = known.labels.index(entry.label)
        return f"Start with {entry.label}: {units.points(known.estimate.means[place] / 100)} points{costs}"
    return f"Start with {entry.label}: {units.signed(found.difference)} points against {base.label}{costs}"


def _unsure(panel: Panel) -> str:
    """The headline where how sure the differences are is not known."""
    scored = [
        (average, entry.label) for entry in panel.worthwhile if (average := entry.average(panel.tasks)) is not None
    ]
    if not scored:
        return "No method can be recommended" if panel.entries else ""
    best = max(average for average, _ in scored)
    labels = [label for average, label in scored if best - average < EQUAL]
    if len(panel.entries) == 1:
        return f"{labels[0]} scores {units.points(best)} points"
    verb = "has the highest" if len(labels) == 1 else "have the same, highest"
    return f"{join_names(labels)} {verb} mean, {units.points(best)} points; how sure this is, is not known"


def _why(known: Evidence, label: str, some_collapsed: bool) -> str:
    """`known` is about the methods that did not collapse."""
    best, mean = known.best, units.points(max(known.estimate.means) / 100)
    others = [name for name in known.tied_labels if name not in (label, best)]
    standing = " of the methods that did not collapse" if some_collapsed else ""
    if label == best:
        text = f"{label} has the highest mean{standing}, {mean} points over {extent(known)}"
        return f"{text}; {join_names(others)} cannot be distinguished from it." if others else f"{text}."
    return (
        f"Of the methods at most {NEAR:g} point below the highest mean{standing} ({best}, {mean} points over "
        f"{extent(known)}) and not distinguished from it, {label} trains the fewest parameters."
    )


def _costs(panel: Panel, entry: Entry) -> str:
    """What the method costs, beside the reference."""
    texts = []
    if entry.share is not None:
        trained, whole = entry.share
        share = f"({units.percent(trained, whole)} of the backbone's {units.count(whole)})"
        texts.append(f"trains {units.count(trained)} parameters {share}" if trained else "trains nothing")
    base = panel.reference
    for cost, verb in ((measures.KEPT, "stores"), (measures.TRAIN_FLOPS, "trains with"), (measures.peak(panel), "")):
        own = cost.median(panel, entry)
        if own is None or (cost is measures.TRAIN_FLOPS and own == 0):
            continue
        other = "" if base is None or base is entry else _beside(panel, cost, entry, base)
        what = f"{verb} {cost.text(own)}" if verb else f"peaks at {cost.text(own)} of memory"
        texts.append(f"{what}{' per task' if cost is measures.KEPT else ''}{other}")
    return f"It {join_names(texts)}." if texts else ""


def _beside(panel: Panel, cost: Cost, entry: Entry, base: Entry) -> str:
    """The cost of the reference, over the cells that both ran on."""
    shared = on_shared_cells([entry, base], cost.read)
    value = cost.median(panel, shared[1])
    return "" if value is None else f" ({base.label}: {cost.text(value)})"


def _budgets(panel: Panel) -> Iterable[Budget]:
    """One line per budget whose best method is another one than that of the smaller budget."""
    known, before = panel.evidence, None
    if known is None:
        return
    compared = {entry.label: entry for entry in panel.worthwhile if entry.label in known.labels}
    shares = {label: _share(entry) for label, entry in compared.items()}
    for limit in LIMITS:
        within = [label for label in compared if _fits(shares[label], limit)]
        if not within:
            continue
        best = max(within, key=lambda label: known.estimate.means[known.labels.index(label)])
        if best != before:
            yield Budget(limit, _words(limit), best, _rest(panel, known, best, within))
        before = best


def _fits(share: float | None, limit: float | None) -> bool:
    return limit is None or (share is not None and share <= limit)


def _words(limit: float | None) -> str:
    if limit is None:
        return "With any number of trained parameters"
    return "Without training" if limit == 0 else f"With at most {_percent(limit)} of the parameters"


def _rest(panel: Panel, known: Evidence, best: str, within: Sequence[str]) -> str:
    base, found = panel.reference, known.interval(best)
    place = known.labels.index(best)
    if base is not None and found is not None:
        text = f"{units.signed(found.difference)} points against {base.label} {interval_text(found)}"
    else:
        mean = units.points(known.estimate.means[place] / 100)
        text = f"{mean} points {interval_text(known.means[place], mean=True)}"
    if len(within) == 1:
        return f"{text}; the only one."
    among = known.among(within)
    tied = [label for label in among.tied_labels if label != best]
    if not tied:
        return f"{text}; alone at the top of {units.plural(len(within), 'method')}."
    return f"{text}; tied with {join_names([elide(name, LONGEST) for name in tied], most=3)}{_more(among, tied)}."


def _more(known: Evidence, tied: Sequence[str]) -> str:
    """How many more runs would distinguish the best from the tied method that trains the fewest parameters, if the
    difference stays as it is."""
    if known.rows_alone or known.estimate.assumed:
        return ""
    label = known.cheapest(tied)
    needed = known.more(label)
    if abs(needed.difference) < FLAT or not needed.more_runs:
        return ""
    whom = "them" if len(tied) == 1 else f"it from {elide(label, LONGEST)}"
    return f"; about {units.plural(needed.more_runs, f'more {known.unit}')} would distinguish {whom}"


def _share(entry: Entry) -> float | None:
    """The share of the backbone's parameters that a method trains."""
    return None if entry.share is None or not entry.share[1] else entry.share[0] / entry.share[1]


def _percent(share: float) -> str:
    return units.percent(share, 1.0) if share not in LIMITS else f"{100 * share:g}\u00a0%"
