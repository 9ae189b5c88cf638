"""Reads CSV and TSV: the separator is the one that splits every row like the header; all values are text."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunefront.bench.data.sources.headers import has_header, named_columns, without_header
from tunefront.bench.data.sources.limits import Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.data.sources.tables import Layout, Problems, Record

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", "@": "@"}
_IN_WHOLE = "@"
"""A separator of whole tasks alone (`a sentence@its label`)."""
_QUOTING = {_IN_WHOLE: csv.QUOTE_NONE}
"""Separators of files in which a quote is always text."""


@dataclass
class _Parse:
    """A file split by one separator: its header, its numbered rows, and the rows that do not fit."""

    separator: str
    columns: list[str]
    rows: list[tuple[int, list[str]]]
    wrong: list[tuple[int, int]]  # (row, number of values)
    blank: list[int] = field(default_factory=list)
    error: str = ""
    literal: bool = False

    @property
    def fits(self) -> bool:
        return not self.wrong and not self.error

    @property
    def values(self) -> list[list[str]]:
        """The rows without their numbers."""
        return [values for _, values in self.rows]

    @property
    def odd_names(self) -> int:
        """Number of column names with leading or trailing blanks, the sign of a split sentence."""
        return sum(1 for name in self.columns if name != name.strip())


def read_csv(
    file: Path,
    data: bytes,
    encoding: str,
    separator: str,
    problems: Problems,
    notes: list[str],
    layout: Layout,
) -> tuple[list[str], list[Record], list[str]]:
    """(columns, records, places); rows that do not fit the header are added to `problems`. Errors: Unreadable."""
    parse = _best(data, encoding, separator, notes, layout.whole)
    if layout.keeps_empty:
        nothing = [""] * len(parse.columns)
        parse.rows = sorted([*parse.rows, *((number, nothing) for number in parse.blank)])
    if parse.columns and not (layout.header or (layout.header is None and has_header(parse.columns, parse.values))):
        parse.rows = [(1, parse.columns), *((number + 1, values) for number, values in parse.rows)]
        parse.wrong = [(number + 1, count) for number, count in parse.wrong]
        parse.columns = without_header(len(parse.columns), notes)
    if parse.error:
        raise Unreadable(f"{file}, {parse.error}; double the quotes inside quoted text.")
    twice = [name for name, count in Counter(parse.columns).items() if count > 1 and name.strip()]
    if twice:
        raise Unreadable(f"{file}: column {twice[0]!r} occurs twice in the header; rename one of them.")
    for number, count in parse.wrong:
        counts = f"{count} values for {len(parse.columns)} columns"
        cure = f"put text with {_NAMES.get(parse.separator, 'separators')} in double quotes"
        problems.add(f"{file}, row {number}: {counts}; {cure}.", str(file), "csv")
    columns = named_columns(parse.columns)
    records: list[Record] = [dict(zip(columns, values, strict=True)) for _, values in parse.rows]
    return columns, records, [f"{file}, row {number}" for number, _ in parse.rows]


def _best(data: bytes, encoding: str, separator: str, notes: list[str], whole: bool) -> _Parse:
    limit = csv.field_size_limit()
    csv.field_size_limit(max(limit, len(data)))  # the module's limit (131,072 characters) holds per process
    try:
        with _text(data, encoding) as text:
            header = next((line for line in text if line.strip()), "")
        declared = re.fullmatch(r"sep=([,;|:\t])\r?\n?", header)
        if declared:  # the line that Excel writes above the header
            notes.append(f"columns separated by {declared[1]!r}, as the first line declares")
            return _parse(data, encoding, declared[1], skip=1)
        usual = _parse(data, encoding, separator)
        marks = [mark for mark in _NAMES if whole or mark not in _IN_WHOLE]
        others = [mark for mark in marks if mark != separator and mark in header]
        parses = [usual, *(_parse(data, encoding, mark, _QUOTING.get(mark, csv.QUOTE_MINIMAL)) for mark in others)]
        fitting = [parse for parse in parses if parse.fits and len(parse.columns) > 1]
        if usual.fits and not others:
            fitting = [usual]
        chosen = min(fitting, key=lambda parse: parse.odd_names) if fitting else _nearest(parses, header)
        chosen = _unquoted(data, encoding, chosen) if chosen.separator == "\t" else chosen
    finally:
        csv.field_size_limit(limit)
    if chosen.separator != separator:
        notes.append(f"columns separated by {_NAMES[chosen.separator]}")
    if chosen.blank and len(chosen.columns) > 1:
        notes.append(f"{len(chosen.blank)} empty row{'s' * (len(chosen.blank) > 1)} left out")
    if chosen.literal:
        notes.append("quotes are part of the text")
    return chosen


def _nearest(parses: list[_Parse], header: str) -> _Parse:
    """The separator for messages if none fits: the most frequent in the header."""
    return max(parses, key=lambda parse: header.count(parse.separator))


def _unquoted(data: bytes, encoding: str, quoted: _Parse) -> _Parse:
    """Chooses between TSV with quotes, as Excel writes it, and without, as in GLUE, where a quote is text.

    Without quotes every line is a row: chosen if all lines fit then and quotes would join some of them.
    """
    literal = _parse(data, encoding, "\t", quoting=csv.QUOTE_NONE)
    literal.literal = True
    return literal if literal.fits and (not quoted.fits or len(quoted.rows) < len(literal.rows)) else quoted


def _parse(data: bytes, encoding: str, separator: str, quoting: int = csv.QUOTE_MINIMAL, skip: int = 0) -> _Parse:
    parse = _Parse(separator, [], [], [])
    with _text(data, encoding) as text:
        for _ in range(skip):
            text.readline()
        reader = csv.reader(text, strict=True, delimiter=separator, quoting=quoting)  # type: ignore[arg-type]
        try:
            parse.columns = next((values for values in reader if values), [])
            width = len(parse.columns)
            for number, values in enumerate(reader, 1):
                if not any(values):
                    parse.blank += [number] if values else []  # a blank line is none
                elif len(values) == width or (len(values) > width and not any(values[width:])):
                    parse.rows.append((number, values[:width]))
                else:
                    parse.wrong.append((number, len(values)))
        except csv.Error as error:
            parse.error = f"line {reader.line_num + skip}: not valid CSV ({error})"
    return parse


def _text(data: bytes, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
