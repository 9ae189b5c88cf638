"""Interprets the label column: classes or values, and the names of classes.

Without label_names, the labels of all splits decide, and a value is read in the same way in every format (text in CSV,
a number in JSON):

- numbers that are not all whole (such as 2.5 or 1e-3) mean regression; 0.0 and 1.0 are whole, and a decimal comma is
  read as a point;
- all other labels are names: the distinct labels of train are the classes, sorted, whole numbers by value.

With label_names, a label is one of these names, or its number from 0.
"""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

from tunefront.bench.data.sources.advice import FOLDER, Advice
from tunefront.bench.data.task import Kind
from tunefront.bench.errors import unknown

_NUMBER = re.compile(r"[+-]?(\d{1,1000}\.?\d{0,1000}|\.\d{1,1000})([eE][+-]?\d{1,4})?")
_WHOLE = re.compile(r"[+-]?\d{1,1000}")  # int() refuses texts of more than 4300 digits
_COMMA = re.compile(r"[+-]?\d{1,300},\d{1,300}")
_BOOLEANS = {"true": True, "false": False}
NOTHING = frozenset({"nan", "na", "n/a", "<na>", "#n/a", "null", "none"})
"""Missing values as written by pandas, R and spreadsheets."""


def missing(value: object) -> bool:
    """Whether a value is None, blank text, or NaN, which Parquet and pandas use for a missing value."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def without_nothing(values: Iterable[object]) -> list[object]:
    """The labels that are not missing; `NA`, `null` and the like count as missing if all others are numbers."""
    filled = [value for value in values if not missing(value)]
    spelled = [value for value in filled if not (isinstance(value, str) and value.strip().lower() in NOTHING)]
    return spelled if spelled and all(number(value) is not None for value in spelled) else filled


def number(value: object) -> int | float | None:
    """The number that a value is or spells, ignoring blanks around it; None for anything else, and for more than 1000
    digits.

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
    boolean = truth(value)
    if boolean is not None:
        return int(boolean)
    real = number(value)
    return int(real) if real is not None and (isinstance(real, int) or real.is_integer()) else None


def truth(value: object) -> bool | None:
    """True or False as written by JSON, Python and pandas; None for anything else."""
    return (
        value if isinstance(value, bool) else _BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else None
    )


def kind_of(values: Sequence[object]) -> Kind:
    """Regression or classification, inferred from the labels."""
    numeric = all(number(value) is not None for value in values)
    return "regression" if numeric and any(whole(value) is None for value in values) else "classification"


def names_of(values: Iterable[object]) -> list[str]:
    """The distinct labels as class names: whole numbers by value (`1` and `01` by text), others by text."""
    labels = list(values)
    numeric = all(number(value) is not None and whole(value) is not None for value in labels)
    names = {name_of(value, numeric, all(truth(label) is not None for label in labels)) for value in labels}
    return sorted(names, key=(lambda name: (int(name), name)) if numeric else str)


def name_of(value: object, numeric: bool, truths: bool = False) -> str:
    """A label as a class name: stripped and in Unicode form NFC; if all labels are `numeric`, whole numbers without a
    point; if all are `truths`, True or False."""
    if numeric and isinstance(value, float) and value.is_integer():
        return str(int(value))
    if truths and (boolean := truth(value)) is not None:
        return str(boolean)
    text = unicodedata.normalize("NFC", str(value).strip())
    return str(whole(text)) if numeric and isinstance(value, str) and not _WHOLE.fullmatch(text) else text


def are_numeric(names: Iterable[str]) -> bool:
    """Whether all class names are whole numbers."""
    return all(_WHOLE.fullmatch(name) for name in names)


def class_of(value: object, names: Sequence[str], declared: bool, advice: Advice = FOLDER) -> int | str:
    """The class number of a label from 0, or a message for an unknown label. `declared`: whether meta.json or the data
    names the classes, so that whole numbers are indices."""
    if not declared:
        numeric = are_numeric(names) and number(value) is not None and whole(value) is not None
        name = name_of(value, numeric, truths={*names} <= {"False", "True"})
        return (
            names.index(name)
            if name in names
            else unknown("label", reprlib.repr(name)[1:-1], names, _hint(value, advice))
        )
    index, plain = whole(value), [name_of(name, numeric=False) for name in names]
    for spelled in (name_of(value, numeric=False), str(index)):
        if spelled in plain and (truth(value) is None or spelled != str(index)):
            return plain.index(
                spelled
            )  # names before indices: label 1 of the names 1 and 2 is the first in every format
    if index is None:
        return unknown("label", reprlib.repr(str(value))[1:-1], names, _hint(value, advice, declared=True))
    if 0 <= index < len(names):
        return index
    numbered = f"0 to {len(names) - 1} are {', '.join(names)}"
    hint = _hint(value, advice, declared=True)
    return f"label {_short(index)} is outside label_names: {numbered}.{f' {hint}' if hint else ''}"


def value_of(value: object) -> float | str:
    """The label of a regression, or a message for an invalid value."""
    real = None if isinstance(value, bool) else number(value)
    try:
        real = math.nan if real is None else float(real)
    except OverflowError:  # a whole number of more than 308 digits
        real = math.inf
    if math.isfinite(real):
        return real
    return f"label {reprlib.repr(value)} is not a finite number, which regression needs."


def _hint(value: object, advice: Advice, declared: bool = False) -> str:
    if whole(value) == -1:
        return "-1 often stands for a hidden label: leave that split out."
    if declared:
        return ""
    others = "" if advice.declaration is None else f"; {advice.declaration} can name others"
    values = "" if number(value) is None else f" If labels are values, {advice.kinds['regression']}."
    return f"Classes are the labels in train{others}.{values}"


def _short(index: int) -> str:
    return str(index) if abs(index) < 10**20 else f"{str(index)[:10]}..."
