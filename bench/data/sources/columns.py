"""Selects the input columns of a table, with reasons for the others, and detects columns that reveal the label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunefront.bench.data.sources.doubts import is_list
from tunefront.bench.data.sources.labels import missing, number

ROW_NUMBERS = frozenset({"idx", "id"})
ID_NAME = re.compile(r"(?i:(.*[_\-. ])?(id|idx|uid|uuid|guid|key|hash|index))|.*[a-z](ID|Id)")
_CODE = re.compile(r"\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?|[0-9a-f]{24}|[0-9a-f]{40}", re.IGNORECASE)
"""A UUID, or a hexadecimal hash of a usual length."""
TWIN = "repeats the label in other words"
_IDS = "ids"
_ROWS_A_VALUE = 3
"""Training rows per distinct value from which a column can reveal the label; texts differ in every row anyway."""
_EXPLAINED = 0.9
"""Share of the rows without the most common label that a column must explain."""


@dataclass(frozen=True)
class Columns:
    """The input columns in order, the reasons against the others, and notes about the inputs."""

    inputs: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()


def text_columns(columns: Mapping[str, Sequence[object]], labels: Sequence[object]) -> Columns:
    """The text columns of `columns` (name -> one value per row); `labels` are the rows' labels.

    Leaves out empty columns, lists and other nested values, numbers (a text column may contain a few numbers, read as
    texts), ids, and a column that repeats the label in other words, provided that another column is left.
    """
    left_out, inputs, notes = {}, [], []
    for name, values in columns.items():
        why = why_no_text(name, [value for value in values if not missing(value)])
        if why:
            left_out[name] = why
        else:
            inputs.append(name)
    if not inputs:  # without other inputs, ids are texts
        inputs = [name for name, why in left_out.items() if why == _IDS]
        left_out = {name: why for name, why in left_out.items() if why != _IDS}
    classes = len({str(label) for label in labels})
    for name in list(inputs):
        if len(inputs) > 1 and _is_twin(columns[name], labels, classes):
            left_out[name] = TWIN
            inputs.remove(name)
    for name in inputs:
        filled = [value for value in columns[name] if not missing(value)]
        numbers = sum(not isinstance(value, str) for value in filled)
        if numbers:
            what = "is a number, read as text" if numbers == 1 else "are numbers, read as texts"
            notes.append(f"{numbers} of {len(filled)} values of {name!r} {what}")
    return Columns(tuple(inputs), left_out, tuple(notes))


def label_leaks(columns: Mapping[str, Sequence[object]], labels: Sequence[object]) -> dict[str, str]:
    """Column -> how it reveals the label, for columns whose value alone does so on (nearly) all rows."""
    leaks = {}
    for name, values in columns.items():
        pairs = _pairs(values, labels)
        leak = _by_value(pairs) or _by_name(pairs) or _by_folder(pairs)
        if leak:
            leaks[name] = leak
    return leaks


def _pairs(values: Sequence[object], labels: Sequence[object]) -> list[tuple[str, str]]:
    """(value, label) of the rows with a value, as texts."""
    return [(str(value), str(label)) for value, label in zip(values, labels, strict=True) if not missing(value)]


def _by_value(pairs: Sequence[tuple[str, str]]) -> str | None:
    """States that each value goes with one label on (nearly) all rows; None if not.

    Rows that the most common label explains do not count.
    """
    by_value: dict[str, Counter[str]] = {}
    for value, label in pairs:
        by_value.setdefault(value, Counter())[label] += 1
    if len(by_value) < 2 or len(by_value) * _ROWS_A_VALUE > len(pairs):
        return None
    others = len(pairs) - Counter(label for _, label in pairs).most_common(1)[0][1]
    wrong = len(pairs) - sum(max(counts.values()) for counts in by_value.values())
    if not others or wrong > (1 - _EXPLAINED) * others:
        return None
    rows = f"in all {len(pairs):,} rows" if not wrong else f"in {len(pairs) - wrong:,} of {len(pairs):,} rows"
    return f"each of its {len(by_value):,} values goes with one label {rows}"


def _by_name(pairs: Sequence[tuple[str, str]]) -> str | None:
    """States that codes such as paths contain the name of their row's label and of no other; None if not."""
    names = {label for _, label in pairs}
    if len(names) < 2 or any(number(name) is not None for name in names) or any(" " in value for value, _ in pairs):
        return None
    parts = [set(re.split(r"[\W_]+", value.lower())) for value, _ in pairs]
    own = sum(
        label.lower() in part and not any(name.lower() in part for name in names if name != label)
        for part, (_, label) in zip(parts, pairs, strict=True)
    )
    return (
        f"{own:,} of {len(pairs):,} values contain the name of their label" if own >= _EXPLAINED * len(pairs) else None
    )


def _by_folder(pairs: Sequence[tuple[str, str]]) -> str | None:
    """States that the folders of paths reveal the label, as in `pos/12.txt`; None if not."""
    if not pairs or not all("/" in value and " " not in value for value, _ in pairs):
        return None
    leak = _by_value([(value.rpartition("/")[0], label) for value, label in pairs])
    return leak and f"of the paths' folders, {leak}"


def _is_twin(values: Sequence[object], labels: Sequence[object], classes: int) -> bool:
    """Whether a column repeats the label in other words: one value per class, on nearly all rows."""
    pairs = _pairs(values, labels)
    meant: dict[str, str] = {}
    if any(meant.setdefault(value, label) != label for value, label in pairs):
        return False
    whole = len(pairs) >= _EXPLAINED * len(labels)
    return 2 <= classes == len(meant) == len(set(meant.values())) < len(pairs) and whole


def why_no_text(name: str, filled: Sequence[object]) -> str | None:
    """The reason why a column is no input, None if it is one."""
    if not filled:
        return "empty"
    nested = [value for value in filled if not isinstance(value, (str, int, float))]
    if nested:
        what = "lists" if isinstance(nested[0], (list, tuple)) else f"values of type {type(nested[0]).__name__}"
        return what if len(nested) == len(filled) else f"{what} in {len(nested)} of {len(filled)} rows"
    if name in ROW_NUMBERS:
        return "numbers the rows"
    texts = [value for value in filled if isinstance(value, str) and number(value) is None]
    if not texts:
        return "numbers"
    if len(texts) * 2 < len(filled):
        return f"numbers, except {len(texts)} of {len(filled)}"
    if all(is_list(text) for text in texts):
        return "lists written as text"
    return _IDS if _are_ids(name, texts) else None


def _are_ids(name: str, texts: Sequence[str]) -> bool:
    """Whether texts identify rows: hashes, one pattern with a different number in every row (row_7), or anything with
    digits in a column named like an id."""
    if any(len(text.split()) > 1 for text in texts):
        return False
    numbered = all(any(letter.isdigit() for letter in text) for text in texts)
    patterns = {re.sub(r"\d+", "#", text) for text in texts} if numbered else set()
    distinct = len(set(texts)) == len(texts) > 2
    return (
        all(_CODE.fullmatch(text.strip()) for text in texts)
        or (numbered and ID_NAME.fullmatch(name) is not None)
        or (distinct and len(patterns) == 1)
    )
