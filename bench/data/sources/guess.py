"""Guesses what the columns of a file are: texts by their content, the label by its name, then by its few values.

What the call says is never guessed. Every guess is reported, and an option of the command says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tunefront.bench.data.reading import listed
from tunefront.bench.data.sources.columns import ID_NAME, ROW_NUMBERS, why_no_text
from tunefront.bench.data.sources.labels import missing, number, whole
from tunefront.bench.data.sources.split_names import split_in
from tunefront.bench.errors import UserError, unknown

if TYPE_CHECKING:
    from tunefront.bench.data.sources.tables import Table

LABELS = (
    *("label", "labels", "gold_label", "gold", "target", "class", "category", "sentiment", "intent", "answerkey"),
    *("answer", "correct_answer", "correct", "topic", "polarity", "emotion", "stance", "entailment", "is_duplicate"),
    *("rating", "stars", "score", "grade", "quality", "y"),
)
"""Names of a label column, the likeliest first."""
LABEL_WORDS = frozenset(
    (
        *("label", "target", "class", "category", "sentiment", "intent", "entailment", "judgment", "judgement"),
        *("polarity", "emotion", "gold", "rating", "stars", "score", "stance", "topic"),
    )
)
"""Words in the name of a label column."""
TEXT_WORDS = frozenset(
    (
        *("text", "texts", "sentence", "sentences", "review", "reviews", "title", "subject", "headline", "body"),
        *("content", "comment", "comments", "message", "tweet", "question", "premise", "hypothesis", "utterance"),
        *("query", "description", "summary", "abstract", "document", "passage", "context", "article", "post"),
        *("statement", "phrase", "email", "sms", "request", "string"),
    )
)
"""Words in the name of a column of texts, which may then be short."""
_LOOKED_AT = 20_000
"""Most rows that are looked at: of more, every second, third, ... one."""
_LONG, _WIDE = 15, 3
"""Mean characters from which a column holds texts and no names, and how many a Chinese or Japanese one counts as."""
_FEW = 0.1
"""Share of different values below which a column holds categories and no texts."""
_MOST_DIGITS, _MOST_CODES = 0.4, 0.9
"""Share of digits above which texts are dates and numbers, and share of single words above which they are codes."""


@dataclass(frozen=True)
class Column:
    """A column's name and its values in the rows that are looked at."""

    name: str
    values: Sequence[object]

    @cached_property
    def filled(self) -> list[object]:
        """The values that are not missing."""
        return [value for value in self.values if not missing(value)]

    @cached_property
    def distinct(self) -> int:
        """The number of different values."""
        return len({str(value).strip() for value in self.filled})

    @property
    def few(self) -> bool:
        """Whether it has so few different values that they are categories."""
        return self.distinct < max(2, _FEW * len(self.filled))

    @property
    def numeric(self) -> bool:
        """Whether all values are numbers."""
        return all(number(value) is not None for value in self.filled)

    @property
    def words(self) -> set[str]:
        """The words of its name in lower case, without digits."""
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name)
        return {word for word in re.split(r"[\W\d_]+", spaced.lower()) if word}

    @cached_property
    def why_no_text(self) -> str | None:
        """The reason why it is no input, None if it holds texts."""
        why = why_no_text(self.name, self.filled)
        if why is not None:
            return why
        texts = [str(value) for value in self.filled]
        letters = sum(map(len, texts))
        if self.few:
            return "few different values"
        if self.words & TEXT_WORDS and not self.words & LABEL_WORDS:
            return None
        if sum(map(_weight, texts)) < _LONG * len(texts):
            return "short values"
        if sum(letter.isdigit() for text in texts for letter in text) > _MOST_DIGITS * letters:
            return "dates or numbers"
        codes = sum(text.isascii() and len(text.split()) == 1 for text in texts)
        return "codes or addresses" if codes > _MOST_CODES * len(texts) else None

    @property
    def may_be_label(self) -> bool:
        """Whether its values repeat, or are numbers with decimals, in at least half of the rows."""
        if 2 * len(self.filled) < len(self.values) or self.distinct < 2 or _nested(self.filled):
            return False
        return _decimals(self) or 2 * self.distinct <= len(self.filled) + 2


