"""Errors and warnings about labels: unsupported values, and values that may be misread."""

from __future__ import annotations

import ast
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from tunefront.bench.data.sources.advice import FOLDER, Advice
from tunefront.bench.data.sources.labels import are_numeric, kind_of, name_of, number, whole
from tunefront.bench.data.task import Kind

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_ANY_MARK = re.compile(r"\s*[|;,+/&]\s*|\s+")
_LIST_MARK = re.compile(r"\s*[|;,+&]\s*")
_SWITCHES = re.compile(r"[01]([ ,;|][01])+")
_LONGEST_NAME = 1000
_MANY_CLASSES = 20
_FEW_ROWS, _SOME_ROWS = 3, 20
_NO_VALUE = frozenset({"nan", "<na>", "#n/a", "null"})
_NEARLY_ALL = 0.9
_MULTI = (
    "but a row has one label here: multi-label data is not supported. Make a binary task of each label, or keep the "
    "rows with one label"
)


def label_error(
    values: Sequence[object], kind: Kind | None = None, declared: bool = False, advice: Advice = FOLDER
) -> str | None:
    """The reason why these labels are unsupported: several labels per row, or values that are no labels; else None.

    `kind`: the task's kind if meta.json or the call sets it; `declared`: whether they name the classes; both are
    trusted.
    `advice`: what the message tells the user to do.
    """
    odd = next((value for value in values if not isinstance(value, (str, int, float, Decimal))), None)
    if isinstance(odd, dict):
        return (
            f"the label {reprlib.repr(odd)} is an object; write the value that is the label into a column of its own."
        )
    if isinstance(odd, (list, tuple, set)):
        return f"the label {reprlib.repr(odd)} is a list, {_MULTI}."
    if odd is not None:
        return f"the label {reprlib.repr(odd)} has type {type(odd).__name__}; use a text or a number."
    texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
    longest = next((text for text in texts if len(text) > _LONGEST_NAME), None)
    if longest is not None:
        return f"a label has {len(longest):,} characters ({longest[:20]}...); is this the right column?"
    if declared or kind == "multiple choice":
        return None
    commas = [text for text in texts if "," in text and number(text) is not None]
    numeric = kind_of(values) == "regression"
    if commas and all(_THOUSANDS.fullmatch(text.strip()) for text in commas) and (numeric or kind == "regression"):
        return (
            f"the label {reprlib.repr(commas[0])} may mean thousands or a decimal fraction; write numbers with a "
            "decimal point and without thousands separators."
        )
    if kind == "regression":
        return None
    return _several(texts, numeric, advice) or (None if kind else _strays(values, advice))


