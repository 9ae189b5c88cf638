"""The report's tables as a LaTeX document that compiles as it is: booktabs, the best in bold, ties marked.

Every table can be copied into another document that loads booktabs; all names are escaped. Letters that pdfLaTeX's T1
fonts lack are written as their code, such as \\u65e5."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports.names import abbreviate, elide
from tunefront.reports.sections import short_tables
from tunefront.reports.sections.provenance import describe_origin
from tunefront.reports.sections.short_tables import TIED, best_of, mark_ties_by_panel, some_rows
from tunefront.reports.sections.statistics_method import (
    describe_sample,
    describe_statistics,
    describe_test,
    statistics_table,
)
from tunefront.reports.tables import split_wide

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunefront.reports.sections.document import Page, Report
    from tunefront.reports.tables import Cell, Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "→": r"$\rightarrow$",
    TIED: r"$\approx$",
    "—": r"\textemdash{}",
    "–": r"\textendash{}",
    "…": r"\dots{}",
    "·": r"$\cdot$",
    "†": r"\dag{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "\u00a0": "~",
}
PLAIN = re.compile(
    "[ -~\u00a1-\u00ac\u00ae-\u00b7\u00b9-\u0125\u0128-\u0137\u0139-\u013e\u0141-\u0148\u014a-\u0165\u0168-\u017e]"
)
"""Characters that every LaTeX since 2020 prints with the font encodings T1 and TS1."""
LIGATURE = re.compile("-(?=-)|,(?=,)|'(?=')")
"""Characters that would become a dash or a quotation mark together with the next one."""
PREAMBLE = r"""% Written by Tunefront. Compile with pdflatex, or copy a table: it needs \usepackage{booktabs},
% and \usepackage[T1]{fontenc} for quotes, bars and angle brackets in names.
\documentclass[a4paper,10pt]{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage[margin=19mm]{geometry}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\setlength{\belowcaptionskip}{4pt}
\raggedbottom
\sloppy
\begin{document}"""
WIDTH = 172.0
"""Width of the text in millimetres."""
LETTER, GAP = 1.4, 2.9
"""Mean width of a character of a table and room between two columns, in millimetres."""
BOX = 40
"""Longest text, in characters, of a cell in one line; longer ones are in a box of `BOX_WIDTH` millimetres."""
BOX_WIDTH = 46.0
LONG_NAME, LONG_HEAD, LONG_CELL = 96, 34, 260
"""Longest name of a row, head of a column, and text of another cell, in characters."""
BOX_LETTERS = 26
"""Characters of a line in such a box, whose words may be long."""
MOST_LINES = 40
"""Most lines of a table, so that it fits a page."""
TOGETHER = 18
"""LaTeX puts tables aside until they fit, and runs out of room for many: after this number all are set."""
WORD = re.compile(r"\S{19,}")
PLACE = re.compile(r"[^/:,=_.]{18}|[/:,=_.]")


def render(report: Report) -> str:
    """The answer, the score, certainty, few-shot, cost and ledger tables of every panel, the tables of the studies, and
    the method of the statistics."""
    parts = [PREAMBLE, rf"\section*{{{escape(report.title)}}}", escape(report.subtitle) + "."]
    parts += [escape(sentence) for sentence in _answer(report)]
    parts.append(rf"\textit{{{escape(describe_origin(report.records))}}}")
    tables = list(_tables(report))
    for place, table in enumerate(tables):
        parts += [r"\clearpage"] if place and not place % TOGETHER else []
        parts.append(table)
    parts += [r"\clearpage"] if tables else []
    panels, titles = [page.panel for page in report.pages], [page.title for page in report.pages]
    paragraphs = describe_statistics(panels, titles)
    if paragraphs:
        parts.append(r"\section*{Method of the statistics}")
        parts += [rf"\textbf{{{escape(head)}.}} {escape(text)}" for head, text in paragraphs]
    return "\n\n".join([*parts, r"\end{document}"]) + "\n"


def escape(text: str) -> str:
    r"""Text escaped for LaTeX.

    >>> print(escape("50 % of a_b & \\x"))
    50 \% of a\_b \& \textbackslash{}x
    """
    return _protect_start(_escape_within(text).lstrip())


def _escape_within(text: str) -> str:
    """Escaped text within a line: spaces at its start remain."""
    escaped = "".join(map(_escape_character, unicodedata.normalize("NFC", text)))
    return LIGATURE.sub(lambda found: f"{found[0]}{{}}", escaped)


def _protect_start(escaped: str) -> str:
    """At the start of a row, these characters would start an argument of the preceding line break."""
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped.startswith(("[", "*")) else escaped


def _escape_character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if PLAIN.fullmatch(character):
        return character
    if character.isspace() or not character.isprintable():
        return " "
    return SPECIAL["\\"] + character.encode("unicode_escape").decode("ascii").removeprefix("\\")


def _answer(report: Report) -> list[str]:
    if len(report.pages) != 1:
        headlines = [(page.title, page.answer.headline or page.answer.why) for page in report.pages]
        return [f"{title}: {text}" for title, text in headlines] or list(report.lead)
    answer = report.pages[0].answer
    return [*answer.sentences, *(budget.text for budget in answer.budgets)]


def _tables(report: Report) -> Iterator[str]:
    """All tables in order."""
    if report.overview is not None:
        best = list(map(best_of, report.pages))
        yield from _set(mark_ties_by_panel(report.overview, best))
    for page in report.pages:
        yield from _panel_tables(page)
    for study in report.studies:
        for table in study.tables:
            yield from _set(table, study.title)
    numbers = statistics_table([page.panel for page in report.pages], [page.title for page in report.pages])
    if numbers is not None:
        yield from _set(numbers)


def _panel_tables(page: Page) -> Iterator[str]:
    basis = f"{describe_sample(page.panel)}; {describe_test(page.panel)}."
    labels = [entry.label for entry in page.panel.entries]
    sure = short_tables.certainty_table(page, labels)
    for table in (short_tables.mark_ties(page.scores, best_of(page)), *([sure] if sure is not None else [])):
        yield from _set(table, page.title, basis)
    for table in (*(page.few_shot.tables if page.few_shot is not None else ()), *page.costs, *page.ledger_tables):
        yield from _set(table, page.title)


def _set(table: Table, title: str = "", basis: str = "") -> list[str]:
    """A table in as many parts as the page needs, by columns and by rows."""
    where = f", {title}" if title else ""
    return [_table(part, where, basis) for whole in _by_rows(table) for part in _by_columns(whole)]


def _by_rows(table: Table) -> list[Table]:
    """The table in parts of at most `MOST_LINES` lines; a row with a long text has several."""
    groups: list[list[int]] = [[]]
    lines = 0
    for place, row in enumerate(table.rows):
        height = max((_lines(cell, column) for column, cell in enumerate(row)), default=1)
        if groups[-1] and lines + height > MOST_LINES:
            groups.append([])
            lines = 0
        groups[-1].append(place)
        lines += height
    if len(groups) == 1:
        return [table]
    return [
        replace(
            some_rows(table, group),
            caption=f"{table.caption} (rows {group[0] + 1} to {group[-1] + 1} of {len(table.rows)})",
        )
        for group in groups
    ]


def _lines(cell: Cell, place: int) -> int:
    """About how many lines a cell takes."""
    length = len(f"{cell.text} {cell.minor}".strip())
    return 1 if length <= BOX else -(-min(length, LONG_NAME if place == 0 else LONG_CELL) // BOX_LETTERS)


def _by_columns(table: Table) -> list[Table]:
    """The table in as few parts as are narrow enough; the narrowest have one column beside those that name a row."""
    for most in range(len(table.columns), table.leading, -1):
        parts = split_wide(table, most)
        if all(_width(part) <= WIDTH for part in parts):
            return parts
    return split_wide(table, table.leading + 1)


def _width(table: Table) -> float:
    """About how wide a table is, in millimetres."""
    total = 0.0
    for place, column in enumerate(table.columns):
        cells = [f"{row[place].text} {row[place].minor}".strip() for row in table.rows]
        longest = max(map(len, (*cells, elide(column.head, LONG_HEAD), elide(column.under, LONG_HEAD))))
        total += (LETTER * longest if longest <= BOX else BOX_WIDTH) + GAP
    return total


def _table(shown: Table, where: str, basis: str) -> str:
    letters = "".join("r" if column.numeric else "l" for column in shown.columns)
    rows = []
    for index, row in enumerate(shown.rows):
        rule = "\\midrule\n" if index and index in shown.lines else ""
        rows.append(rule + " & ".join(_cell(cell, place) for place, cell in enumerate(row)) + r" \\")
    heads = [" & ".join(escape(abbreviate(column.head, LONG_HEAD)) for column in shown.columns) + r" \\"]
    if any(column.under for column in shown.columns):
        heads.append(" & ".join(escape(abbreviate(column.under, LONG_HEAD)) for column in shown.columns) + r" \\")
    caption = " ".join(filter(None, (f"{shown.caption}{where}.", basis, shown.note)))
    lines = [
        r"\begin{table}[!htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_breakable(caption)}}}",
        rf"\begin{{tabular}}{{@{{}}{letters}@{{}}}}",
        r"\toprule",
        *heads,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _cell(cell: Cell, place: int) -> str:
    text = f"{cell.text} {cell.minor}" if cell.minor else cell.text
    if len(text) <= BOX:
        written = escape(text)
    else:
        text = abbreviate(text, LONG_NAME) if place == 0 else elide(text, LONG_CELL)
        written = rf"\parbox[t]{{{BOX_WIDTH:g}mm}}{{\raggedright\hyphenpenalty10000 {_breakable(text)}\strut}}"
    return rf"\textbf{{{written}}}" if cell.strong and text else written


def _breakable(text: str) -> str:
    """Escaped text whose long words may be broken after signs, else anywhere."""
    parts = []
    for word in re.split(r"(\s+)", text):
        pieces = PLACE.sub(lambda place: f"{place[0]}\n", word).split("\n") if WORD.fullmatch(word) else [word]
        parts.append(r"\allowbreak{}".join(map(_escape_within, filter(None, pieces))))
    return _protect_start("".join(parts).lstrip())
