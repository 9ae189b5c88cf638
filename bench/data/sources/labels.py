"""What the label column means: classes or values, their names, and labels that no task here can have.

Without label_names, the labels of all splits together decide, and one value has one reading in every format (text in
CSV, a number in JSON):

- numbers of which one is not whole (2.5, 1e-3) make a regression; 0.0 and 1.0 are whole, and a decimal comma is read
  as a point;
- any other labels are names: the distinct ones of train are the classes, sorted, whole numbers by size.

Where label_names are given, a label is one of these names, or its number from 0.
"""

from __future__ import annotations

import ast
import math
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from tunefront.bench.data.task import Kind
from tunefront.bench.errors import unknown

_NUMBER = re.compile(r"[+-]?(\d{1,1000}\.?\d{0,1000}|\.\d{1,1000})([eE][+-]?\d{1,4})?")
_WHOLE = re.compile(r"[+-]?\d{1,1000}")  # int() refuses texts of more than 4300 digits
_COMMA = re.compile(r"[+-]?\d{1,300},\d{1,300}")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_JOINED = re.compile(r"\s*[|;,]\s*")
_LONGEST_NAME = 1000
_MANY_CLASSES = 20
_FEW_ROWS = 3


def missing(value: object) -> bool:
    """Nothing, a text of blanks, or the NaN that stands for nothing in Parquet and in what pandas writes."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: object) -> int | float | None:
    """The number that a value is or spells, None for anything else; blanks around it are nothing, and so is more than
    1000 digits.

    >>> number("1.0"), number(" 2.5 "), number("2,5"), number(True), number("1e999")
    (1.0, 2.5, 2.5, None, None)
    """
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, str):
        text = value.strip()
        if _WHOLE.fullmatch(text):
            return int(text)
        if _COMMA.fullmatch(text):
            text = text.replace(",", ".")
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def whole(value: object) -> int | None:
    """The whole number that a value is or spells ("1", 1, 1.0, "1.0", True), None for anything else."""
    if isinstance(value, bool):
        return int(value)
    found = number(value)
    return int(found) if found is not None and (isinstance(found, int) or found.is_integer()) else None


def kind_of(values: Sequence[object]) -> Kind:
    """regression or classification, by the labels alone."""
    found = [number(value) for value in values]
    plain = all(one is not None for one in found)
    return "regression" if plain and any(whole(value) is None for value in values) else "classification"


def names_of(values: Iterable[object]) -> list[str]:
    """The distinct labels as names of classes: whole numbers by size, `1` and `01` by their text; all else by text."""
    given = list(values)
    numeric = all(whole(value) is not None and not isinstance(value, bool) for value in given)
    names = {name_of(value, numeric) for value in given}
    return sorted(names, key=(lambda name: (int(name), name)) if numeric else str)


def name_of(value: object, numeric: bool) -> str:
    """A label as the name of a class: without blanks around it, in one Unicode form, and a whole number without a point
    where all labels are `numeric`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = unicodedata.normalize("NFC", str(value).strip())
    return str(whole(text)) if numeric and isinstance(value, str) and not _WHOLE.fullmatch(text) else text


def are_numeric(names: Iterable[str]) -> bool:
    """Whether the names of classes are whole numbers."""
    return all(_WHOLE.fullmatch(name) for name in names)


def class_of(value: object, names: Sequence[str], declared: bool) -> int | str:
    """The number of a label's class from 0, or a sentence that says why the label is none; `declared`, whether
    meta.json or the data names the classes, so that whole numbers index them."""
    if not declared:
        name = name_of(value, are_numeric(names) and whole(value) is not None)
        return names.index(name) if name in names else unknown("label", reprlib.repr(name)[1:-1], names, _hint(value))
    index, plain = whole(value), [name_of(name, numeric=False) for name in names]
    for spelled in (name_of(value, numeric=False), str(index)):
        if spelled in plain and not isinstance(value, bool):
            return plain.index(spelled)  # a name first: of the names 1 and 2, label 1 is the first in every format
    if index is None:
        return unknown("label", reprlib.repr(str(value))[1:-1], names, _hint(value, declared=True))
    if 0 <= index < len(names):
        return index
    numbered = f"0 to {len(names) - 1} are {', '.join(names)}"
    return (
        f"label {_short(index)} is outside label_names: {numbered}.{' ' + hint if (hint := _hint(value, True)) else ''}"
    )


def value_of(value: object) -> float | str:
    """A regression's label, or a sentence that says why the value is none."""
    found = None if isinstance(value, bool) else number(value)
    try:
        found = math.nan if found is None else float(found)
    except OverflowError:  # a whole number of more than 308 digits
        found = math.inf
    if math.isfinite(found):
        return found
    return f"label {reprlib.repr(value)} is not a finite number, which regression needs."


