"""The report as a PDF, typeset by Typst with its own fonts. Texts are passed as data, so they cannot become markup."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import typst

from tunefront.reports.plots import ranks
from tunefront.reports.sections.papers import HEADING
from tunefront.reports.tables import Cell, Column, Table, split_wide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunefront.reports.plots.picture import Picture
    from tunefront.reports.sections.document import Page, Report

WIDTH, TALLEST = 172.0, 225.0
"""Width between the margins of a page, and largest height of a plot, in millimetres."""
SHORT = 26
"""Longest text, in characters, of a column with automatic width."""
MOST_ROWS = 500
"""The most rows of one table of records."""


def render(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> bytes:
    """The PDF. `drawn` are the pictures of each panel, `studied` those of each study, in order."""
    return typeset(content(report, drawn, studied))


def typeset(text: str) -> bytes:
    """The PDF of a report's `content`. Typst leaves the interpreter to other threads meanwhile."""
    template = files(__package__).joinpath("report.typ").read_bytes()
    pdf: bytes = typst.compile(template, sys_inputs={"report": text})
    return pdf


def content(report: Report, drawn: Sequence[Sequence[Picture]], studied: Sequence[Sequence[Picture]] = ()) -> str:
    """All texts, tables and plots of the PDF as JSON."""
    data = {
        "title": report.title,
        "subtitle": report.subtitle,
        "lead": report.lead,
        "warnings": report.warnings,
        "overview": [_table(part) for part in split_wide(report.overview)] if report.overview is not None else [],
        "reading": report.reading,
        "pages": [_page(page, pictures) for page, pictures in zip(report.pages, drawn, strict=True)],
        "studies": [
            _section(study.title, study.intro, pictures, study.tables)
            for study, pictures in zip(report.studies, studied, strict=True)
        ],
        "background": [_table(part) for table in report.background for part in split_wide(table)],
        "absent": [_table(report.absent)] if report.absent is not None else [],
        "papers_heading": HEADING,
        "papers": [_table(table) for table in report.papers],
        "files": [_table(part) for page in report.pages for part in _files(page, len(report.pages) > 1)],
    }
    return json.dumps(_printable(data))


def _page(page: Page, pictures: Sequence[Picture]) -> dict[str, Any]:  # Any: JSON
    return {
        "title": page.title,
        "lead": page.lead,
        "scores": [_table(part) for part in split_wide(page.scores)],
        "certainty": [_table(part) for part in split_wide(page.certainty, 10)] if page.certainty is not None else [],
        "ranks": [_plot(picture) for picture in pictures if picture.ledger == ranks.TAG],
        "undrawn": page.undrawn,
        "few_shot": page.few_shot.text if page.few_shot is not None else (),
        "spreads": [
            _table(part) for table in (page.few_shot.tables if page.few_shot else ()) for part in split_wide(table, 10)
        ],
        "costs": [_table(part) for table in page.costs for part in split_wide(table, 9)],
        "plots": [_plot(picture) for picture in pictures if not picture.ledger],
        "ledgers": [
            _section(ledger.title, ledger.text, [p for p in pictures if p.ledger == ledger.tag], ledger.tables)
            for ledger in page.ledgers
        ],
    }


def _section(
    title: str, text: Sequence[str], pictures: Sequence[Picture], tables: Sequence[Table]
) -> dict[str, Any]:  # Any: JSON
    return {
        "title": title,
        "text": text,
        "plots": [_plot(picture) for picture in pictures],
        "tables": [_table(part) for table in tables for part in split_wide(table, 9)],
    }


def _plot(picture: Picture) -> dict[str, Any]:
    width, height = picture.figure.get_size_inches()
    room = WIDTH if picture.wide else (WIDTH - 7) / 2
    return {
        "main": picture.main,
        "wide": picture.wide,
        "title": picture.title,
        "alt": picture.alt,
        "caption": picture.note,
        "svg": picture.svg.decode(),
        "height": min(TALLEST if picture.wide else TALLEST / 2, room * height / width),
    }


def _table(table: Table) -> dict[str, Any]:
    content = {**dataclasses.asdict(table), "fillers": table.fillers}
    longest = [max([0, *(len(row[i].text) for row in table.rows)]) for i in range(len(table.columns))]
    content["short"] = [size <= SHORT for size in longest]
    if all(column.numeric or short for column, short in zip(table.columns, content["short"], strict=True)):
        return content
    first_only = not any(
        not c.numeric and not s for c, s in list(zip(table.columns, content["short"], strict=True))[1:]
    )
    content["short"][0] = content["short"][0] and not first_only
    return content


def _files(page: Page, several: bool) -> list[Table]:
    """All records of a panel, with shortened keys to fit the page; the HTML page has the full keys. One table, or
    several of `MOST_ROWS` rows, since Typst's time grows with the square of a table's rows."""
    rows = tuple(
        (Cell(run.label), *row[:-1], Cell(row[-1].text.removeprefix("records/")[:16] + "…"))
        for run in page.runs
        for _, table in run.parts
        for row in table.rows
    )
    shown = next(table.columns for run in page.runs for _, table in run.parts)
    columns = (Column("method", numeric=False), *shown[:-1], Column("file", "records/…", numeric=False))
    title = page.title if several else "Files behind the numbers"
    if len(rows) <= MOST_ROWS:
        return [Table(title, columns, rows)]
    starts = range(0, len(rows), MOST_ROWS)
    parts = [(start, rows[start : start + MOST_ROWS]) for start in starts]
    return [
        Table(f"{title}, {start + 1:,} to {start + len(part):,} of {len(rows):,}", columns, part)
        for start, part in parts
    ]


def _printable(value: Any) -> Any:
    """The data without unprintable characters."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() or c in "\n\u00a0" else " " for c in value)
    if isinstance(value, dict):
        return {name: content if name == "svg" else _printable(content) for name, content in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value
