"""Labels that no task here can have, and labels that may not mean what they seem to."""

from __future__ import annotations

import ast
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

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
    "but a row has one label here: multi-label data is not read. Make a task of each label (has it, has it not), or "
    "keep the rows that have one"
)


def refused(values: Sequence[object], kind: Kind | None = None, declared: bool = False) -> str | None:
    """Why no task here can have these labels: several labels a row, or values that are none. None where one can.

    `kind` is the task's where meta.json says it, `declared` whether it names the classes: what is said is not doubted.
    """
    odd = next((value for value in values if not isinstance(value, (str, int, float, Decimal))), None)
    if isinstance(odd, (list, tuple, set, dict)):
        return f"the label {reprlib.repr(odd)} is {'a mapping' if isinstance(odd, dict) else 'a list'}, {_MULTI}."
    if odd is not None:
        return f"the label {reprlib.repr(odd)} is of type {type(odd).__name__}; write a text or a number."
    texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
    endless = next((text for text in texts if len(text) > _LONGEST_NAME), None)
    if endless is not None:
        return f"a label has {len(endless):,} characters ({endless[:20]}...); is it the right column?"
    if declared or kind == "multiple choice":
        return None
    commas = [text for text in texts if "," in text and number(text) is not None]
    numeric = kind_of(values) == "regression"
    if commas and all(_THOUSANDS.fullmatch(text.strip()) for text in commas) and (numeric or kind == "regression"):
        return (
            f"the label {reprlib.repr(commas[0])} may be thousands or a decimal fraction; write numbers with a decimal "
            "point and nothing between thousands."
        )
    if kind == "regression":
        return None
    return _several(texts, numeric) or (None if kind else _strays(values))


def doubts(names: Sequence[str], labels: Sequence[object], declared: bool) -> list[str]:
    """What may be wrong with the names of classes, a sentence each: labels that are read as one, names that differ in
    next to nothing, and labels that are many enough to be values. `labels`: those of all splits."""
    found = []
    for group in _groups({each for each in labels if isinstance(each, str)}, lambda text: name_of(text, numeric=False)):
        found.append(f"the labels {_shown(group)} are read as one, since they differ only in blanks or Unicode form")
    for group in _groups(names, _plain):
        found.append(
            f"the labels {_shown(group)} are different classes, though only case, blanks, leading zeros or letters "
            "that look alike tell them apart; write them alike if they are meant to be one"
        )
    for name in names:
        if not declared and name.lower() in _NO_VALUE:
            found.append(f"the label {name!r} is read as a class; if it stands for no label, remove its rows")
    few = len(labels) < len(names) * _FEW_ROWS
    numbered = (
        bool(names) and are_numeric(names) and (len(labels) < len(names) * _SOME_ROWS or not _are_in_a_row(names))
    )
    if not declared and len(names) > _MANY_CLASSES and (few or numbered):
        what = "whole numbers" if are_numeric(names) else "texts"
        rows = f", {len(labels) / len(names):.1f} rows each" if few else ""
        found.append(
            f"the labels are {len(names)} different {what}{rows}, read as classes; if they are values, write them as "
            'numbers and say "task_type": "regression" in meta.json'
        )
    return found


def is_list(text: str) -> bool:
    """Whether a text is a list as Python, JSON or numpy writes it."""
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


def _several(texts: Sequence[str], numeric: bool) -> str | None:
    """That a label stands for several; None where it does not. Names with a mark in them are names (`Paris, France`),
    unless each part is a label by itself, and so are numbers with a decimal comma."""
    listed = next((text for text in texts if is_list(text)), None)
    if listed is not None:
        return f"the label {reprlib.repr(listed)} is a list, {_MULTI}."
    if len(texts) > 1 and all(_SWITCHES.fullmatch(text.strip()) for text in texts):
        return f"the label {reprlib.repr(texts[0])} is a row of switches, {_MULTI}."
    found = _joined(texts, _ANY_MARK, alone=True) or _joined(texts, _LIST_MARK, alone=False)
    if found is None or (numeric and not set(found[1]) <= {text.strip() for text in texts}):
        return None
    text, each = found
    how = (
        'numbers with a decimal comma, say "task_type": "regression"' if numeric else "names, give them as label_names"
    )
    return (
        f"the label {reprlib.repr(text)} joins what other labels hold too ({', '.join(map(repr, each)):.200}), "
        f"{_MULTI}. If these are {how} in meta.json."
    )


def _joined(texts: Sequence[str], mark: re.Pattern[str], alone: bool) -> tuple[str, list[str]] | None:
    """A label that stands for several, with these; None where such texts are names of their own.

    They are several where each part is a label by itself (`alone`), or else stands in two labels and in no fixed place
    (`a;b b;c`; not `food|good food|bad`).
    """
    parts = {text: [part for part in mark.split(text.strip()) if part] for text in texts}
    several = {text: each for text, each in parts.items() if len(each) > 1}
    within = Counter(part for each in parts.values() for part in set(each))
    places: dict[str, set[int]] = {}
    for each in several.values():
        for place, part in enumerate(each):
            places.setdefault(part, set()).add(place)
    singles = {text.strip() for text in texts}
    if alone:
        joined = all(set(each) <= singles for each in several.values())
    else:
        joined = all(within[part] > 1 for part in places) and any(len(found) > 1 for found in places.values())
    return next(iter(several.items())) if several and joined else None


def _strays(values: Sequence[object]) -> str | None:
    """That some labels are no numbers where nearly all others are, and not whole ones."""
    strays = [value for value in values if number(value) is None]
    numbers = [value for value in values if number(value) is not None]
    if not strays or len(numbers) < _NEARLY_ALL * len(values) or all(whole(value) is not None for value in numbers):
        return None
    return (
        f"{len(numbers):,} of {len(values):,} labels are numbers, and {reprlib.repr(strays[0])} is none; correct it or "
        'remove the row. If labels are names all the same, say "task_type": "classification" in meta.json.'
    )


def _are_in_a_row(names: Sequence[str]) -> bool:
    """Whether whole numbers are those of classes: from 0 or 1 on, none left out."""
    numbers = sorted(int(name) for name in names)
    return numbers[0] in (0, 1) and numbers == [*range(numbers[0], numbers[0] + len(numbers))]


def _groups(texts: Iterable[str], meaning: Callable[[str], str]) -> list[list[str]]:
    """Those of the texts that mean the same, more than one each, in order."""
    alike: dict[str, list[str]] = {}
    for text in sorted(texts):
        alike.setdefault(meaning(text), []).append(text)
    return [group for group in alike.values() if len(group) > 1]


def _shown(group: Sequence[str]) -> str:
    """Texts in quotes, so that those that look alike can be told apart."""
    return " and ".join(ascii(text) for text in group)


def _plain(name: str) -> str:
    """A name without what is easily overlooked: case, blanks, marks that no one sees."""
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    text = " ".join(unicodedata.normalize("NFKC", seen).casefold().split())
    return str(int(text)) if are_numeric([text]) else text
