"""A report as a short paper: which parts it has at which detail, as data for typesetting.

A report of any size has to fit a few pages. `DETAILS` says how much is shown, from the most to the least; what does not
fit is counted, and the paper says in which file it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tunefront.reports import units
from tunefront.reports.costs.table import short_table
from tunefront.reports.names import abbreviate, elide, join_names
from tunefront.reports.plots import ranks
from tunefront.reports.plots.panel_plots import CROWDED
from tunefront.reports.plots.picture import save
from tunefront.reports.sections import short_tables
from tunefront.reports.sections.how_to_read import on_paper
from tunefront.reports.sections.papers import HEADING
from tunefront.reports.sections.provenance import describe_origin
from tunefront.reports.sections.short_tables import (
    WHOLE,
    best_of,
    first_rows,
    main_methods,
    mark_ties_by_panel,
    of_methods,
)
from tunefront.reports.sections.statistics_method import (
    describe_sample,
    describe_statistics,
    describe_test,
    statistics_table,
)
from tunefront.reports.tables import Table, split_wide

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tunefront.reports.plots.picture import Picture
    from tunefront.reports.sections.document import Page, Report
    from tunefront.reports.sections.studies.study import Study

Block = dict[str, Any]
"""A part of the paper: `kind` and what this kind needs. Any: JSON."""

WIDTH = 172.0
"""Width between the margins of a page, in millimetres."""
TALLEST, TALLEST_STUDY, TALLEST_SMALL = 120.0, 85.0, 70.0
"""Largest height of a plot in millimetres: of the first one, of a study's, and of one of two beside each other."""
SHORT = 26
"""Longest text, in characters, of a column with automatic width."""
LONG_TITLE, LONG_NAME, LONG_CELL, LONG_TEXT = 60, 96, 260, 1200
"""Longest title within a caption, name of a row or column, text of another cell, and paragraph, in characters."""
UNBROKEN = 18
"""Longest word that is never broken, in characters."""
BREAK = "\u200b"
LONG_WORD = re.compile(rf"\S{{{UNBROKEN + 1},}}")
PLACE = re.compile(rf"[^/:,=_.]{{{UNBROKEN}}}|[/:,=_.]")
FEW_PANELS = 6
"""Most panels with a column each in the first table; of more panels, each has a row."""
PANELS = 36
"""Most rows of the table of panels."""
NAMED = 12
"""Most sections named in the sentence on what is not shown."""


@dataclass(frozen=True)
class Detail:
    """How much is shown: of panels and studies in full, of methods in a table, of cost plots and few-shot tables of a
    panel, of figures of a study, of rows of other tables, and of notes."""

    panels: int
    studies: int
    methods: int
    plots: int
    few_shot: int
    figures: int
    rows: int
    notes: int


DETAILS = (
    Detail(panels=4, studies=4, methods=24, plots=4, few_shot=2, figures=2, rows=16, notes=6),
    Detail(panels=3, studies=4, methods=20, plots=2, few_shot=1, figures=2, rows=12, notes=5),
    Detail(panels=2, studies=3, methods=16, plots=2, few_shot=1, figures=1, rows=8, notes=4),
    Detail(panels=1, studies=2, methods=14, plots=0, few_shot=0, figures=1, rows=6, notes=3),
    Detail(panels=1, studies=1, methods=10, plots=0, few_shot=0, figures=1, rows=4, notes=2),
)
"""From the most to the least; with the last, everything is bounded whatever the report."""


@dataclass(frozen=True)
class Paper:
    """The paper at every detail as JSON, the most detailed first, and the plots of all of them as JSON."""

    details: tuple[str, ...]
    plots: str


