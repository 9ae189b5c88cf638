"""The scores of test rows that methods share: from stored predictions to the arrays that estimators take."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunefront.bench.records.answers import Answers
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.factors import draw_of, same_for_all_draws
from tunefront.reports.compare.uncertainty.crossed import ENOUGH
from tunefront.reports.compare.uncertainty.metrics import METRICS, Metric, f1

if TYPE_CHECKING:
    from tunefront.bench.records import Record
    from tunefront.bench.records.answers import AnswerFiles
    from tunefront.reports.compare.entries import Entry

Values = NDArray[Any]
Cell = tuple[Hashable, Hashable, Hashable]
"""(template, draw, seed)."""
EVERY = "every draw and seed"
"""Stands for the draw and seed of a method that used no rows: its run is the same for all of them."""
UNREADABLE = "no predictions that fit its scores are stored"
NO_PLACE = "where its predictions are is not known: give the list that load_records returns, or places"
EQUAL = 1e-6
"""A score from stored predictions equals the recorded one up to this."""


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """The answers of several methods on one task.

    `labels` (rows,). `cells`: per method, (template, draw, seed) -> predictions (rows,) of each record: several if the
    order of demonstrations varies. `right`: the same with 1 for a right and 0 for a wrong answer. Labels are None if
    they depend on the record, as the position of an answer does on its template.
    """

    labels: Values | None
    cells: tuple[Mapping[Cell, list[Values]], ...]
    right: tuple[Mapping[Cell, list[Values]], ...]


@dataclass
class Gathered:
    """The methods and tasks of which answers are known, and for each missing method why it is missing. `unread`: runs
    of a method whose predictions are not stored, or do not give its score."""

    entries: list[Entry] = field(default_factory=list)
    tasks: dict[str, TaskAnswers] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)


def gather(entries: Sequence[Entry], tasks: Sequence[str], answers: AnswerFiles) -> Gathered:
    """The answers of all entries that have some on every task, to the same rows."""
    found = Gathered()
    read: dict[str, dict[str, list[tuple[Record, Answers]]]] = {}
    rows: dict[str, Answers] = {}
    for entry in entries:
        answers.read_ahead(record.key for task in tasks for record in entry.runs(task) or ())
        by_task: dict[str, list[tuple[Record, Answers]]] = {}
        for task in tasks:
            runs = entry.runs(task)
            if not runs:
                found.missing[entry.label] = "no score on every task"
                break
            known = [(record, _checked(record, answers.read(record.key, record.data.n_test))) for record in runs]
            by_task[task] = [(record, _shared(content, rows, task)) for record, content in known if content is not None]
            if not by_task[task]:
                known_places = any(answers.knows(record.key) for record in runs)
                found.missing[entry.label] = UNREADABLE if known_places else NO_PLACE
                break
            found.unread[entry.label] += len(known) - len(by_task[task])
        else:
            read[entry.label] = by_task
            found.entries.append(entry)
    for task in tasks if found.entries else ():
        made = _task([read[entry.label][task] for entry in found.entries])
        if made is None:
            return Gathered(missing={entry.label: "other test rows were scored" for entry in entries})
        found.tasks[task] = made
    return found


def _shared(content: Answers, rows: dict[str, Answers], task: str) -> Answers:
    """The same answers, with the ids and labels of the task's first record if they are equal: they are kept once."""
    first = rows.setdefault(task, content)
    ids = first.ids if np.array_equal(content.ids, first.ids) else content.ids
    return Answers(
        ids, first.labels if np.array_equal(content.labels, first.labels) else content.labels, content.predictions
    )


def metric_of(record: Record) -> Metric | None:
    """The function of a record's headline metric; None if it is not known, or needs labels that are not recorded.

    F1 over named labels is recorded as `f1[label,label]`: the labels' indices are their places among all labels.
    """
    name = record.scores.headline or ""
    if name in METRICS:
        return METRICS[name]
    if name.startswith("f1[") and name.endswith("]") and record.data.label_counts:
        places = {label: place for place, label in enumerate(record.data.label_counts)}
        if name[3:-1] in places:  # a label may contain a comma
            return f1(places[name[3:-1]])
        labels = name[3:-1].split(",")
        return f1(*(places[label] for label in labels)) if all(label in places for label in labels) else None
    return None


