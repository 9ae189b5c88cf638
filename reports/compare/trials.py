"""The trials of searches: which wins after some of them, and what score the winner of so many is expected to have."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.statistics import mean
from tunefront.reports.units import finite, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.records import Record

DRAWN = ("random", "optuna")
"""The samplers whose trials have an order: a shorter search would have been the first of them."""
EXCHANGEABLE = ("grid", "random")
"""The samplers whose trials do not depend on each other, so that any of them might have come first."""
_FIELD = re.compile(r"(?:^|,)([a-z_][a-z0-9_]*)=(.*?)(?=,[a-z_][a-z0-9_]*=|$)")

Value = bool | int | float | str | None


def fields_of_method(record: Record) -> dict[str, str]:
    """Name -> text of every field of a record's method."""
    return dict(_FIELD.findall(record.method.partition(":")[2]))


def tried_values(record: Record) -> dict[str, Value]:
    """Everything that a search may have changed, numbers as numbers: the fields of the method, then those of the
    recipe, which win where both have a name."""
    return {**{name: _read(text) for name, text in fields_of_method(record).items()}, **record.recipe}


def is_pooled(record: Record) -> bool:
    """Whether a record is one of the trials of one method over its sizes, of which one is chosen: those of a grid are
    a choice of rates for each size."""
    return record.search.sampler in DRAWN


def _read(text: str) -> Value:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True)
class Edge:
    """A chosen number that is the smallest or the largest that was tried, so that one beyond it may be better."""

    name: str
    value: str
    highest: bool

    @property
    def end(self) -> str:
        """Which end of what was tried it is."""
        return "highest" if self.highest else "lowest"


def edges_of(chosen: Mapping[str, Value], tried: Sequence[Mapping[str, Value]]) -> tuple[Edge, ...]:
    """The numbers that lie at an end of what was tried. `tried` are all trials, those that failed or diverged too: a
    rate beyond which training diverges is at no edge."""
    edges = []
    for name, value in sorted(chosen.items()):
        values = [trial.get(name) for trial in tried]
        numbers = [known for known in values if isinstance(known, int | float) and not isinstance(known, bool)]
        if not isinstance(value, int | float) or len(numbers) < len(values) or len(set(map(number, numbers))) < 2:
            continue
        if number(value) in (number(min(numbers)), number(max(numbers))):
            edges.append(Edge(name, number(value), number(value) != number(min(numbers))))
    return tuple(edges)


@dataclass(frozen=True)
class Trial:
    """One trial: its records over draws and seeds, and how many of these have no result. `selection` is their mean
    selection score and `test` their mean test score, both None unless every run of the search has both."""

    number: int
    records: tuple[Record, ...]
    lost: int
    selection: float | None
    test: float | None

    @property
    def values(self) -> dict[str, Value]:
        """What was tried."""
        return tried_values(self.records[0])