def label_warnings(
    names: Sequence[str], labels: Sequence[object], declared: bool, advice: Advice = FOLDER
) -> list[str]:
    """One sentence per possible problem of the class names: labels merged into one class, nearly equal names, and so
    many distinct labels that they may be values. `labels`: those of all splits."""
    warnings = []
    for group in _groups(
        {label for label in labels if isinstance(label, str)}, lambda text: name_of(text, numeric=False)
    ):
        warnings.append(f"the labels {_shown(group)} are read as one, since they differ only in blanks or Unicode form")
    warnings += map(look_alike_warning, look_alikes(names))
    for name in names:
        if not declared and name.lower() in _NO_VALUE:
            warnings.append(f"the label {name!r} is read as a class; if it means a missing label, remove its rows")
    few = len(labels) < len(names) * _FEW_ROWS
    numbered = (
        bool(names) and are_numeric(names) and (len(labels) < len(names) * _SOME_ROWS or not _are_in_a_row(names))
    )
    if not declared and len(names) > _MANY_CLASSES and (few or numbered):
        what = "whole numbers" if are_numeric(names) else "texts"
        rows = f", {len(labels) / len(names):.1f} rows each" if few else ""
        warnings.append(
            f"the labels are {len(names)} different {what}{rows}, read as classes; if they are values, write them as "
            f"numbers and {advice.kinds['regression']}"
        )
    return warnings


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Groups of class names that differ only in case, blanks, leading zeros or similar letters."""
    return _groups(names, _plain)


def look_alike_warning(group: Sequence[str]) -> str:
    """The sentence about such a group."""
    return (
        f"the labels {_shown(group)} are different classes, though they differ only in case, blanks, leading zeros "
        "or similar letters; write them the same if they mean one class"
    )


def is_list(text: str) -> bool:
    """Whether a text is a list as written by Python, JSON or numpy."""
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


def _several(texts: Sequence[str], numeric: bool, advice: Advice) -> str | None:
    """The message for a label that joins several; None if there is none. Names with a separator (`Paris, France`) and
    numbers with a decimal comma count as one label, unless each part is a label by itself."""
    listed = next((text for text in texts if is_list(text)), None)
    if listed is not None:
        return f"the label {reprlib.repr(listed)} is a list, {_MULTI}."
    if len(texts) > 1 and all(_SWITCHES.fullmatch(text.strip()) for text in texts):
        return f"the label {reprlib.repr(texts[0])} is a row of 0/1 flags, {_MULTI}."
    joined = _joined(texts, _ANY_MARK, alone=True) or _joined(texts, _LIST_MARK, alone=False)
    if joined is None or (numeric and not set(joined[1]) <= {text.strip() for text in texts}):
        return None
    text, parts = joined
    how = f"numbers with a decimal comma, {advice.kinds['regression']}" if numeric else f"names, {advice.classes}"
    return (
        f"the label {reprlib.repr(text)} joins parts of other labels ({', '.join(map(repr, parts)):.200}), "
        f"{_MULTI}. If these are {how}."
    )


def _joined(texts: Sequence[str], mark: re.Pattern[str], alone: bool) -> tuple[str, list[str]] | None:
    """(a label that joins several, its parts); None if such texts are single names.

    A text joins several labels if each part is a label by itself (`alone`), or otherwise if each part occurs in two
    labels and at varying positions (`a;b b;c`; not `food|good food|bad`).
    """
    split = {text: [part for part in mark.split(text.strip()) if part] for text in texts}
    several = {text: parts for text, parts in split.items() if len(parts) > 1}
    within = Counter(part for parts in split.values() for part in set(parts))
    places: dict[str, set[int]] = {}
    for parts in several.values():
        for place, part in enumerate(parts):
            places.setdefault(part, set()).add(place)
    singles = {text.strip() for text in texts}
    if alone:
        joined = all(set(parts) <= singles for parts in several.values())
    else:
        joined = all(within[part] > 1 for part in places) and any(len(positions) > 1 for positions in places.values())
    return next(iter(several.items())) if several and joined else None


def _strays(values: Sequence[object], advice: Advice) -> str | None:
    """The message for a few labels that are no numbers while nearly all others are, not all of them whole."""
    strays = [value for value in values if number(value) is None]
    numbers = [value for value in values if number(value) is not None]
    if not strays or len(numbers) < _NEARLY_ALL * len(values) or all(whole(value) is not None for value in numbers):
        return None
    return (
        f"{len(numbers):,} of {len(values):,} labels are numbers, but {reprlib.repr(strays[0])} is not; correct it or "
        f"remove the row. If all labels are names, {advice.kinds['classification']}."
    )


def _are_in_a_row(names: Sequence[str]) -> bool:
    """Whether whole numbers are consecutive from 0 or 1, as class numbers are."""
    numbers = sorted(int(name) for name in names)
    return numbers[0] in (0, 1) and numbers == [*range(numbers[0], numbers[0] + len(numbers))]


def _groups(texts: Iterable[str], meaning: Callable[[str], str]) -> list[list[str]]:
    """Groups of two or more texts with the same meaning, in order."""
    groups: dict[str, list[str]] = {}
    for text in sorted(texts):
        groups.setdefault(meaning(text), []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def _shown(group: Sequence[str]) -> str:
    """Quoted texts in ASCII, so that similar ones can be distinguished."""
    return " and ".join(ascii(text) for text in group)


def _plain(name: str) -> str:
    """A name without differences that are easily overlooked: case, blanks, invisible characters."""
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    text = " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
    return str(int(text)) if are_numeric([text]) else text