def refused(values: Sequence[object]) -> str | None:
    """Why no task here can have these labels: several labels a row, or values that are none. None where one can."""
    odd = next((value for value in values if not isinstance(value, (str, int, float, Decimal))), None)
    if isinstance(odd, (list, tuple, set, dict)):
        what = "a mapping" if isinstance(odd, dict) else "a list"
        return f"the label {reprlib.repr(odd)} is {what}, {_MULTI}"
    if odd is not None:
        return f"the label {reprlib.repr(odd)} is of type {type(odd).__name__}; write a text or a number."
    texts = Counter(value for value in values if isinstance(value, str))
    endless = next((text for text in texts if len(text) > _LONGEST_NAME), None)
    if endless is not None:
        return f"a label has {len(endless):,} characters ({endless[:20]}...); is it the right column?"
    listed = next((text for text in texts if _is_list(text)), None)
    if listed is not None:
        return f"the label {reprlib.repr(listed)} is a list, {_MULTI}"
    joined = _joined(texts)
    if joined is not None:
        parts = ", ".join(repr(part) for part in joined[1])
        return f"the label {reprlib.repr(joined[0])} joins what other labels hold too ({parts:.200}), {_MULTI}"
    commas = [text for text in texts if "," in text and number(text) is not None]
    if commas and all(_THOUSANDS.fullmatch(text.strip()) for text in commas) and kind_of(values) == "regression":
        return (
            f"the label {reprlib.repr(commas[0])} may be thousands or a decimal fraction; write numbers with a decimal "
            "point and nothing between thousands."
        )
    return None


_MULTI = (
    "but a row has one label here: multi-label data is not read. Make a task of each label (has it, has it not), or "
    "keep the rows that have one."
)


def doubts(names: Sequence[str], labels: Sequence[object], declared: bool) -> list[str]:
    """What may be wrong with the names of classes, a sentence each: labels that are read as one, names that differ in
    next to nothing, and whole numbers that are many enough to be values. `labels`: those of all splits."""
    found = []
    for group in _groups({each for each in labels if isinstance(each, str)}, lambda text: name_of(text, numeric=False)):
        found.append(f"the labels {_shown(group)} are read as one, since they differ only in blanks or Unicode form")
    for group in _groups(names, _plain):
        found.append(
            f"the labels {_shown(group)} are different classes, though only case or leading zeros tell them apart; "
            "write them alike if they are meant to be one"
        )
    if not declared and are_numeric(names) and len(names) > _MANY_CLASSES:
        few = "" if len(labels) >= len(names) * _FEW_ROWS else f", {len(labels) / len(names):.1f} rows each"
        found.append(
            f"the labels are {len(names)} different whole numbers{few}, read as classes; if they are values, say "
            '"task_type": "regression" in meta.json'
        )
    return found


def _groups(texts: Iterable[str], meaning: Callable[[str], str]) -> list[list[str]]:
    """Those of the texts that mean the same, more than one each, in order."""
    alike: dict[str, list[str]] = {}
    for text in sorted(texts):
        alike.setdefault(meaning(text), []).append(text)
    return [group for group in alike.values() if len(group) > 1]


def _shown(group: Sequence[str]) -> str:
    """Texts in quotes, so that those that look alike can be told apart."""
    return " and ".join(ascii(text) for text in group)


def _is_list(text: str) -> bool:
    inside = text.strip()
    if inside[:1] + inside[-1:] not in ("[]", "{}", "()"):
        return False
    try:
        return isinstance(ast.literal_eval(inside), (list, tuple, set, dict))
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # numpy writes [0 1 0], others [a, b]
        parts = re.split(r"[\s,]+", inside[1:-1].strip())
        return inside[0] != "(" and (
            ("," in inside and len(parts) > 1) or all(number(part) is not None for part in parts)
        )


def _joined(texts: Iterable[str]) -> tuple[str, list[str]] | None:
    """A label that joins several, with these; None where texts with a separator in them are names of their own, since
    some part of one occurs nowhere else (`Paris, France`)."""
    parts = {text: [part for part in _JOINED.split(text.strip()) if part] for text in texts}
    within = Counter(part for each in parts.values() for part in set(each))
    several = {text: each for text, each in parts.items() if len(each) > 1}
    if not several or any(within[part] < 2 for each in several.values() for part in each):
        return None
    return next(iter(several.items()))


def _plain(name: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return str(int(text)) if _WHOLE.fullmatch(text) else text


def _hint(value: object, declared: bool = False) -> str:
    if whole(value) == -1:
        return "-1 often stands for a hidden label: leave that split out."
    if declared:
        return ""
    add = ' If labels are values, say "task_type": "regression" there.' if number(value) is not None else ""
    return f"Classes are the labels that occur in train; meta.json can name others.{add}"


def _short(index: int) -> str:
    return str(index) if abs(index) < 10**20 else f"{str(index)[:10]}..."
