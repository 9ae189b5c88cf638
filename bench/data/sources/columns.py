"""Which columns of a table a model reads, why the others are left out, and which give the label away."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunefront.bench.data.sources.doubts import is_list
from tunefront.bench.data.sources.labels import missing, number

ROW_NUMBERS = frozenset({"idx", "id"})
_ID_NAME = re.compile(r"(?i:(.*[_\-. ])?(id|idx|uid|uuid|guid|key|hash|index))|.*[a-z](ID|Id)")
_CODE = re.compile(r"\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?|[0-9a-f]{24}|[0-9a-f]{40}", re.IGNORECASE)
"""A UUID, or as many digits as a usual hash has."""
TWIN = "says the label in other words"
_IDS = "ids"
_ROWS_A_VALUE = 3
"""Rows of train that each value of a column must have for it to tell: texts differ from row to row anyway."""
_EXPLAINED = 0.9
"""Of the rows that have not the commonest label, the share that a column must give away."""


@dataclass(frozen=True)
class Columns:
    """The columns that are read, in order; why each of the others is not; and what is worth saying of those read."""

    inputs: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()


def text_columns(columns: Mapping[str, Sequence[object]], labels: Sequence[object]) -> Columns:
    """Of columns by name, each with a value a row, those of text; `labels` has the rows' labels.

    Left out are columns without a value, of lists and other nested values, of numbers (a column of texts may hold a few
    numbers, which are read as texts), of ids, and one that says the label in other words, if another is left.
    """
    left_out, inputs, notes = {}, [], []
    for name, values in columns.items():
        why = _why_not(name, [value for value in values if not missing(value)])
        if why:
            left_out[name] = why
        else:
            inputs.append(name)
    if not inputs:  # codes are texts, too
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


def telling(columns: Mapping[str, Sequence[object]], labels: Sequence[object]) -> dict[str, str]:
    """Column -> how it gives the label away, of those whose value alone does on all rows, or on nearly all."""
    found = {}
    for name, values in columns.items():
        pairs = _pairs(values, labels)
        told = _by_value(pairs) or _by_name(pairs) or _by_folder(pairs)
        if told:
            found[name] = told
    return found


def _pairs(values: Sequence[object], labels: Sequence[object]) -> list[tuple[str, str]]:
    """Value and label of the rows that have a value, as texts."""
    return [(str(value), str(label)) for value, label in zip(values, labels, strict=True) if not missing(value)]


def _by_value(pairs: Sequence[tuple[str, str]]) -> str | None:
    """That each value goes with one label, but for rows so few that nearly all is explained; None where it is not so.

    Not counted is what always answering the commonest label explains.
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
    """That codes such as paths hold the name of their row's label and no other's; None where it is not so."""
    names = {label for _, label in pairs}
    if len(names) < 2 or any(number(name) is not None for name in names) or any(" " in value for value, _ in pairs):
        return None
    parts = [set(re.split(r"[\W_]+", value.lower())) for value, _ in pairs]
    own = sum(
        label.lower() in part and not any(name.lower() in part for name in names if name != label)
        for part, (_, label) in zip(parts, pairs, strict=True)
    )
    return f"{own:,} of {len(pairs):,} values hold the name of their label" if own >= _EXPLAINED * len(pairs) else None


def _by_folder(pairs: Sequence[tuple[str, str]]) -> str | None:
    """That the folders of paths give the label away, as in `pos/12.txt`; None where they do not."""
    if not pairs or not all("/" in value and " " not in value for value, _ in pairs):
        return None
    told = _by_value([(value.rpartition("/")[0], label) for value, label in pairs])
    return told and f"of the paths' folders, {told}"


def _is_twin(values: Sequence[object], labels: Sequence[object], classes: int) -> bool:
    """Whether a column is the label in other words: one value for each class, on nearly all rows."""
    pairs = _pairs(values, labels)
    meant: dict[str, str] = {}
    if any(meant.setdefault(value, label) != label for value, label in pairs):
        return False
    whole = len(pairs) >= _EXPLAINED * len(labels)
    return 2 <= classes == len(meant) == len(set(meant.values())) < len(pairs) and whole


def _why_not(name: str, filled: Sequence[object]) -> str | None:
    """Why a column is no input, None where it is one."""
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
        return f"numbers, but for {len(texts)} of {len(filled)}"
    if all(is_list(text) for text in texts):
        return "lists written as text"
    return _IDS if _are_ids(name, texts) else None


def _are_ids(name: str, texts: Sequence[str]) -> bool:
    """Whether texts are codes that tell rows apart: hashes, one pattern with another number in every row (row_7), or
    anything with digits under an id's name."""
    if any(len(text.split()) > 1 for text in texts):
        return False
    numbered = all(any(letter.isdigit() for letter in text) for text in texts)
    patterns = {re.sub(r"\d+", "#", text) for text in texts} if numbered else set()
    apart = len(set(texts)) == len(texts) > 2
    return (
        all(_CODE.fullmatch(text.strip()) for text in texts)
        or (numbered and _ID_NAME.fullmatch(name) is not None)
        or (apart and len(patterns) == 1)
    )
