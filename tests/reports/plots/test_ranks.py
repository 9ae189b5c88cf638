"""The critical-difference diagram: drawn from eight tasks on, and its bars."""

from __future__ import annotations

import pytest

from tests.reports.answered import world
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import write
from tunefront.reports.plots import ranks
from tunefront.reports.sections.document import compose

EIGHT = tuple(f"task{number}" for number in range(8))


@pytest.mark.parametrize(("tasks", "drawn"), [(EIGHT, 1), (EIGHT[:7], 0)])
def test_the_diagram_is_drawn_from_eight_tasks_on(tmp_path, tasks, drawn):
    records = world(tmp_path, {"full": 0.8, "ia3": 0.7, "lora": 0.6}, tasks, draws=(0, 1), rows=40)
    (page,) = compose(records, answers=AnswerFiles(records.places)).pages
    assert len(ranks.pictures(page)) == drawn


def test_every_format_shows_the_diagram(tmp_path):
    records = world(tmp_path, {"full": 0.8, "ia3": 0.7, "$a_b$": 0.6}, EIGHT, draws=(0, 1), rows=40)
    out = tmp_path / "report"
    write(records, out, formats=["html", "md", "pdf"])
    assert "Ranks over tasks" in (out / "report.html").read_text()
    assert "ranks.png" in (out / "report.md").read_text()
    assert (out / "plots" / "1-minilm-ranks.svg").exists()


def test_a_bar_joins_neighbours_within_the_critical_difference_and_is_as_long_as_possible():
    assert ranks.cliques([1.0, 1.5, 2.4, 4.0, 4.1], 1.5) == [(0, 2), (3, 4)]
