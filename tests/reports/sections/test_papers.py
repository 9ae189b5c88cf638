"""Differences from a paper in the report."""

from __future__ import annotations

from typing import Any

from tests.reports.factory import record
from tunefront.bench.records import Record
from tunefront.reports.formats import html, markdown, pdf
from tunefront.reports.sections import document, papers

DTYPE, RATE = "dtype is float32, not <bfloat16>", "learning_rate is 0.1, not 0.2"


def compared(label: str, *deviations: str, **changes: Any) -> Record:
    return record(label=label, paper="tfew2022", deviations=deviations, **changes)


def rows(records: list[Record]) -> list[list[str]]:
    (table,) = papers.paper_tables(records, {"sst2": "sst2", "trec": "trec"})
    return [[cell.text for cell in row] for row in table.rows]


def test_differences_of_all_methods_come_first_in_any_order_of_the_records() -> None:
    records = [compared("full", DTYPE), compared("ia3", DTYPE, RATE), compared("ia3", DTYPE, RATE, task="trec")]
    assert rows(records) == rows(records[::-1]) == [["every method", DTYPE], ["ia3", RATE]]


def test_tasks_are_a_column_if_differences_depend_on_them() -> None:
    records = [compared("full", DTYPE), compared("full", DTYPE, RATE, task="trec")]
    assert rows(records) == [["every method", "every task", DTYPE], ["every method", "trec", RATE]]


def test_a_run_without_differences_says_so() -> None:
    assert rows([compared("full")]) == [["every method", "none"]]


def test_records_that_were_compared_with_nothing_show_nothing() -> None:
    report = document.compose([record(), record(label="ia3")])
    assert report.papers == ()
    assert papers.HEADING not in markdown.render(report, [[]])
    assert papers.HEADING not in html.render(report, [[]])


def test_every_format_shows_the_differences_as_text() -> None:
    report = document.compose([compared("full", DTYPE), compared("ia3", DTYPE, RATE)])
    text, page = markdown.render(report, [[]]), html.render(report, [[]])
    for shown in (text, page):
        assert shown.rindex(papers.HEADING) < shown.rindex("How to read this")
        assert "Differences from tfew2022" in shown
        assert "not &lt;bfloat16&gt;" in shown
    assert pdf.render(report, [[]]).startswith(b"%PDF")
