"""The report as Markdown, short enough for a comment on a pull request or a model card, with all names escaped."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.reports import units
from tunefront.reports.costs.table import short_table
from tunefront.reports.names import abbreviate, join_names
from tunefront.reports.plots import ranks
from tunefront.reports.sections.how_to_read import on_paper
from tunefront.reports.sections.papers import HEADING
from tunefront.reports.sections.provenance import describe_origin
from tunefront.reports.sections.short_tables import (
    WHOLE,
    best_of,
    first_rows,
    main_methods,
    main_table,
    mark_ties,
    mark_ties_by_panel,
    panel_table,
)
from tunefront.reports.sections.statistics_method import (
    describe_sample,
    describe_statistics,
    describe_test,
    statistics_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tunefront.reports.plots.picture import Picture
    from tunefront.reports.sections.difference import Text
    from tunefront.reports.sections.document import Page, Report
    from tunefront.reports.tables import Cell, Table

LIMIT, MOST = 65_536, 64_000
"""Most characters of a comment on GitHub, and of the text with what is folded."""
METHODS, PANELS, FEW_PANELS = 24, 40, 6
"""Most methods and panels of the table that is not folded; up to `FEW_PANELS` panels have a column each."""
NOTES, STUDIES = 4, 3
"""Most notes and studies that are not folded."""


def render(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> str:
    """The answer, one table, the notes and the origin of the numbers; the rest is folded, and what a comment has no
    room for is named. `drawn` are the pictures of each panel, `studied` those of each study, in order."""
    parts = [f"## {escape(report.title)}", *_answer(report), *_main_table(report)]
    shown = report.warnings[:NOTES]
    parts += ["\n".join(f"- **Note:** {escape(text)}" for text in shown)] if shown else []
    for study in report.studies[:STUDIES]:
        parts += [f"### {escape(study.title)}", *map(escape, study.intro)]
    parts.append(f"*{escape(f'{report.subtitle}; {describe_origin(report.records)}')}*")
    return _with_folded(parts, _folded(report, drawn, studied))


def _answer(report: Report) -> list[str]:
    """What is recommended, with the budgets of a single panel, or a line for each of several."""
    if len(report.pages) == 1:
        answer = report.pages[0].answer
        budgets = [
            f"- **{escape(budget.words)}**: {escape(f'{budget.label}, {budget.rest}')}" for budget in answer.budgets
        ]
        return [*map(escape, filter(None, (answer.why, answer.costs))), *filter(None, ["\n".join(budgets)])] + (
            [escape(answer.limits)] if answer.limits else []
        )
    lines = [f"- **{escape(page.title)}**: {escape(_headline(page))}" for page in report.pages[:FEW_PANELS]]
    rest = len(report.pages) - FEW_PANELS
    lines += [f"- {units.plural(rest, 'more comparison is', 'more comparisons are')} in the table."] if rest > 0 else []
    return ["\n".join(lines)] if lines else list(map(escape, report.lead))


def _headline(page: Page) -> str:
    """The answer of a panel and what it costs."""
    answer = page.answer
    return f"{answer.headline}. {answer.costs}".strip() if answer.headline else answer.why


def _main_table(report: Report) -> list[str]:
    """Scores and costs of a single panel, or all panels at a glance."""
    if not report.pages:
        return []
    if len(report.pages) == 1:
        (page,) = report.pages
        return [table(_of_panel(page))]
    if report.overview is not None and len(report.pages) <= FEW_PANELS:
        marked = mark_ties_by_panel(report.overview, list(map(best_of, report.pages)))
        return [table(first_rows(marked, METHODS, WHOLE))]
    return [table(first_rows(panel_table(report.pages), PANELS, WHOLE))]


def _of_panel(page: Page) -> Table:
    """The main table of a panel, with n and the interval in its note."""
    made = main_table(page, short_table(page.panel, 0, scoring=False), main_methods(page, METHODS))
    return replace(made, note=f"{describe_sample(page.panel)}; {describe_test(page.panel)}. {made.note}")


Fold = tuple[str, list[str]]
"""A title, and the blocks that are folded below it."""


def _folded(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]]) -> Iterator[Fold]:
    """All that is folded, the most important first."""
    several = len(report.pages) > 1
    for page in report.pages:
        tables = [mark_ties(page.scores, best_of(page))]
        tables += [mark_ties(page.certainty, best_of(page))] if page.certainty is not None else []
        parts = [*map(escape, page.findings), *([table(_of_panel(page))] if several else []), *map(table, tables)]
        yield f"Scores by task, and how sure: {page.title}", parts
    if len(report.warnings) > NOTES:
        yield "More notes", ["\n".join(f"- {escape(text)}" for text in report.warnings[NOTES:])]
    for place, (study, pictures) in enumerate(zip(report.studies, studied or [()] * len(report.studies), strict=True)):
        intro = [] if place < STUDIES else list(map(escape, study.intro))
        yield f"Study: {study.title}", [*intro, *map(table, study.tables), *_plots(pictures)]
    if report.absent is not None:
        yield "Cells that did not run", [table(report.absent)]
    if report.papers:
        yield HEADING, list(map(table, report.papers))
    if report.pages:
        yield "Method of the statistics", _statistics(report)
        yield "How to read this", ["\n".join(f"- **{what}.** {escape(how)}" for what, how in on_paper(report.reading))]
    for page, pictures in zip(report.pages, drawn, strict=True):
        where = f": {page.title}" if several else ""
        plots = [picture for picture in pictures if not picture.ledger or picture.ledger == ranks.TAG]
        if plots:
            yield (
                f"Plots, files beside this one{where}",
                [*_plots(plots), *([escape(page.undrawn)] if page.undrawn else [])],
            )
        if page.few_shot is not None:
            yield f"Few-shot{where}", [*map(escape, page.few_shot.text), *map(table, page.few_shot.tables)]
        yield f"Costs{where}", list(map(table, page.costs))
        for ledger in page.ledgers:
            own = [picture for picture in pictures if picture.ledger == ledger.tag]
            yield f"{ledger.title}{where}", [*map(escape, ledger.text), *map(table, ledger.tables), *_plots(own)]
    if report.background:
        yield "Details of the runs", list(map(table, report.background))


def _statistics(report: Report) -> list[str]:
    panels, titles = [page.panel for page in report.pages], [page.title for page in report.pages]
    numbers = statistics_table(panels, titles)
    paragraphs = [f"- **{escape(head)}.** {escape(text)}" for head, text in describe_statistics(panels, titles)]
    return ["\n".join(paragraphs), *([table(numbers)] if numbers is not None else [])]


def _with_folded(parts: list[str], folds: Iterable[Fold]) -> str:
    """The text with what is folded, as far as a comment has room for it; the rest is named."""
    left_out, length = [], sum(len(part) + 2 for part in parts)
    for title, blocks in folds:
        inside = "\n\n".join(blocks)
        text = f"<details><summary>{_in_html(title)}</summary>\n\n{inside}\n\n</details>"
        if length + len(text) + 2 > MOST:
            left_out.append(title)
        else:
            parts.append(text)
            length += len(text) + 2
    if left_out:
        named = join_names([abbreviate(title, 80) for title in left_out])
        parts.append(
            escape(f"Left out here, since a comment has room for {LIMIT:,} characters: {named}; see report.html.")
        )
    return "\n\n".join(parts) + "\n"


def _in_html(text: str) -> str:
    """Text within a tag, where Markdown is not read: every sign as its number."""
    return "".join(c if c.isalnum() or c in " ," else f"&#{ord(c)};" for c in text)


def difference(text: Text) -> str:
    """The difference of two sets of results, for a comment on a pull request: the answer and the tables, with the rest
    folded."""
    parts = [f"### {escape(text.title)}", *map(escape, text.lead), *(table(shown) for shown in text.tables)]
    if text.notes:
        notes = "\n".join(f"- {escape(line)}" for line in text.notes)
        parts.append(f"<details><summary>What this is based on</summary>\n\n{notes}\n\n</details>")
    return "\n\n".join(parts)


def table(shown: Table, heading: str = "####") -> str:
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
    return re.sub(r"^(\s*)([-+=]|\d+(?=[.)]))", _not_a_list, _escape_within(text))


def _escape_within(text: str) -> str:
    """Escaped text that does not start a line, such as that of a cell."""
    text = " ".join(text.split()) if "\n" in text else text
    text = re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(
        r":(?=//)|(?<=\bwww)\.", lambda match: f"\\{match[0]}", text, flags=re.IGNORECASE
    )  # GitHub links them
    return re.sub(r"@(?=\w)", "&#64;", text)  # GitHub notifies mentioned users


def _not_a_list(match: re.Match[str]) -> str:
    """Escapes the start of a line that would become a list or an underline."""
    mark = match[2]
    return f"{match[1]}{mark}\\" if mark[0].isdigit() else f"{match[1]}\\{mark}"


def _plots(pictures: Sequence[Picture]) -> list[str]:
    """Links to plots, then their titles and notes."""
    links = [f"![{escape(p.alt)}](plots/{p.name}.png)" for p in pictures]
    return links + [f"{escape(p.title)}: {escape(p.note)}" for p in pictures if p.note]


def _cell(cell: Cell) -> str:
    text = _escape_within(f"{cell.text} {cell.minor}" if cell.minor else cell.text)
    return f"**{text}**" if cell.strong and text.strip() else text
