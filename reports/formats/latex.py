"""The tables as LaTeX (booktabs), ready for \\input, with all names escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports.tables import split_wide

if TYPE_CHECKING:
    from tunefront.reports.sections.document import Report
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
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "—": "---",
    "–": "--",
    "…": r"\dots{}",
    "·": r"$\cdot$",
    "†": r"\dag{}",
    "\u00a0": "~",
}


def render(report: Report) -> str:
    """The score, few-shot, cost and ledger tables of every panel, and the tables of the studies."""
    parts = ["% Written by Tunefront. Needs \\usepackage{booktabs} (and \\usepackage[T1]{fontenc})."]
    for page in report.pages:
        spreads = page.few_shot.tables if page.few_shot is not None else ()
        sure = (page.certainty,) if page.certainty is not None else ()
        for shown in (page.scores, *sure, *spreads, *page.costs, *page.ledger_tables):
            parts += [_table(part, page.title) for part in split_wide(shown, 10)]
    for study in report.studies:
        parts += [_table(part, study.title) for shown in study.tables for part in split_wide(shown, 10)]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    r"""Text escaped for LaTeX.

    >>> print(escape("50 % of a_b & \\x"))
    50 \% of a\_b \& \textbackslash{}x
    """
    escaped = "".join(SPECIAL.get(c, c if c.isprintable() else " ") for c in text.lstrip())
    # At the start of a row, these characters would start an argument of the preceding line break.
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped.startswith(("[", "*")) else escaped


def _table(shown: Table, title: str) -> str:
    letters = "".join("r" if column.numeric else "l" for column in shown.columns)
    rows = []
    for index, row in enumerate(shown.rows):
        rule = "\\midrule\n" if index in shown.lines else ""
        rows.append(rule + " & ".join(map(_cell, row)) + r" \\")
    heads = [" & ".join(escape(column.head) for column in shown.columns) + r" \\"]
    if any(column.under for column in shown.columns):
        heads.append(" & ".join(escape(column.under) for column in shown.columns) + r" \\")
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(f'{shown.caption}, {title}. {shown.note}'.strip())}}}",
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


def _cell(cell: Cell) -> str:
    text = escape(f"{cell.text} {cell.minor}" if cell.minor else cell.text)
    return rf"\textbf{{{text}}}" if cell.strong and text else text
