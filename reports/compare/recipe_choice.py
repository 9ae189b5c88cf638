"""Chooses one recipe per method and task: the best on the selection rows. Test scores are never read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.trials import Edge, edges_of, is_pooled, tried_values
from tunefront.reports.units import finite, number

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from tunefront.bench.records import Record

Recipe = tuple[tuple[str, str], ...]
"""All fields of a recipe with their values as text, and those of the method where its size was searched too."""


@dataclass(frozen=True)
class Choice:
    """One method's chosen recipe on one task. `score` is the mean selection score over draws and seeds; `tried` has the
    values of the fields that differ, those of failed trials too; `edges` are numeric fields whose chosen value is the
    smallest or largest of them; `incomplete` counts the trials that lack runs."""

    label: str
    backbone: str
    task: str
    shots: int | None
    template: str | None
    trials: int
    chosen: Recipe
    score: float
    tried: dict[str, tuple[str, ...]]
    edges: tuple[Edge, ...]
    incomplete: int
    records: tuple[Record, ...] = field(repr=False)


@dataclass(frozen=True)
class Selection:
    """The records to report, the labels of their rows where these are others, and the choices that were made;
    `unchosen` are the keys of records whose recipe was not chosen, though there are several."""

    records: tuple[Record, ...]
    rows: dict[str, str]
    choices: tuple[Choice, ...]
    unchosen: frozenset[str] = frozenset()

    def row(self, record: Record) -> str:
        """The label of a record's row."""
        return self.rows.get(record.key, record.label)


def choose(records: Sequence[Record], unscored: Sequence[Record] = ()) -> Selection:
    """Chooses one recipe per (label, backbone, task, shots, template) if every trial has a selection score; where sizes
    were drawn as well, one size and recipe per searched method.

    Otherwise each recipe has a row of its own, whose label names the fields in which the recipes differ. `unscored` are
    records that failed or were skipped: as trials of a search they count, and show that a range reaches further.
    """
    kept: list[Record] = []
    choices: list[Choice] = []
    apart: dict[Hashable, list[Record]] = {}
    rows: dict[str, str] = {}
    lost = group_by([record for record in unscored if record.search.number is not None], _group)
    for where, group in group_by(records, _group).items():
        trials = group_by(group, _trial_of)
        more = [record for record in lost.get(where, ()) if _trial_of(record) not in trials]
        if is_pooled(group[0]):
            rows |= {record.key: _label(record) for record in group}
        if len(trials) == 1 and not more:
            kept += group
            continue
        choice = _best_trial(group, trials, more)
        if choice is None:
            kept += group
            apart.setdefault((group[0].label, group[0].backbone, group[0].shots), []).extend(group)
        else:
            kept += choice.records
            choices.append(choice)
    for unchosen in apart.values():
        names = varying_fields(unchosen)
        for record in unchosen:
            values = ", ".join(f"{name}={number(record.recipe.get(name))}" for name in names)
            rows[record.key] = f"{record.label} ({values})"
    keys = frozenset(record.key for group in apart.values() for record in group)
    return Selection(tuple(kept), rows, tuple(choices), keys)


def recipe_of(record: Record) -> Recipe:
    """A record's recipe, with every value as text."""
    return tuple(sorted((name, number(value)) for name, value in record.recipe.items()))


def varying_fields(records: Sequence[Record]) -> list[str]:
    """The recipe fields in which the records differ."""
    names = sorted({name for record in records for name in record.recipe})
    return [name for name in names if len({number(record.recipe.get(name)) for record in records}) > 1]


def _label(record: Record) -> str:
    """The label of the method whose recipe is chosen."""
    return record.search.method or record.label if is_pooled(record) else record.label


def _group(record: Record) -> tuple[Hashable, ...]:
    return (_label(record), record.backbone, record.task, record.shots, record.template)


def _trial_of(record: Record) -> Recipe:
    """What was tried: the recipe, and the size where that was drawn."""
    return (("", record.method), *recipe_of(record)) if is_pooled(record) else recipe_of(record)


def _best_trial(group: list[Record], trials: dict[Recipe, list[Record]], unscored: Sequence[Record]) -> Choice | None:
    """The best of the trials with the most runs: a trial that lost a seed must not win by its luckier seeds. Of equal
    ones, the first of a search."""
    means: dict[Recipe, float] = {}
    runs: dict[Recipe, int] = {}
    for trial, records in trials.items():
        scores = [record.selection_score for record in records if record.scores.selection is not None]
        if not scores:
            return None
        known = [score for score in scores if score is not None and finite(score)]
        runs[trial] = len(known)
        means[trial] = sum(known) / len(known) if known else float("-inf")
    whole = [trial for trial in trials if runs[trial] == max(runs.values())]
    if max(runs.values()) == 0:
        return None
    best = max(sorted(whole), key=lambda trial: (means[trial], -(trials[trial][0].search.number or 0)))
    tries = [tried_values(record) for record in (*group, *unscored)]
    names = sorted(name for name in {*tries[0]}.union(*tries) if len({number(one.get(name)) for one in tries}) > 1)
    tried = {name: tuple(dict.fromkeys(map(number, _ordered([one.get(name) for one in tries])))) for name in names}
    values = tried_values(trials[best][0])
    chosen = tuple((name, number(values.get(name))) for name in names)
    trained = any(record.training.steps != 0 for record in group)  # else no range was searched
    edges = edges_of({name: values.get(name) for name in names}, tries) if trained else ()
    first, lost = group[0], len({_trial_of(record) for record in unscored})
    where = (_label(first), first.backbone, first.task, first.shots, first.template)
    fewer = len(trials) - len(whole) + lost
    return Choice(*where, len(trials) + lost, chosen, means[best], tried, edges, fewer, tuple(trials[best]))


def _ordered(values: list[bool | int | float | str | None]) -> list[bool | int | float | str | None]:
    """Numbers by size, then the rest by name."""
    return sorted(values, key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, 0, str(v)))
