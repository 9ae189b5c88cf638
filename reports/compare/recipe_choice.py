"""Chooses one recipe per method and task: the best on the selection rows. Test scores are never read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.reports.compare.checks import group_by
from tunefront.reports.units import finite, number

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from tunefront.bench.records import Record

Recipe = tuple[tuple[str, str], ...]
"""All fields of a recipe with their values as text."""


@dataclass(frozen=True)
class Choice:
    """One method's chosen recipe on one task. `score` is the mean selection score over draws and seeds; `edges` are
    numeric fields whose chosen value is the smallest or largest that was tried."""

    label: str
    backbone: str
    task: str
    shots: int | None
    template: str | None
    trials: int
    chosen: Recipe
    score: float
    tried: dict[str, tuple[str, ...]]
    edges: tuple[str, ...]
    incomplete: int
    records: tuple[Record, ...] = field(repr=False)


@dataclass(frozen=True)
class Selection:
    """The records to report, the labels of their rows, and the choices that were made."""

    records: tuple[Record, ...]
    rows: dict[str, str]
    choices: tuple[Choice, ...]

    def row(self, record: Record) -> str:
        """The label of a record's row."""
        return self.rows.get(record.key, record.label)


def choose(records: Sequence[Record]) -> Selection:
    """Chooses one recipe per (label, backbone, task, shots, template) if every trial has a selection score.

    Otherwise each recipe has a row of its own, whose label names the fields in which the recipes differ.
    """
    kept: list[Record] = []
    choices: list[Choice] = []
    apart: dict[Hashable, list[Record]] = {}
    for group in group_by(records, _group).values():
        trials = group_by(group, recipe_of)
        if len(trials) == 1:
            kept += group
            continue
        choice = _best_trial(group, trials)
        if choice is None:
            kept += group
            apart.setdefault((group[0].label, group[0].backbone, group[0].shots), []).extend(group)
        else:
            kept += choice.records
            choices.append(choice)
    rows: dict[str, str] = {}
    for unchosen in apart.values():
        names = varying_fields(unchosen)
        for record in unchosen:
            values = ", ".join(f"{name}={number(record.recipe.get(name))}" for name in names)
            rows[record.key] = f"{record.label} ({values})"
    return Selection(tuple(kept), rows, tuple(choices))


def recipe_of(record: Record) -> Recipe:
    """A record's recipe, with every value as text."""
    return tuple(sorted((name, number(value)) for name, value in record.recipe.items()))


def varying_fields(records: Sequence[Record]) -> list[str]:
    """The recipe fields in which the records differ."""
    names = sorted({name for record in records for name in record.recipe})
    return [name for name in names if len({number(record.recipe.get(name)) for record in records}) > 1]


def _group(record: Record) -> tuple[Hashable, ...]:
    return (record.label, record.backbone, record.task, record.shots, record.template)


def _best_trial(group: list[Record], trials: dict[Recipe, list[Record]]) -> Choice | None:
    """The best of the trials with the most runs: a trial that lost a seed must not win by its luckier seeds."""
    means: dict[Recipe, float] = {}
    runs: dict[Recipe, int] = {}
    for recipe, records in trials.items():
        scores = [record.selection_score for record in records if record.scores.selection is not None]
        if not scores:
            return None
        known = [score for score in scores if score is not None and finite(score)]
        runs[recipe] = len(known)
        means[recipe] = sum(known) / len(known) if known else float("-inf")
    whole = [recipe for recipe in trials if runs[recipe] == max(runs.values())]
    if max(runs.values()) == 0:
        return None
    best = max(sorted(whole), key=lambda recipe: means[recipe])
    names = varying_fields(group)
    values = {name: [record.recipe.get(name) for record in group] for name in names}
    tried = {name: tuple(dict.fromkeys(number(value) for value in _ordered(values[name]))) for name in names}
    chosen = tuple((name, value) for name, value in best if name in names)
    numeric = [name for name in names if all(isinstance(v, int | float) and v is not True for v in values[name])]
    if all(record.training.steps == 0 for record in group):
        numeric = []  # nothing was trained: no range was searched
    edges = tuple(name for name, value in chosen if name in numeric and value in (tried[name][0], tried[name][-1]))
    first = group[0]
    where = (first.label, first.backbone, first.task, first.shots, first.template)
    records_of_best = tuple(trials[best])
    return Choice(*where, len(trials), chosen, means[best], tried, edges, len(trials) - len(whole), records_of_best)


def _ordered(values: list[bool | int | float | str | None]) -> list[bool | int | float | str | None]:
    """Numbers by size, then the rest by name."""
    return sorted(values, key=lambda v: (0, v, "") if isinstance(v, int | float) else (1, 0, str(v)))
