"""Labels with their shares and an example each, and odd ones: rare, missing in a split, nearly alike."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from tunefront.bench.check.findings import Finding, Label, Values
from tunefront.bench.check.samples import sample, shortened
from tunefront.bench.data.reading import count, listed
from tunefront.bench.data.sources.doubts import look_alikes
from tunefront.bench.data.sources.labels import number
from tunefront.bench.errors import UserError

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

_FEW_ROWS = 8
"""Train rows below which a class is rare."""
_NEARLY_ALL = 0.95
_SHORT, _LOOKED_AT = 20, 50
"""Fewest characters of an example where there are such, and rows of a class that are looked at for one."""
_SIMILAR, _RARER = 0.82, 0.05
"""How similar the name of a class is to one of which it may be a misspelling, and how rare in comparison."""
_MOST_COMPARED = 200
_NAMED = 4
_MOST_RENDERED = 5000
"""Rows of a split whose prompts are written."""


def labels_of(task: Task) -> tuple[Label, ...]:
    """The classes, or the places of the right answers, in label order; none for a regression."""
    train = task.splits["train"]
    counts = {split: task.label_counts(split) for split in task.splits}
    by_label: dict[int, list[Row]] = {}
    for row in train if task.label_names else ():
        rows = by_label.setdefault(int(row.label), [])
        if len(rows) < _LOOKED_AT:
            rows.append(row)
    return tuple(
        Label(
            name,
            {split: numbers[name] for split, numbers in counts.items()},
            counts["train"][name] / len(train),
            _example(task, by_label.get(place, [])),
        )
        for place, name in enumerate(task.label_names)
    )


def values_of(task: Task) -> Values | None:
    """The values of a regression; None for other tasks."""
    if task.kind != "regression":
        return None
    rows = task.splits["train"]
    values = [float(row.label) for row in rows]
    ends = (min(rows, key=lambda row: row.label), max(rows, key=lambda row: row.label))
    shown = tuple(shortened(" | ".join(filter(None, task.texts(row)))) for row in ends)
    return Values(min(values), statistics.median(values), statistics.fmean(values), max(values), (shown[0], shown[1]))


def label_findings(task: Task, labels: Sequence[Label]) -> list[Finding]:
    """Classes that are rare, that a split lacks, that nearly all rows have, or that may be misspelt; answers that
    cannot be asked for."""
    if task.kind != "classification":
        return _unusable_answers(task) if task.kind == "multiple choice" else []
    findings = []
    scored = task.eval_split
    unseen = [label.name for label in labels if label.rows[scored] and not label.rows["train"]]
    untested = [label.name for label in labels if label.rows["train"] and not label.rows[scored]]
    rare = [label for label in labels if 0 < label.rows["train"] < _FEW_ROWS]
    if unseen:
        text = f"{count(len(unseen), 'label')} of {scored} {_has(unseen)} no train row: {_few(unseen)}"
        findings.append(Finding("unseen", "warning", text, "No method can learn them: add rows, or remove them."))
    if rare:
        names = [f"{label.name} {label.rows['train']}" for label in sorted(rare, key=lambda label: label.rows["train"])]
        text = f"{count(len(rare), 'label')} {_has(rare)} fewer than {_FEW_ROWS} train rows: {_few(names)}"
        findings.append(Finding("rare", "warning", text, "Add rows, or join them to one label.", len(rare)))
    if untested:
        text = f"{count(len(untested), 'label')} {_has(untested)} no {scored} row: {_few(untested)}"
        findings.append(Finding("untested", "note", text, "Scores say nothing about them.", len(untested)))
    top = max(labels, key=lambda label: label.share)
    if top.share > _NEARLY_ALL and task.metrics[0].name == "accuracy":
        text = f"{100 * top.share:.1f} % of the train rows are {top.name!r}, so accuracy hardly shows a difference"
        findings.append(Finding("one label", "warning", text, 'Use "metrics": ["macro_f1"] in a folder\'s meta.json.'))
    return [*findings, *_alike(task, labels), *_misspelt(labels)]


def _unusable_answers(task: Task) -> list[Finding]:
    """Rows of multiple choice that the default prompt template refuses, such as one with two equal answers."""
    from tunefront.bench.templates import find_template

    refused: list[tuple[Row, str]] = []
    try:
        template = find_template(task, None)
    except UserError:
        return []
    for rows in task.splits.values():
        for row in sample(rows, _MOST_RENDERED):
            try:
                template.render(task, row)
            except UserError as error:
                refused.append((row, str(error)))
    if not refused:
        return []
    row, why = refused[0]
    text = f"{count(len(refused), 'row')} cannot be asked, and a run that draws one stops. The first: {why}"
    return [Finding("answers", "warning", text, "", len(refused), row.id)]


def _alike(task: Task, labels: Sequence[Label]) -> list[Finding]:
    """Names that are different classes and are hardly meant to be, with their rows."""
    rows = {label.name: label.rows["train"] for label in labels}
    findings = []
    for group in look_alikes(rows):
        rarest = min(group, key=lambda name: rows[name])
        place = task.label_names.index(rarest)
        example = next((row.id for row in task.splits["train"] if row.label == place), None)
        names = listed([f"{name!a} ({count(rows[name], 'row')})" for name in group])
        where = "" if example is None else f" (as {rarest!a} in row {example})"
        text = f"the labels {names} differ only in case, blanks, leading zeros or similar letters{where}"
        remedy = "They are read as different classes: write them the same if they mean one."
        findings.append(Finding("alike", "warning", text, remedy, rows[rarest], example))
    return findings


def _misspelt(labels: Sequence[Label]) -> list[Finding]:
    """Rare names that are nearly a frequent one."""
    frequent = sorted(labels, key=lambda label: -label.rows["train"])[:_MOST_COMPARED]
    findings = []
    for label in labels if len(labels) <= _MOST_COMPARED else ():
        if number(label.name) is not None:
            continue
        near = next(
            (
                other
                for other in frequent
                if label.rows["train"] <= _RARER * other.rows["train"] and _similar(label.name, other.name)
            ),
            None,
        )
        if near is not None:
            text = (
                f"the label {label.name!r} ({count(label.rows['train'], 'row')}) may be a misspelt {near.name!r} "
                f"({near.rows['train']:,})"
            )
            findings.append(
                Finding("misspelt", "warning", text, "Correct it in the file if it is.", label.rows["train"])
            )
    return findings[:_NAMED]


def _similar(name: str, other: str) -> bool:
    """Whether a name may be another one misspelt; the reader names those that differ in case or blanks alone."""
    first, second = (" ".join(each.casefold().split()) for each in (name, other))
    return first != second and SequenceMatcher(None, first, second).ratio() >= _SIMILAR


def _example(task: Task, rows: Sequence[Row]) -> str:
    """The shortest text of these rows that is a sentence."""
    texts = [shortened(" | ".join(filter(None, task.texts(row)))) for row in rows]
    return min(texts, key=lambda text: (len(text) < _SHORT, len(text)), default="")


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = [shortened(name, 30) for name in names[:_NAMED]]
    return listed([*shown, f"{more:,} more"] if more > 0 else shown)


def _has(names: Sequence[object]) -> str:
    return "has" if len(names) == 1 else "have"
