"""Multiple choice with an answer a column, such as A, B, C, D or option1, option2: found by their names and the labels.

The label of a row is the letter or number of its answer, the column's name, or the answer itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tunefront.bench.data.sources.labels import missing, name_of, whole

_SERIES = re.compile(r"(?P<word>.*?)[\s_.\-]*(?P<mark>[A-Za-z]|\d{1,2})")
_WORDS = frozenset(
    ("", "choice", "option", "opt", "answer", "ans", "ending", "solution", "sol", "candidate", "alternative")
)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def find_answers(names: Sequence[str], label: str) -> tuple[str, ...]:
    """The columns of answers in order, none if no series of at least two columns is named like answers."""
    series: dict[str, dict[str, str]] = {}
    for name in names:
        found = _SERIES.fullmatch(name.strip())
        if found and name != label and found["word"].lower() in _WORDS:
            series.setdefault(found["word"].lower(), {})[found["mark"].upper()] = name
    for word, columns in series.items():
        for marks in (list(_LETTERS), [str(n) for n in range(100)], [str(n) for n in range(1, 100)]):
            expected = marks[: len(columns)]
            if len(columns) > 1 and set(columns) == set(expected) and (word or marks[0] == "A"):
                return tuple(columns[mark] for mark in expected)
    return ()


def answers_named(labels: Sequence[object], rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> list[str]:
    """The column of each row's right answer, empty if the labels do not name answers. Labels must not be missing."""
    texts = [name_of(label, numeric=whole(label) is not None) for label in labels]
    by_name = {name.strip(): name for name in names}
    letters = dict(zip(_LETTERS, names, strict=False))
    base = 0 if "0" in texts else 1
    numbers = {str(place): name for place, name in enumerate(names, base)}
    for mapping in (by_name, letters, {letter.lower(): name for letter, name in letters.items()}, numbers):
        if all(text in mapping for text in texts):
            return [mapping[text] for text in texts]
    found = [_answer(text, row, names) for text, row in zip(texts, rows, strict=True)]
    return [] if None in found else [name for name in found if name is not None]


def strays(labels: Sequence[object], rows: Sequence[Mapping[str, object]], names: Sequence[str]) -> list[str]:
    """The different labels that keep these columns from being answers: they name none of them, and most others do."""
    named = [bool(answers_named([label], [row], names)) for label, row in zip(labels, rows, strict=True)]
    if all(named) or 2 * sum(named) <= len(named):
        return []
    return list(dict.fromkeys(str(label) for label, known in zip(labels, named, strict=True) if not known))


def _answer(text: str, row: Mapping[str, object], names: Sequence[str]) -> str | None:
    equal = [name for name in names if not missing(row.get(name)) and str(row.get(name)).strip() == text]
    return equal[0] if len(equal) == 1 else None