@dataclass(frozen=True)
class Search:
    """All trials of one method on one task, in their order."""

    method: str
    sampler: str
    seed: int | None
    backbone: str
    task: str
    shots: int | None
    template: str | None
    trials: tuple[Trial, ...]

    @property
    def metric(self) -> str:
        """The headline metric; empty if no trial has a score."""
        return next((r.scores.headline for trial in self.trials for r in trial.records if r.scores.headline), "")

    @property
    def ranked(self) -> list[Trial]:
        """The trials with a score, the best on the selection rows first; of equal ones the earlier."""
        usable = [trial for trial in self.trials if trial.selection is not None]
        return sorted(usable, key=lambda trial: (-(trial.selection or 0.0), trial.number))

    def winner(self, count: int) -> Trial | None:
        """The best of the first `count` trials on the selection rows; None if none of them has a score."""
        first = {id(trial) for trial in self.trials[:count]}
        return next((trial for trial in self.ranked if id(trial) in first), None)

    def expected(self, count: int) -> tuple[float, float] | None:
        """(the mean, the standard deviation) of the test score of the winner of `count` trials over all choices of so
        many of the trials (Dodge et al. 2019, arXiv:1909.03004, whose winner is scored on the validation rows).

        Choices without any score are left out. None if there are fewer trials, or if none has a score.
        """
        ranked = self.ranked
        if count > len(self.trials) or not ranked:
            return None
        weights = winning_chances(len(ranked), len(self.trials), count)
        whole = sum(weights)
        chances = _shared_by_equals([trial.selection for trial in ranked], weights)
        tests = [trial.test or 0.0 for trial in ranked]
        center = sum(chance * test for chance, test in zip(chances, tests, strict=True)) / whole
        square = sum(chance * (test - center) ** 2 for chance, test in zip(chances, tests, strict=True)) / whole
        return center, math.sqrt(square)

    @property
    def varying(self) -> tuple[str, ...]:
        """The names of what differs between trials, those of the method's own fields first."""
        tried = [trial.values for trial in self.trials]
        names = dict.fromkeys(name for values in tried for name in values)
        return tuple(name for name in names if len({number(values.get(name)) for values in tried}) > 1)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Where the winner of all trials lies at an end of what was tried."""
        best = self.winner(len(self.trials))
        if best is None or all(record.training.steps == 0 for record in best.records):
            return ()
        tried = [trial.values for trial in self.trials]
        return edges_of({name: best.values.get(name) for name in self.varying}, tried)


def winning_chances(ranked: int, trials: int, count: int) -> list[float]:
    """The chance of each of `ranked` trials, from the best on, to win among `count` drawn from all `trials`: that it is
    drawn, and the others are of those behind it.

    >>> winning_chances(3, 3, 2)
    [0.6666666666666666, 0.3333333333333333, 0.0]
    """
    return [math.comb(trials - rank, count - 1) / math.comb(trials, count) for rank in range(1, ranked + 1)]


def _shared_by_equals(scores: Sequence[float | None], chances: Sequence[float]) -> list[float]:
    """The chances with those of equal scores shared among them: whichever is drawn first wins."""
    groups = group_by(range(len(scores)), lambda place: scores[place])
    shared = {place: mean(chances[other] for other in group) or 0.0 for group in groups.values() for place in group}
    return [shared[place] for place in range(len(scores))]


def find_searches(records: Sequence[Record]) -> list[Search]:
    """The searches of these records of any status, by backbone, training rows, task and method. Without its first trial
    a search is none: another one in the same folder has asked for the same cells."""
    trials = [record for record in records if record.search.number is not None and record.status != "planned"]
    groups = group_by(trials, _where).values()
    return [_search(group) for group in groups if any(record.search.number == 1 for record in group)]


def _where(record: Record) -> tuple[object, ...]:
    search = record.search
    place = (record.backbone, record.shots, record.task, record.template)
    return (*place, search.method, search.sampler, search.seed)


def _search(records: Sequence[Record]) -> Search:
    first = records[0]
    groups = group_by(sorted(records, key=lambda record: (record.search.number or 0, record.key)), _trial_of)
    runs = max(len(_scored(group)) for group in groups.values())
    return Search(
        first.search.method or first.label,
        first.search.sampler or "",
        first.search.seed,
        first.backbone,
        first.task,
        first.shots,
        first.template,
        tuple(_trial(group, runs) for group in groups.values()),
    )


def _trial_of(record: Record) -> tuple[object, ...]:
    recipe = sorted((name, number(value)) for name, value in record.recipe.items())
    return (record.search.number, record.method, tuple(recipe))


def _scored(records: Sequence[Record]) -> list[Record]:
    """The records with finite scores on the selection rows and on the scored split."""
    return [
        record
        for record in records
        if record.status == "ok" and finite(record.selection_score) and finite(record.score)
    ]


def _trial(records: Sequence[Record], runs: int) -> Trial:
    """A trial; it has no score unless it has as many runs as any: by luckier seeds none must win."""
    scored = _scored(records)
    whole = scored if len(scored) == runs else []
    selection = mean(record.selection_score or 0.0 for record in whole)
    test = mean(record.score or 0.0 for record in whole)
    return Trial(records[0].search.number or 0, tuple(records), len(records) - len(scored), selection, test)
