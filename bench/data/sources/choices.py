"""Multiple choice with the answers in one column of lists, as in HellaSwag (`endings`) and ARC (`choices`).

Each answer becomes a separate field, `endings[0]` and so on, empty if a row has fewer; the column itself stays among
the row's fields, for templates. A value is a list of texts, a mapping with the lists `text` and `label`, or a list of
such mappings. The label is the answer's number from 0, its own label (ARC's A or 1) or the answer itself.
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
_MOST_ANSWERS, _SAME_LENGTH_SHARE, _FEW_ROWS = 12, 0.8, 20
"""To detect lists of answers: the most answers, the share of rows with the same number, and the number of rows below
which labels need not cover all answers."""


@dataclass(frozen=True)
class Answers:
    """The answers of a row and their names in the data, if any."""

    texts: tuple[str, ...]
    names: tuple[str, ...] = ()


def answers_in(value: object) -> Answers | None:
    """The answers in a value, None if it is no list of answers."""
    if isinstance(value, Mapping):
        texts = next((value[name] for name in _TEXTS if isinstance(value.get(name), (list, tuple))), None)
        names = next((value[name] for name in _NAMES if isinstance(value.get(name), (list, tuple))), ())
        return _answers(texts, names) if texts is not None else None
    if not isinstance(value, (list, tuple)):
        return None
    if value and all(isinstance(item, Mapping) for item in value):
        key = next((name for name in _TEXTS if all(name in item for item in value)), None)
        named = next((name for name in _NAMES if all(name in item for item in value)), None)
        return (
            None
            if key is None
            else _answers([item[key] for item in value], [item[named] for item in value] if named else ())
        )
    return _answers(value, ())


def _answers(texts: Sequence[object], names: Sequence[object]) -> Answers | None:
    if not all(isinstance(text, (str, int, float)) and not isinstance(text, bool) for text in texts):
        return None
    answers = tuple("" if missing(text) else str(text) for text in texts)
    known = tuple(map(str, names)) if len(names) == len(answers) else ()
    return Answers(answers, known)


def place_of(label: object, answers: Answers) -> int | None:
    """The index of the answer that a label names; None if it names none, or an empty one."""
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
    """The columns (name -> one value per row) with at least two answers in every row."""
    lists = {name: [answers_in(value) for value in values] for name, values in columns.items()}
    return {
        name: [answers for answers in rows if answers is not None]
        for name, rows in lists.items()
        if rows and all(answers is not None and len(answers.texts) > 1 for answers in rows)
    }


def looks_like_answers(answers: Sequence[Answers], labels: Sequence[object]) -> bool:
    """Whether an undeclared column holds lists of answers: nearly all rows have the same small number, and the labels
    name each of them; lists of a text's words, for example, differ in length from row to row."""
    commonest, rows = Counter(len(row.texts) for row in answers).most_common(1)[0]
    places = [place_of(label, row) for label, row in zip(labels, answers, strict=True)]
    whole_list = {*places} >= {*range(commonest)} or len(labels) < _FEW_ROWS
    if not all(map(are_texts, answers)):
        return False  # such as a span, shares or an embedding
    return (
        None not in places and commonest <= _MOST_ANSWERS and rows >= _SAME_LENGTH_SHARE * len(answers) and whole_list
    )


def are_texts(answers: Answers) -> bool:
    """Whether no answer is a number."""
    return all(number(text) is None for text in answers.texts)


def are_words_of(answers: Sequence[Answers], columns: Sequence[Sequence[object]]) -> bool:
    """Whether the lists only split up other columns, as the words of a text do."""
    other_texts = [" ".join(str(value) for value in row) for row in zip(*columns, strict=True)]
    return all(all(text in other for text in row.texts) for row, other in zip(answers, other_texts, strict=True))


def with_lists(table: Table, names: Collection[str]) -> Table:
    """An untyped table with these columns parsed from text to lists; a typed table is returned unchanged."""
    if table.typed or not names:
        return table
    records = [{**record, **{name: spelled_list(record.get(name)) for name in names}} for record in table.records]
    return replace(table, records=records)


def list_columns(table: Table) -> list[str]:
    """The columns of an untyped table in which every text is a written list of texts."""
    if table.typed:
        return []
    return [
        name
        for name in table.columns
        if all(isinstance(spelled_list(record.get(name)), list) for record in table.records)
    ]


def spelled_list(value: object) -> object:
    """The list that a text writes in JSON or Python; any other value is returned unchanged.

    numpy's form without commas is not parsed: Python would read it as one text.
    """
    if not isinstance(value, str) or value[:1] != "[" or value[-1:] != "]" or len(value) > _LONGEST_LIST:
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            parsed = read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        separated = not re.search(r"['\"]\s+['\"]", value)
        texts = isinstance(parsed, list) and separated and all(isinstance(item, str) for item in parsed)
        return parsed if texts else value
    return value


def misfit(label: object, answers: Answers) -> str:
    """The message for a label that names no answer of its row."""
    named = f", named {', '.join(answers.names)}" if answers.names else ", numbered from 0"
    return f"label {reprlib.repr(label)} names none of its {len(answers.texts)} answers{named}"


def field(column: str, place: int) -> str:
    """The name of the field that holds an answer."""
    return f"{column}[{place}]"


def column_of(names: Sequence[str]) -> str | None:
    """The column whose answers became these fields, None if they are separate columns."""
    column = names[0].removesuffix("[0]") if names and names[0].endswith("[0]") else None
    return column if column and list(names) == [field(column, place) for place in range(len(names))] else None


def unfolded(record: Mapping[str, object], column: str, most: int) -> dict[str, object]:
    """The record with a field for each of `most` answers; None for a missing or empty answer."""
    answers = answers_in(record.get(column)) or Answers(())
    texts = [text if text.strip() else None for text in answers.texts[:most]]
    padded = [*texts, *[None] * (most - len(texts))]
    return {**record, **{field(column, place): text for place, text in enumerate(padded)}}
