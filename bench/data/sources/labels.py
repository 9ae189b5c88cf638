"""What the label column means: classes or values, their names, and labels that no task here can have.

Without label_names, the labels of all splits together decide, and one value has one reading in every format (text in
CSV, a number in JSON):

- numbers of which one is not whole (2.5, 1e-3) make a regression; 0.0 and 1.0 are whole, and a decimal comma is read
  as a point;
- any other labels are names: the distinct ones of train are the classes, sorted, whole numbers by size.

Where label_names are given, a label is one of these names, or its number from 0.
"""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

from tunefront.bench.data.task import Kind
from tunefront.bench.errors import unknown

_NUMBER = re.compile(r"[+-]?(\d{1,1000}\.?\d{0,1000}|\.\d{1,1000})([eE][+-]?\d{1,4})?")
_WHOLE = re.compile(r"[+-]?\d{1,1000}")  # int() refuses texts of more than 4300 digits
_COMMA = re.compile(r"[+-]?\d{1,300},\d{1,300}")
_SAID = {"true": True, "false": False}
_NOTHING = frozenset({"nan", "na", "n/a", "<na>", "#n/a", "null", "none"})
"""How pandas, R and spreadsheets write that there is no value."""


def missing(value: object) -> bool:
    """Nothing, a text of blanks, or the NaN that stands for nothing in Parquet and in what pandas writes."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def without_nothing(values: Iterable[object]) -> list[object]:
    """Labels without those that are missing; `NA`, `null` and the like are missing where all others are numbers."""
    filled = [value for value in values if not missing(value)]
    spelled = [value for value in filled if not (isinstance(value, str) and value.strip().lower() in _NOTHING)]
    return spelled if spelled and all(number(value) is not None for value in spelled) else filled


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
    """The whole number that a value is or spells ("1", 1, 1.0, "1.0", True, "true"), None for anything else."""
    said = truth(value)
    if said is not None:
        return int(said)
    found = number(value)
    return int(found) if found is not None and (isinstance(found, int) or found.is_integer()) else None


def truth(value: object) -> bool | None:
    """True or false, as JSON, Python and pandas write them; None for anything else."""
    return value if isinstance(value, bool) else _SAID.get(value.strip().lower()) if isinstance(value, str) else None


def kind_of(values: Sequence[object]) -> Kind:
    """regression or classification, by the labels alone."""
    found = [number(value) for value in values]
    plain = all(one is not None for one in found)
    return "regression" if plain and any(whole(value) is None for value in values) else "classification"


def names_of(values: Iterable[object]) -> list[str]:
    """The distinct labels as names of classes: whole numbers by size, `1` and `01` by their text; all else by text."""
    given = list(values)
    numeric = all(number(value) is not None and whole(value) is not None for value in given)
    names = {name_of(value, numeric, all(truth(each) is not None for each in given)) for value in given}
    return sorted(names, key=(lambda name: (int(name), name)) if numeric else str)


def name_of(value: object, numeric: bool, truths: bool = False) -> str:
    """A label as the name of a class: without blanks around it, in one Unicode form; a whole number without a point
    where all labels are `numeric`, and True or False where all are `truths`."""
    if numeric and isinstance(value, float) and value.is_integer():
        return str(int(value))
    if truths and (said := truth(value)) is not None:
        return str(said)
    text = unicodedata.normalize("NFC", str(value).strip())
    return str(whole(text)) if numeric and isinstance(value, str) and not _WHOLE.fullmatch(text) else text


def are_numeric(names: Iterable[str]) -> bool:
    """Whether the names of classes are whole numbers."""
    return all(_WHOLE.fullmatch(name) for name in names)


def class_of(value: object, names: Sequence[str], declared: bool) -> int | str:
    """The number of a label's class from 0, or a sentence that says why the label is none; `declared`, whether
    meta.json or the data names the classes, so that whole numbers index them."""
    if not declared:
        numeric = are_numeric(names) and number(value) is not None and whole(value) is not None
        name = name_of(value, numeric, truths={*names} <= {"False", "True"})
        return names.index(name) if name in names else unknown("label", reprlib.repr(name)[1:-1], names, _hint(value))
    index, plain = whole(value), [name_of(name, numeric=False) for name in names]
    for spelled in (name_of(value, numeric=False), str(index)):
        if spelled in plain and (truth(value) is None or spelled != str(index)):
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


def _hint(value: object, declared: bool = False) -> str:
    if whole(value) == -1:
        return "-1 often stands for a hidden label: leave that split out."
    if declared:
        return ""
    add = ' If labels are values, say "task_type": "regression" there.' if number(value) is not None else ""
    return f"Classes are the labels that occur in train; meta.json can name others.{add}"


def _short(index: int) -> str:
    return str(index) if abs(index) < 10**20 else f"{str(index)[:10]}..."
