"""The report as Markdown, for an issue or a pull request, with all names escaped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunefront.reports.plots import ranks
from tunefront.reports.sections.papers import HEADING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.plots.picture import Picture
    from tunefront.reports.sections.difference import Text
    from tunefront.reports.sections.document import Report
    from tunefront.reports.tables import Cell, Table


def render(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> str:
    """The text, with links to the plots in `plots/`. `drawn` are the pictures of each panel, `studied` those of each
    study, in order."""
    parts = [f"# {escape(report.title)}", escape(report.subtitle), *map(escape, report.lead)]
    parts += ["\n".join(f"- **Note:** {escape(text)}" for text in report.warnings)] if report.warnings else []
    parts += [table(report.overview)] if report.overview is not None else []
    for page, pictures in zip(report.pages, drawn, strict=True):
        parts.append(f"## {escape(page.title)}")
        parts += map(escape, page.lead)
        parts += [f"![{escape(p.alt)}](plots/{p.name}.png)" for p in pictures if p.main]
        parts += [f"{escape(p.note)}" for p in pictures if p.main and p.note]
        parts.append(table(page.scores))
        parts += [table(page.certainty)] if page.certainty is not None else []
        for p in (picture for picture in pictures if picture.ledger == ranks.TAG):
            parts += [f"![{escape(p.alt)}](plots/{p.name}.png)", f"{escape(p.title)}: {escape(p.note)}"]
        if page.few_shot is not None:
            parts += ["### Few-shot", *map(escape, page.few_shot.text), *map(table, page.few_shot.tables)]
        parts += map(table, page.costs)
        parts += [f"![{escape(p.alt)}](plots/{p.name}.png)" for p in pictures if _is_cost_plot(p)]
        parts += [f"{escape(p.title)}: {escape(p.note)}" for p in pictures if _is_cost_plot(p) and p.note]
        parts += [escape(page.undrawn)] if page.undrawn else []
        for ledger in page.ledgers:
            own = [picture for picture in pictures if picture.ledger == ledger.tag]
            parts += [f"### {escape(ledger.title)}", *map(escape, ledger.text), *_plots(own)]
            parts += [table(shown, "####") for shown in ledger.tables]
    for study, pictures in zip(report.studies, studied, strict=True):
        parts += [f"## {escape(study.title)}", *map(escape, study.intro), *_plots(pictures), *map(table, study.tables)]
    if report.absent is not None:
        parts += ["## Cells that did not run", table(report.absent)]
    if report.papers:
        parts += [f"## {HEADING}", *map(table, report.papers)]
    if report.pages:
        parts += ["## How to read this", "\n".join(f"- **{what}.** {escape(how)}" for what, how in report.reading)]
    if report.background:
        parts += ["## Details of the runs", *map(table, report.background)]
    return "\n\n".join(parts) + "\n"


def difference(text: Text) -> str:
    """The difference of two sets of results, for a comment on a pull request: the answer and the tables, with the rest
    folded."""
    parts = [f"### {escape(text.title)}", *map(escape, text.lead), *(table(shown, "####") for shown in text.tables)]
    if text.notes:
        notes = "\n".join(f"- {escape(line)}" for line in text.notes)
        parts.append(f"<details><summary>What this is based on</summary>\n\n{notes}\n\n</details>")
    return "\n\n".join(parts)


def table(shown: Table, heading: str = "###") -> str:
    """One table with its caption and note."""
    heads = [escape(f"{column.head} ({column.under})" if column.under else column.head) for column in shown.columns]
    rules = ["---:" if column.numeric else ":---" for column in shown.columns]
    lines = [heads, rules, *([_cell(cell) for cell in row] for row in shown.rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{heading} {escape(shown.caption)}\n\n{text}" + (f"\n\n{escape(shown.note)}" if shown.note else "")


def escape(text: str) -> str:
    r"""Text with all Markdown and HTML markup escaped.

    >>> print(escape("a*b_c | <script> #1"))
    a\*b\_c \| &lt;script&gt; \#1
    """
    text = " ".join(text.split()) if "\n" in text else text
    text = re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(
        r":(?=//)|(?<=\bwww)\.", lambda match: f"\\{match[0]}", text, flags=re.IGNORECASE
    )  # GitHub links them
    text = re.sub(r"@(?=\w)", "&#64;", text)  # GitHub notifies mentioned users
    return re.sub(r"^(\s*)([-+=]|\d+(?=[.)]))", _not_a_list, text)


def _not_a_list(match: re.Match[str]) -> str:
    """Escapes the start of a line that would become a list or an underline."""
    mark = match[2]
    return f"{match[1]}{mark}\\" if mark[0].isdigit() else f"{match[1]}\\{mark}"


def _plots(pictures: Sequence[Picture]) -> list[str]:
    """Links to plots, then their titles and notes."""
    links = [f"![{escape(p.alt)}](plots/{p.name}.png)" for p in pictures]
    return links + [f"{escape(p.title)}: {escape(p.note)}" for p in pictures if p.note]


def _is_cost_plot(picture: Picture) -> bool:
    return not picture.main and not picture.ledger


def _cell(cell: Cell) -> str:
    text = f"{cell.text} {cell.minor}" if cell.minor else cell.text
    return f"**{escape(text)}**" if cell.strong and text else escape(text)
