"""Columns, read or not, and the order of rows that give the label away; and labels that are written in the texts.

A column is tried as a model would use it: the label of each row is predicted by the other rows with the same value, the
same pattern, or a value near by. What counts is how much of the way from the majority to no error that goes.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunefront.bench.check.findings import Finding
from tunefront.bench.check.samples import sample
from tunefront.bench.data.reading import listed
from tunefront.bench.data.sources.columns import TWIN, label_leaks
from tunefront.bench.data.sources.labels import missing, number

if TYPE_CHECKING:
    from tunefront.bench.data.sources.tables import Reading
    from tunefront.bench.data.task import Task

MOST_ROWS = 20_000
"""Rows that are looked at."""
_GIVEN_AWAY = 0.8
"""Part of the way from the majority to no error from which a column gives the label away."""
_BINS, _ROWS_A_BIN = 50, 20
_FEWEST_ROWS = 20
_CODE = 40
"""Most mean characters of values whose patterns are tried."""
_OWN, _OTHERS, _SHORTEST_NAME = 0.9, 0.05, 3
_MOST_NAMES = 200
"""Classes up to which their names are looked for in the texts."""
_SAME, _NEAR_BY, _PATTERN = (
    "the same value means the same label",
    "values near by mean the same label",
    "the same pattern means the same label",
)


def explained(values: Sequence[Hashable], labels: Sequence[Hashable], regression: bool = False) -> float:
    """How much of the labels follows from the values of the other rows: 1 for all, 0 for what the majority explains
    (of a regression, the mean), below 0 for less.

    >>> explained(["a", "a", "a", "b", "b", "b", "b"], [1, 1, 1, 0, 0, 0, 0])
    1.0
    """
    if regression:
        return _variance_explained(values, np.asarray(labels, dtype=float))
    counts = Counter(labels)
    common, most = counts.most_common(1)[0]
    if most == len(labels):
        return 0.0
    groups: dict[Hashable, Counter[Hashable]] = defaultdict(Counter)
    for value, label in zip(values, labels, strict=True):
        groups[value][label] += 1
    right = 0
    for group in groups.values():
        (top, first), *rest = group.most_common(2)
        if first == 1 and not rest:  # no other row has this value
            right += top == common
        elif first - 1 > (rest[0][1] if rest else 0):
            right += first
    return (right - most) / (len(labels) - most)


def _variance_explained(values: Sequence[Hashable], labels: np.ndarray) -> float:
    total = float(((labels - labels.mean()) ** 2).sum())
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        groups[value].append(place)
    left = 0.0
    for places in groups.values():
        own = labels[places]
        others = len(own) / (len(own) - 1) if len(own) > 1 else 1.0
        left += float((((own - (own.mean() if len(own) > 1 else labels.mean())) * others) ** 2).sum())
    return 1 - left / total if total else 0.0


def leaks(reading: Reading) -> list[Finding]:
    """Findings about columns and about the order of rows, in a sample of train. The reader itself warns of an input
    whose values repeat and each go with one label."""
    table, task = reading.tables["train"], reading.task
    places = sample(range(len(table.records)), MOST_ROWS)
    places = [place for place in places if not missing(table.records[place].get(reading.label))]
    if len(places) < _FEWEST_ROWS:
        return []
    regression = task.kind == "regression"
    labels: list[Hashable] = [_label(table.records[place].get(reading.label), regression) for place in places]
    ordered = explained(_bins(range(len(places))), labels, regression) >= _GIVEN_AWAY
    answers = task.label_names if task.kind == "multiple choice" else ()
    inputs = [name for name in task.input_fields if name not in answers]
    findings, numbered = [], []
    for name in (*inputs, *(name for name, why in task.left_out.items() if why != TWIN)):
        values = [table.records[place].get(name) for place in places] if name in table.columns else []
        if not values or all(map(missing, values)):
            continue
        named = None if regression else label_leaks({name: values}, labels).get(name)
        share, how = _best(values, labels, regression, patterns=name not in inputs)
        if (not named and share < _GIVEN_AWAY) or (named and name in inputs):
            continue
        if ordered and not named and how == _NEAR_BY:
            numbered.append(repr(name))
            continue
        how = named or f"{how} in {100 * share:.0f} % of the cases"
        findings.append(_of_input(name, how) if name in inputs else _of_column(name, how))
    return [*findings, *([_of_order(numbered)] if ordered else [])]


def _of_input(name: str, how: str) -> Finding:
    remedy = "If it was made from the label, name the other columns with --text, or correct it."
    return Finding("leak", "warning", f"the input {name!r} gives the label away ({how})", remedy)


def _of_column(name: str, how: str) -> Finding:
    text = f"the column {name!r} gives the label away ({how}); it is not read"
    return Finding("leak", "note", text, "Keep it out of --text.")


def _of_order(numbered: Sequence[str]) -> Finding:
    what = listed(["its number", *numbered])
    gives = "gives" if not numbered else "give"
    remedy = "Draws and splits are made by hash, so this does no harm here; shuffle the file before you take a part."
    return Finding("order", "note", f"the rows are sorted by label: of a row {what} {gives} it away", remedy)


def _best(values: Sequence[object], labels: Sequence[Hashable], regression: bool, patterns: bool) -> tuple[float, str]:
    """(how much the column explains, in which way). `patterns`: whether patterns are tried; those of texts are their
    words."""
    texts = ["" if missing(value) else str(value) for value in values]
    ways: dict[str, Sequence[Hashable]] = {_SAME: texts}
    if 2 * len(set(texts)) > len(texts):
        ways[_NEAR_BY] = _bins(texts)
    if patterns and sum(map(len, texts)) <= _CODE * len(texts):
        ways[_PATTERN] = [re.sub(r"\d+", "#", text) for text in texts]
    found = [(explained(each, labels, regression), how) for how, each in ways.items()]
    return max(found, key=lambda pair: pair[0])


def _bins(values: Sequence[object]) -> list[int]:
    """The values in order, by number if they are numbers, as ranges of as many rows each."""
    numbers = [number(value) for value in values]
    numeric = sum(value is not None for value in numbers) > 0.9 * len(numbers)
    keys = [(_float(value), "") for value in numbers] if numeric else [(0.0, str(value)) for value in values]
    order = sorted(range(len(values)), key=lambda place: keys[place])
    bins = max(1, min(_BINS, len(values) // _ROWS_A_BIN))
    binned = [0] * len(values)
    for rank, place in enumerate(order):
        binned[place] = rank * bins // len(values)
    return binned


def _label(value: object, regression: bool) -> Hashable:
    return _float(number(value)) if regression else str(value).strip()


def _float(value: float | None) -> float:
    try:
        return 0.0 if value is None else float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return math.inf


def written_labels(task: Task) -> list[Finding]:
    """Classes whose names are written in nearly all texts of their rows and in few others."""
    if task.kind != "classification" or len(task.label_names) > _MOST_NAMES:
        return []
    names = {place: name.lower() for place, name in enumerate(task.label_names)}
    names = {place: name for place, name in names.items() if len(name) >= _SHORTEST_NAME and number(name) is None}
    rows = sample(task.splits["train"], max(1000, min(MOST_ROWS, 2_000_000 // max(1, len(names)))))
    texts = [(row, " ".join(task.texts(row)).lower()) for row in rows]
    findings = []
    for place, name in names.items():
        own = [row for row, text in texts if row.label == place and _has_word(text, name)]
        rows_of = sum(row.label == place for row, _ in texts)
        others = sum(row.label != place and _has_word(text, name) for row, text in texts)
        if rows_of >= _FEWEST_ROWS and len(own) >= _OWN * rows_of and others <= _OTHERS * (len(texts) - rows_of):
            findings.append(
                Finding(
                    "written label",
                    "warning",
                    f"the label {task.label_names[place]!r} is written in {len(own):,} of the {rows_of:,} texts of its "
                    f"rows and in {others:,} others, as in row {own[0].id}",
                    "If it was not part of the text, remove it, or read other columns with --text.",
                    len(own),
                    own[0].id,
                )
            )
    return findings


def _has_word(text: str, name: str) -> bool:
    """Whether a text has the name as a word; a quick test first."""
    return name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