@dataclass
class _Plots:
    """The plots that were placed, each once, as SVG by name and width."""

    drawn: dict[tuple[str, bool], str] = field(default_factory=dict)

    def place(self, picture: Picture, wide: bool = True, tallest: float | None = None) -> Block:
        """A plot as wide as the page, or half of it: then the version for small screens, whose letters are larger."""
        small = not wide and picture.narrow is not None
        figure = picture.narrow if small and picture.narrow is not None else picture.figure
        if (picture.name, small) not in self.drawn:
            self.drawn[picture.name, small] = (save(figure, "svg") if small else picture.svg).decode()
        width, height = figure.get_size_inches()
        room, most = (WIDTH, TALLEST) if wide else ((WIDTH - 6) / 2, TALLEST_SMALL)
        size = min(tallest or most, room * height / width)
        place = list(self.drawn).index((picture.name, small))
        return {"plot": place, "height": size, "alt": picture.alt, "title": _short(picture.title)}


def paper(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> Paper:
    """The paper. `drawn` are the pictures of each panel, `studied` those of each study, in order."""
    plots, details = _Plots(), []
    for detail in DETAILS:
        text = json.dumps(_printable(_content(report, drawn, studied, detail, plots)))
        if text not in details:
            details.append(text)
    return Paper(tuple(details), json.dumps(list(plots.drawn.values())))


def _content(
    report: Report,
    drawn: Sequence[Sequence[Picture]],
    studied: Sequence[Sequence[Picture]],
    detail: Detail,
    plots: _Plots,
) -> Block:
    blocks = _first_page(report, drawn, detail, plots)
    for page, pictures in list(zip(report.pages, drawn, strict=True))[: detail.panels]:
        blocks += _panel(page, pictures, len(report.pages) > 1, detail, plots)
    blocks += _not_in_full([page.title for page in report.pages[detail.panels :]], "comparison", WHOLE)
    for study, pictures in list(zip(report.studies, studied, strict=True))[: detail.studies]:
        blocks += _study(study, pictures, detail, plots)
    rest = [study.title for study in report.studies[detail.studies :]]
    blocks += _not_in_full(rest, "study", "report.html and studies.csv", "studies")
    blocks += _statistics(report, detail)
    blocks += _appendix(report, detail)
    return {
        "title": elide(report.title, LONG_CELL),
        "subtitle": abbreviate(report.subtitle, LONG_NAME),
        "blocks": blocks,
    }


def _first_page(report: Report, drawn: Sequence[Sequence[Picture]], detail: Detail, plots: _Plots) -> list[Block]:
    blocks: list[Block] = [{"kind": "front", "origin": describe_origin(report.records)}]
    alone = len(report.pages) == 1
    if alone:
        answer = report.pages[0].answer
        blocks += [_text(sentence, "lead") for sentence in (answer.why, answer.costs) if sentence]
        lines = [(budget.words, f"{budget.label}, {budget.rest}") for budget in answer.budgets]
        blocks += [{"kind": "budgets", "lines": _shortened(lines)}] if lines else []
        blocks += [_text(answer.limits, "soft")] if answer.limits else []
    elif 0 < len(report.pages) <= FEW_PANELS:
        heads = [(page.title, page.answer.headline or page.answer.why) for page in report.pages]
        blocks.append({"kind": "budgets", "lines": _shortened(heads)})
    elif not report.pages:
        blocks += [_text(sentence, "lead") for sentence in report.lead]
    blocks += _notes(report.warnings[: detail.notes], len(report.warnings) - detail.notes)
    if not alone and report.pages:
        blocks += _overview(report, detail)
    mains = [
        (page, picture)
        for page, shown in zip(report.pages, drawn, strict=True)
        for picture in shown
        if picture.main and len(page.panel.entries) > 1
    ]
    if alone and mains:
        page, picture = mains[0]
        caption = f"{picture.note} {_basis(page)}"
        blocks.append(_figure([plots.place(picture)], caption))
    elif mains:
        crowded = any(len(page.panel.entries) > CROWDED for page, _ in mains)
        shown = mains[: 1 if crowded else 4 if detail.panels > 3 else 2]
        rest = len(mains) - len(shown)
        more = f" Those of the other {rest} are in report.html." if rest else ""
        placed = [
            plots.place(picture, wide=crowded, tallest=TALLEST if crowded else TALLEST / 2)
            | {"title": _short(page.title)}
            for page, picture in shown
        ]
        blocks.append(_figure(placed, f"{shown[0][1].note} {_basis(shown[0][0])}{more}"))
    return blocks


def _overview(report: Report, detail: Detail) -> list[Block]:
    """All panels at a glance: a column each if there are few, else a row each."""
    if report.overview is None or len(report.pages) > FEW_PANELS:
        return [_table(first_rows(short_tables.panel_table(report.pages), PANELS, WHOLE))]
    marked = mark_ties_by_panel(report.overview, list(map(best_of, report.pages)))
    return [_table(first_rows(marked, 2 * detail.methods, WHOLE))]


def _panel(page: Page, pictures: Sequence[Picture], several: bool, detail: Detail, plots: _Plots) -> list[Block]:
    kept = main_methods(page, detail.methods)
    basis, where = _basis(page), f", {_short(page.title)}" if several else ""
    blocks: list[Block] = [_heading(page.title if several else "Results")]
    blocks += [_text(sentence, "soft") for sentence in page.findings[1:]][: detail.notes]
    table = short_tables.score_table(page, kept)
    if page.shaded and any(cell.shade is not None for row in table.rows for cell in row):
        table = replace(table, note=f"{table.note} {_explain_shades(page)}")
    blocks += [_table(part, where, basis) for part in split_wide(table, 13)]
    sure = short_tables.certainty_table(page, kept)
    blocks += [] if sure is None else [_table(sure, where, basis)]
    blocks += [
        _figure([plots.place(picture)], f"{picture.title}. {picture.note}")
        for picture in pictures
        if picture.ledger == ranks.TAG and len(page.panel.entries) <= detail.methods
    ]
    if page.few_shot is not None:
        tables = page.few_shot.tables
        if tables[: detail.few_shot]:
            lines = [("Few-shot", sentence) for sentence in (" ".join(page.few_shot.text),)]
            blocks.append({"kind": "paragraphs", "lines": _shortened(lines)})
        blocks += [_table(of_methods(table, page, kept), where) for table in tables[: detail.few_shot]]
        blocks += _not_in_full([table.caption for table in tables[detail.few_shot :]], "table", "report.html", "tables")
    runs = f"Medians over {units.plural(len(page.panel.tasks), 'task')}, n = {len(page.panel.records)} runs."
    blocks.append(_table(of_methods(short_table(page.panel, 0), page, kept), where, runs))
    blocks += _cost_plots(page, pictures, where, detail, plots)
    shorts = [(ledger.title, f"{ledger.short}.") for ledger in page.ledgers if ledger.short]
    if shorts:
        blocks.append({"kind": "facts", "lines": _shortened(shorts), "after": "The breakdowns are in report.html."})
    return blocks


def _explain_shades(page: Page) -> str:
    base = "" if page.panel.reference is None else page.panel.reference.label
    return f"Shaded: the difference to {base} on the task, blue above and orange below; the darkest is the largest."


def _cost_plots(page: Page, pictures: Sequence[Picture], where: str, detail: Detail, plots: _Plots) -> list[Block]:
    """The first plots against other costs, two beside each other; crowded ones are as wide as the page, and fewer."""
    small = [picture for picture in pictures if not picture.main and not picture.ledger]
    crowded = any(picture.wide for picture in small)
    shown = small[: detail.plots // 2 if crowded else detail.plots]
    if not shown or len(page.panel.entries) < 2:
        return []
    rest = [picture.title for picture in small[len(shown) :]]
    more = f" In report.html also against: {join_names(rest)}." if rest else ""
    notes = " ".join(dict.fromkeys(picture.note for picture in shown if picture.note))
    if crowded:
        return [
            _figure(
                [plots.place(picture, tallest=TALLEST_STUDY)],
                f"{picture.title}{where}. {_basis(page)} {picture.note}{more}",
            )
            for picture in shown
        ]
    caption = f"The same scores against other costs{where}. {_basis(page)} {notes}{more}"
    return [_figure([plots.place(picture, wide=False) for picture in shown], caption, floats=True)]


def _basis(page: Page) -> str:
    """What a caption says of the numbers of a panel: n and the interval."""
    test = describe_test(page.panel)
    return f"{describe_sample(page.panel)}; {test}."


def _study(study: Study, pictures: Sequence[Picture], detail: Detail, plots: _Plots) -> list[Block]:
    """A study: what was found, its first figures, and its main table."""
    blocks: list[Block] = [_heading(study.title), *(_text(sentence) for sentence in study.intro)]
    shown = pictures[: detail.figures]
    if len(shown) > 1 or (shown and not shown[0].wide):
        captions = " ".join(f"{picture.title}: {picture.note}" for picture in shown)
        blocks.append(_figure([plots.place(picture, wide=False) for picture in shown], captions, floats=True))
    elif shown:
        blocks.append(_figure([plots.place(shown[0])], f"{shown[0].title}. {shown[0].note}"))
    for table in study.tables[:1]:
        parts = split_wide(first_rows(table, 2 * detail.rows, "studies.csv"), 10)
        blocks += [_table(part, f", {_short(study.title)}") for part in parts]
    rest = [picture.title for picture in pictures[detail.figures :]] + [table.caption for table in study.tables[1:]]
    return blocks + _not_in_full(rest, "figure or table", "report.html and studies.csv", "figures and tables")


def _statistics(report: Report, detail: Detail) -> list[Block]:
    if not report.pages:
        return []
    panels, titles = [page.panel for page in report.pages], [page.title for page in report.pages]
    shown = report.pages[: max(detail.panels, 2)]
    blocks: list[Block] = [_heading("Method of the statistics")]
    paragraphs = describe_statistics([page.panel for page in shown], [page.title for page in shown])
    blocks.append({"kind": "paragraphs", "lines": _shortened(paragraphs)})
    numbers = statistics_table(panels, titles)
    if numbers is not None:
        blocks.append(_table(first_rows(numbers, detail.rows, "differences.csv")))
    return blocks


def _appendix(report: Report, detail: Detail) -> list[Block]:
    blocks: list[Block] = [_heading("Records", 2), _text(_where_records_are(len(report.records)), "soft")]
    if report.absent is not None:
        blocks += [_heading("Cells that did not run", 2), _table(first_rows(report.absent, detail.rows, "report.csv"))]
    if report.papers:
        blocks.append(_heading(HEADING, 2))
        blocks += [_table(first_rows(table, detail.rows, "report.html")) for table in report.papers[: detail.panels]]
        rest = [table.caption for table in report.papers[detail.panels :]]
        blocks += _not_in_full(rest, "table", "report.html", "tables")
    tables = [table for table in report.background if len(table.columns) > 2]
    facts = [table for table in report.background if len(table.columns) == 2]
    if facts or tables:
        blocks.append(_heading("Details of the runs", 2))
    for table in facts:
        lines = [(row[0].text, f"{row[1].text};") for row in table.rows if row[0].text != row[1].text]
        blocks.append(
            {"kind": "facts", "lines": _shortened(lines[: 3 * detail.rows]), "after": _after(table, lines, detail)}
        )
    blocks += [_table(first_rows(table, detail.rows, "report.html")) for table in tables]
    reading = on_paper(report.reading)
    if report.pages and reading:
        blocks += [_heading("How to read this", 2), {"kind": "paragraphs", "lines": _shortened(reading)}]
    apart: list[Block] = [{"kind": "break"}] if report.pages or report.studies else []
    return [*apart, _heading("Appendix"), *blocks]


def _after(table: Table, lines: Sequence[tuple[str, str]], detail: Detail) -> str:
    """The note of a table that is set as text, with the number of lines left out."""
    rest = len(lines) - 3 * detail.rows
    more = f"{units.plural(rest, 'more is', 'more are')} in report.html." if rest > 0 else ""
    return " ".join(filter(None, (more, table.note)))


def _where_records_are(amount: int) -> str:
    return (
        f"All numbers are computed from {units.plural(amount, 'record')}, files of JSON in the folder records/ of the "
        "results. report.csv lists every record with all its fields, and in report.html every number leads to the "
        "records that it comes from; the command “tunefront report RESULTS --format html,csv” writes both."
    )


def _not_in_full(titles: Sequence[str], singular: str, where: str, plural: str | None = None) -> list[Block]:
    """The sentence on what is left out; nothing if nothing is."""
    if not titles:
        return []
    amount = units.plural(len(titles), f"more {singular}", f"more {plural}" if plural else None)
    named = join_names(list(map(_short, titles)), most=NAMED)
    return [_text(f"{amount} in {where}: {named}.", "soft")]


def _short(title: str) -> str:
    return abbreviate(title, LONG_TITLE)


def _notes(texts: Sequence[str], left: int) -> list[Block]:
    more = [f"{units.plural(left, 'more note is', 'more notes are')} in report.html."] if left > 0 else []
    lines = [elide(text, LONG_TEXT // 2) for text in (*texts, *more)]
    return [{"kind": "notes", "lines": lines}] if lines else []


def _heading(text: str, level: int = 1) -> Block:
    return {"kind": "heading", "level": level, "text": abbreviate(text, LONG_NAME)}


def _text(text: str, style: str = "plain") -> Block:
    return {"kind": "text", "style": style, "text": elide(text, LONG_TEXT)}


def _shortened(lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(abbreviate(head, LONG_NAME), elide(text, LONG_TEXT)) for head, text in lines]


def _figure(placed: Sequence[Block], caption: str, floats: bool = False) -> Block:
    """Plots with one caption; one that floats stands at the top or bottom of a page, so that text fills the rest."""
    return {"kind": "figure", "plots": list(placed), "caption": elide(caption, LONG_TEXT), "floats": floats}


def _table(table: Table, where: str = "", basis: str = "") -> Block:
    """A table. `where` follows its caption, `basis` says n and the interval."""
    texts = [
        [
            abbreviate(cell.text, LONG_NAME) if place == 0 else elide(cell.text, LONG_CELL)
            for place, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    rows = [
        [
            {
                "text": text,
                "minor": cell.minor,
                "strong": cell.strong,
                "shade": None if cell.shade is None else round(cell.shade / table.darkest, 3),
            }
            for text, cell in zip(shown, row, strict=True)
        ]
        for shown, row in zip(texts, table.rows, strict=True)
    ]
    longest = [max((len(row[place]) for row in texts), default=0) for place in range(len(table.columns))]
    return {
        "kind": "table",
        "caption": elide(f"{table.caption}{where}.", LONG_CELL),
        "basis": elide(basis, LONG_TEXT),
        "note": elide(table.note, LONG_TEXT),
        "columns": [
            {
                "head": abbreviate(column.head, LONG_NAME // 2),
                "under": abbreviate(column.under, LONG_NAME // 2),
                "numeric": column.numeric,
                "short": size <= SHORT,
            }
            for column, size in zip(table.columns, longest, strict=True)
        ],
        "rows": rows,
        "lines": table.lines,
        "fillers": table.fillers,
    }


def _printable(value: Any) -> Any:
    """The data without unprintable characters, and with places to break long words."""
    if isinstance(value, str):
        return _breakable("".join(c if c.isprintable() or c in "\n\u00a0" else " " for c in value))
    if isinstance(value, dict):
        return {name: _printable(content) for name, content in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value


def _breakable(text: str) -> str:
    """The text with places to break in words of more than `UNBROKEN` characters: after signs, else anywhere. Shorter
    words, such as numbers, remain as they are, so that they can be copied."""
    return LONG_WORD.sub(lambda word: PLACE.sub(lambda place: f"{place[0]}{BREAK}", word[0]), text)