def runs_of(methods: Sequence[Mapping[Cell, list[Values]]]) -> list[dict[tuple[Hashable, Hashable], Values]]:
    """Each method's mean over templates and orders, (rows,), of every (draw, seed).

    In a draw and seed that all methods have, the mean is over the templates that all of them have there; a draw and
    seed without such a template is left out. A method that used no rows gets every draw and seed of the others.
    """
    spread = _comparable(methods)
    by_run = [group_by(method, lambda cell: cell[1:]) for method in spread]
    means: list[dict[tuple[Hashable, Hashable], Values]] = [{} for _ in methods]
    for run in sorted({run for runs in by_run for run in runs}, key=repr):
        templates = [{cell[0] for cell in runs.get(run, ())} for runs in by_run]
        common = set.intersection(*templates)
        if all(templates) and not common:
            continue
        for place, (own, method) in enumerate(zip(templates, spread, strict=True)):
            kept = [values for template in common or own for values in method[template, *run]]
            if kept:
                means[place][run] = np.mean(kept, axis=0)
    return means


def shared_cells(methods: Sequence[Mapping[Cell, list[Values]]]) -> tuple[list[Cell], list[dict[Cell, Values]]]:
    """The cells that all methods have, in order, and each method's values in them, without those of several orders."""
    alone = [{cell: ones[0] for cell, ones in method.items() if len(ones) == 1} for method in _comparable(methods)]
    return sorted(set.intersection(*map(set, alone)), key=repr), alone


def _comparable(methods: Sequence[Mapping[Cell, list[Values]]]) -> Sequence[Mapping[Cell, list[Values]]]:
    """The cells of methods that share templates, or without templates if they share none; see `_without_wild`."""
    spread = _without_wild(methods)
    if set.intersection(*({template for template, _, _ in method} for method in spread)):
        return spread
    return [_merge_templates(method) for method in spread]


def _without_wild(methods: Sequence[Mapping[Cell, list[Values]]]) -> list[Mapping[Cell, list[Values]]]:
    """The cells, where the run of a method that used no rows is repeated for every draw and seed of the others.

    If no method used rows, each run is repeated until its variance, which is 0, counts as well known.
    """
    runs = sorted({cell[1:] for method in methods for cell in method} - {(EVERY, EVERY)}, key=repr)
    runs = runs or [(EVERY, number) for number in range(ENOUGH + 1)]
    return [
        {(template, *run): values for (template, draw, _), values in method.items() for run in runs}
        if any(draw == EVERY for _, draw, _ in method)
        else method
        for method in methods
    ]


def _merge_templates(method: Mapping[Cell, list[Values]]) -> dict[Cell, list[Values]]:
    merged: dict[Cell, list[Values]] = {}
    for (_, draw, seed), values in method.items():
        merged.setdefault((None, draw, seed), []).extend(values)
    return merged


def _checked(record: Record, content: Answers | None) -> Answers | None:
    """The answers, if they give the recorded score: files may be mixed up."""
    metric = metric_of(record)
    if content is None or metric is None or record.score is None:
        return None
    score = float(metric(content.predictions[None], content.labels[None])[0])
    return content if math.isclose(score, record.score, abs_tol=EQUAL) else None


def _task(methods: Sequence[Sequence[tuple[Record, Answers]]]) -> TaskAnswers | None:
    """The cells of a task; None if the records were scored on other rows than each other."""
    first = methods[0][0][1]
    everything = [content for method in methods for _, content in method]
    if not all(np.array_equal(content.ids, first.ids) for content in everything):
        return None
    same = all(np.array_equal(content.labels, first.labels) for content in everything)
    predicted: list[dict[Cell, list[Values]]] = [{} for _ in methods]
    right: list[dict[Cell, list[Values]]] = [{} for _ in methods]
    for place, method in enumerate(methods):
        alike = all(same_for_all_draws(record) for record, _ in method)
        for record, content in method:
            cell = (record.template, *((EVERY, EVERY) if alike else (draw_of(record), record.seed)))
            known = predicted[place].setdefault(cell, [])
            if alike and any(np.array_equal(content.predictions, other) for other in known):
                continue  # the same run, recorded for another draw
            known.append(content.predictions)
            right[place].setdefault(cell, []).append((content.predictions == content.labels).astype(np.float64))
    return TaskAnswers(first.labels if same else None, tuple(predicted), tuple(right))