def columns_of(table: Table) -> dict[str, Column]:
    """The columns of a table by name."""
    step = max(1, len(table.records) // _LOOKED_AT)
    return {name: Column(name, [row.get(name) for row in table.records[::step]]) for name in table.columns}


def named(table: Table, text: str, option: str) -> str:
    """The column that a text names: exactly, up to blanks around it, or by its place from 1. Errors: UserError."""
    stripped = [name for name in table.columns if name.strip() == text.strip()]
    if text in table.columns or len(stripped) == 1:
        return text if text in table.columns else stripped[0]
    if text.strip().isdecimal() and 0 < int(text) <= len(table.columns):
        return table.columns[int(text) - 1]
    raise UserError(f"{table.file}: --{option}: {unknown('column', text, table.columns)}")


def named_texts(table: Table, texts: Sequence[str]) -> tuple[str, ...]:
    """The columns that the option --text names; a text that names no column is a list with commas."""
    names = []
    for text in texts:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        known = text.strip() in {name.strip() for name in table.columns}
        names += [named(table, part, "text") for part in ([text] if known or not parts else parts)]
    return tuple(dict.fromkeys(names))


def guess_label(table: Table, columns: Mapping[str, Column], taken: Collection[str]) -> tuple[str, str]:
    """(the label column, how it was found). Errors: UserError if no column looks like one."""
    free = [column for name, column in columns.items() if name not in taken]
    by_name = sorted((c for c in free if _plain(c.name) in LABELS), key=lambda c: LABELS.index(_plain(c.name)))
    by_word = sorted((c for c in free if c.words & LABEL_WORDS), key=lambda c: c.numeric)
    for column in (*by_name, *by_word):
        if column.may_be_label and (column.why_no_text is not None or _plain(column.name) in LABELS):
            return column.name, "by its name"
    few = [c for c in free if c.may_be_label and c.why_no_text is not None and not _is_id(c)]
    few.sort(key=lambda c: (_decimals(c), c.distinct))
    if few:
        others = [f"{c.name} has {c.distinct:,}" for c in few[1:3]]
        values = "numbers" if _decimals(few[0]) else f"{few[0].distinct:,} different values"
        return few[0].name, f"by its {values}{f' ({listed(others)})' if others else ''}"
    if by_name:
        return by_name[0].name, "by its name"
    rest = [c for c in free if c.filled and c.why_no_text == "numbers" and not _is_id(c)]
    if len(rest) == 1:
        return rest[0].name, "as the only column of numbers"
    used = [name for name in taken if _plain(name) in LABELS or columns[name].words & LABEL_WORDS]
    other = f"{used[0]!r}, which is named like one, is --text, --id or --group in this call; " if used else ""
    raise UserError(
        f"{table.file}: no column looks like the label: {other}none{' else' if used else ''} has a name such as label, "
        f"category or sentiment, and none has few different values. Name it with --label COLUMN. Columns: "
        f"{_shown(columns)}."
    )


def guess_texts(table: Table, columns: Mapping[str, Column], taken: Collection[str]) -> tuple[str, ...]:
    """The columns of texts: those with sentences, or with a name such as title; else those of short texts. Errors:
    UserError if there are none."""
    free = {name: column for name, column in columns.items() if name not in taken}
    texts = tuple(name for name, column in free.items() if column.why_no_text is None)
    if texts:
        return texts
    short = [
        c for c in free.values() if c.why_no_text in ("short values", "few different values", "codes or addresses")
    ]
    if short:
        most = max(column.distinct for column in short)
        return tuple(column.name for column in short if 2 * column.distinct > most)
    reasons = "; ".join(f"{name}: {column.why_no_text}" for name, column in free.items())
    raise UserError(
        f"{table.file}: no column has texts to read{f' ({reasons:.300})' if reasons else ''}; a task needs one "
        f"in addition to its label. Name the columns with --text, if there are any. Columns: {_shown(columns)}."
    )


def guess_id(columns: Mapping[str, Column], taken: Collection[str]) -> str | None:
    """The column with a different id in every row, None if there is none."""
    ids = (c for name, c in columns.items() if name not in taken and _is_id(c) and len(c.filled) == len(c.values))
    return next((column.name for column in ids if column.distinct == len(column.values)), None)


def guess_split(columns: Mapping[str, Column], taken: Collection[str]) -> str | None:
    """The column whose every value names a split, train among them, None if there is none."""
    for name, column in columns.items():
        values = {str(value) for value in column.filled} if name not in taken and column.distinct <= 12 else set()
        splits = {split_in(value) for value in values}
        if None not in splits and "train" in splits and len(splits) > 1:
            return name
    return None


def _is_id(column: Column) -> bool:
    return column.name.lower() in ROW_NUMBERS or ID_NAME.fullmatch(column.name) is not None


def _decimals(column: Column) -> bool:
    return column.numeric and any(whole(value) is None for value in column.filled)


def _nested(values: Sequence[object]) -> bool:
    return any(not isinstance(value, (str, int, float)) for value in values)


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.strip().lower())


def _weight(text: str) -> int:
    return sum(_WIDE if ord(letter) >= 0x2E80 else 1 for letter in text)


def _shown(columns: Collection[str]) -> str:
    names = list(columns)
    return ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
