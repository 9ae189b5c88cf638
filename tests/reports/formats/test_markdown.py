"""The Markdown for a comment: a short answer with one table, the rest folded and bounded; its tables are tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.reports.answered import world
from tests.reports.factory import failed, grid, ledger
from tunefront.bench.records import Record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.formats import markdown
from tunefront.reports.sections.document import Report, compose
from tunefront.reports.sections.short_tables import TIED


def written(records: Sequence[Record]) -> tuple[Report, str]:
    """The report and its text, without plots."""
    places = getattr(records, "places", None)
    report = compose(records, answers=AnswerFiles(places or {}), places=places)
    return report, markdown.render(report, [[] for _ in report.pages])


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, by a renderer."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    found: list[list[list[str]]] = []
    for before, token in itertools.pairwise(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif before.type in ("td_open", "th_open"):
            found[-1][-1].append("".join(child.content for child in token.children or []))
    return found


def test_the_answer_and_one_table_come_before_what_is_folded(tmp_path: Path) -> None:
    report, text = written(world(tmp_path, {"full": 0.9, "ia3": 0.88, "bitfit": 0.6}, draws=range(6)))
    known = report.pages[0].panel.evidence
    assert known is not None
    open_part = text.partition("<details>")[0]
    assert open_part.startswith(f"## {report.title}")
    (shown,) = tables(open_part)
    assert [row[0].split()[0] for row in shown[1:]] == list(known.labels)
    assert "n = 2 tasks × 6 draws × 120 test rows" in open_part
    bold = re.findall(r"^\| \*\*(\S+)[^|]*\*\* \|", open_part, re.MULTILINE)
    assert bold == [known.best]
    tied = {row[0].split()[0] for row in shown if TIED in row[0]}
    assert tied == set(known.tied_labels) - {known.best}
    assert "2025-01-02; torch 2.9.0" in open_part
    assert len(open_part) < 4000


def test_all_tables_are_tables_also_where_they_are_folded() -> None:
    records = [*map(ledger, grid(["full", "ia3", "a|b", "<c>"], ["sst2", "trec"])), failed(reason="a | b\nc")]
    report, text = written(records)
    (page,) = report.pages
    known = [page.scores, *page.costs, *page.ledger_tables, report.absent, *report.background]
    found = {tuple(map(len, shown)) for shown in tables(text)}
    assert all((len(one.columns),) * (len(one.rows) + 1) in found for one in known if one is not None)
    assert (
        len(tables(text))
        == len(re.findall("^\\| :?---", text, re.MULTILINE))
        == len(re.findall("^#### ", text, re.MULTILINE))
    )
    assert text.count("<details>") == text.count("</details>") == text.count("</summary>\n\n")


@pytest.mark.parametrize("methods", [3, 60])
def test_a_comment_has_room_for_it_and_what_is_left_out_is_named(methods: int) -> None:
    labels = ["full", *(f"houlsby:bottleneck={size}" for size in range(1, methods))]
    report, text = written([ledger(made) for made in grid(labels, [f"task_{number}" for number in range(10)], (0,))])
    assert len(text) <= markdown.LIMIT
    assert ("Left out here" in text) == (methods == 60)
    if methods == 60:
        assert f"{60 - markdown.METHODS} of 60 methods are left out here" in text
        titles = [title for title, _ in markdown._folded(report, [[]], [])]
        folded = re.findall("<summary>(.*?)</summary>", text)
        gone = [title for title in titles if markdown._in_html(title) not in folded]
        assert gone
        assert gone[0] in text


def test_many_comparisons_have_a_row_each() -> None:
    records = [made for number in range(9) for made in grid(["full", "ia3"], ["sst2"], (0,), backbone=f"m{number}")]
    _, text = written(records)
    shown = tables(text.partition("<details>")[0])[0]
    assert [row[0] for row in shown[1:]] == [f"m{number}" for number in range(9)]
    assert "3 more comparisons are in the table" in text


def test_a_number_in_a_cell_needs_no_backslash() -> None:
    _, text = written(grid(["full"], ["sst2"]))
    assert not re.search(r"\d\\\.", text)
