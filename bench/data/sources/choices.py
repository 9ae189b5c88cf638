"""Multiple choice whose answers stand in one column of lists, as in HellaSwag (`endings`) and ARC (`choices`).

Each answer becomes a field of its own, `endings[0]` and so on, empty where a row has fewer; the column itself stays
among the row's fields, for templates. A list is one of texts, a mapping with the lists `text` and `label`, or a list
of such mappings. The label is the answer's number from 0, its own label (ARC's A or 1) or the answer itself.
"""

from __future__ import annotations

import ast
import json
import re
import reprlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.labels import missing, name_of, number, whole

if TYPE_CHECKING:
    from tunefront.bench.data.sources.tables import Table

_LONGEST_LIST = 100_000

_TEXTS = ("text", "choice", "answer", "content")
_NAMES = ("label", "key", "id")
_MOST, _ALIKE, _FEW_ROWS = 12, 0.8, 20
"""Answers in a list that is taken for one, the share of rows with as many, rows that are too few to show all labels."""


@dataclass(frozen=True)
class Answers:
    """The answers of a row and the names that they have in the data, none where they have none."""

    texts: tuple[str, ...]
    names: tuple[str, ...] = ()


def answers_in(value: object) -> Answers | None:
    """The answers that a value holds, None where it holds none."""
    if isinstance(value, Mapping):
        texts = next((value[name] for name in _TEXTS if isinstance(value.get(name), (list, tuple))), None)
        names = next((value[name] for name in _NAMES if isinstance(value.get(name), (list, tuple))), ())
        return _answers(texts, names) if texts is not None else None
    if not isinstance(value, (list, tuple)):
        return None
    if value and all(isinstance(each, Mapping) for each in value):
        key = next((name for name in _TEXTS if all(name in each for each in value)), None)
        named = next((name for name in _NAMES if all(name in each for each in value)), None)
        return None if key is None else _answers([e[key] for e in value], [e[named] for e in value] if named else ())
    return _answers(value, ())


def _answers(texts: Sequence[object], names: Sequence[object]) -> Answers | None:
    if not all(isinstance(text, (str, int, float)) and not isinstance(text, bool) for text in texts):
        return None
    found = tuple("" if missing(text) else str(text) for text in texts)
    known = tuple(map(str, names)) if len(names) == len(found) else ()
    return Answers(found, known)


def place_of(label: object, answers: Answers) -> int | None:
    """Which of a row's answers a label names, from 0; None where it names none, or one that is empty."""
    index = whole(label)
    text = name_of(label, numeric=index is not None and number(label) is not None)
    if text in answers.names:
        place = answers.names.index(text)
    elif index is not None and not answers.names and 0 <= index < len(answers.texts):
        place = index
    elif answers.texts.count(str(label)) == 1:
        place = answers.texts.index(str(label))
    elif len(text) == 1 and "A" <= text.upper() <= "Z" and not answers.names:
        place = ord(text.upper()) - ord("A")
    else:
        return None
    return place if 0 <= place < len(answers.texts) and answers.texts[place].strip() else None


def choice_columns(columns: Mapping[str, Sequence[object]]) -> dict[str, list[Answers]]:
    """Of columns by name, each with a value a row, those that hold at least two answers in every row."""
    found = {name: [answers_in(value) for value in values] for name, values in columns.items()}
    return {
        name: [one for one in answers if one is not None]
        for name, answers in found.items()
        if answers and all(one is not None and len(one.texts) > 1 for one in answers)
    }


def looks_like_answers(answers: Sequence[Answers], labels: Sequence[object]) -> bool:
    """Whether a column is a list of answers though nothing says so: nearly all rows have as many, few, and the labels
    name each of them; the words of a text, say, are another number in every row."""
    commonest, rows = Counter(len(each.texts) for each in answers).most_common(1)[0]
    places = [place_of(label, each) for label, each in zip(labels, answers, strict=True)]
    whole_list = {*places} >= {*range(commonest)} or len(labels) < _FEW_ROWS
    if not all(map(are_texts, answers)):
        return False  # a span, shares, an embedding
    return None not in places and commonest <= _MOST and rows >= _ALIKE * len(answers) and whole_list


def are_texts(answers: Answers) -> bool:
    """Whether none of the answers is a number."""
    return all(number(text) is None for text in answers.texts)


def are_words_of(answers: Sequence[Answers], columns: Sequence[Sequence[object]]) -> bool:
    """Whether the lists are only other columns in pieces: the words of a text."""
    beside = [" ".join(str(value) for value in row) for row in zip(*columns, strict=True)]
    return all(all(text in row for text in each.texts) for each, row in zip(answers, beside, strict=True))


def with_lists(table: Table, names: Collection[str]) -> Table:
    """The table of a format without types with its columns of these names as the lists that their texts spell."""
    if table.typed or not names:
        return table
    records = [{**record, **{name: spelled_list(record.get(name)) for name in names}} for record in table.records]
    return replace(table, records=records)


def list_columns(table: Table) -> list[str]:
    """The columns of a format without types whose every text spells a list of texts."""
    if table.typed:
        return []
    return [
        name
        for name in table.columns
        if all(isinstance(spelled_list(record.get(name)), list) for record in table.records)
    ]


def spelled_list(value: object) -> object:
    """The list that a text spells in JSON or Python, the value itself where it spells none.

    numpy's form, without commas, says too little: Python would read it as one text.
    """
    if not isinstance(value, str) or value[:1] != "[" or value[-1:] != "]" or len(value) > _LONGEST_LIST:
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        apart = not re.search(r"['\"]\s+['\"]", value)
        return found if isinstance(found, list) and apart and all(isinstance(each, str) for each in found) else value
    return value


def misfit(label: object, answers: Answers) -> str:
    """What does not fit between a label and a row's answers."""
    named = f", called {', '.join(answers.names)}" if answers.names else ", numbered from 0"
    return f"label {reprlib.repr(label)} names none of its {len(answers.texts)} answers{named}"


def field(column: str, place: int) -> str:
    """The name of the field that holds an answer."""
    return f"{column}[{place}]"


def column_of(names: Sequence[str]) -> str | None:
    """The column whose answers have these fields, None where they are fields of their own."""
    column = names[0].removesuffix("[0]") if names and names[0].endswith("[0]") else None
    return column if column and list(names) == [field(column, place) for place in range(len(names))] else None


def unfolded(record: Mapping[str, object], column: str, most: int) -> dict[str, object]:
    """A record with a field for each of `most` answers, None where it has fewer or an empty one."""
    answers = answers_in(record.get(column)) or Answers(())
    texts = [text if text.strip() else None for text in answers.texts[:most]]
    padded = [*texts, *[None] * (most - len(texts))]
    return {**record, **{field(column, place): text for place, text in enumerate(padded)}}
