"""The section of a stream says what the records say, in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.streamed import alone, passage
from tunefront.bench.records import Record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import write
from tunefront.reports.sections.studies.collect import studies_of
from tunefront.reports.sections.studies.study import Chart, HeatMap

TASKS = ("sst2", "trec", "subj")
ALONE = {"sst2": 0.80, "trec": 0.70, "subj": 0.90}
KEPT = ((0.80,), (0.80, 0.70), (0.80, 0.70, 0.90))
LOST = ((0.80,), (0.60, 0.72), (0.65, 0.50, 0.88))
AGAIN = ((0.70,), (0.66, 0.79), (0.51, 0.61, 0.91))


def records() -> list[Record]:
    other = ("trec", "sst2", "subj")
    return [
        *alone("full", ALONE),
        *alone("ia3", ALONE),
        *passage("full", "separate", TASKS, KEPT),
        *passage("full", "separate", other, ((0.70,), (0.70, 0.80), (0.70, 0.80, 0.90))),
        *passage("ia3", "separate", TASKS, KEPT),
        *passage("full", "sequential", TASKS, LOST),
        *passage("full", "sequential", other, AGAIN),
    ]


def test_the_tables_have_a_row_for_each_method_and_way() -> None:
    (study,) = studies_of(records(), AnswerFiles({}))
    scores, costs, averages = study.tables
    assert len(scores.rows) == len(costs.rows) == 3
    assert [row[-1].text for row in scores.rows] == ["6 of 6", "3 of 3", "0 of 6"]
    averaged = [row[1].text for row in scores.rows]
    assert averaged[:2] == ["80.0", "80.0"]
    assert averaged[2] == "67.7"  # the mean of 67.67 and 67.67 over two orders
    assert len(averages.rows) == len(TASKS)
    forward = [row[5].text for row in scores.rows]
    assert forward[0] == forward[1] == "—"
    assert forward[2] != "—"


def test_the_plots_are_averages_sizes_and_score_matrices() -> None:
    (study,) = studies_of(records(), AnswerFiles({}))
    charts = [figure for figure in study.figures if isinstance(figure, Chart)]
    maps = [figure for figure in study.figures if isinstance(figure, HeatMap)]
    assert [len(chart.lines) for chart in charts] == [3, 3]
    assert all(len(line.points) == len(TASKS) for chart in charts for line in chart.lines)
    assert list(maps[0].values[0]) == [pytest.approx(80.0), None, None]
    assert maps[0].values[-1] == pytest.approx((65.0, 50.0, 88.0))


@pytest.mark.parametrize("formats", [["html", "md", "tex", "csv"], ["pdf"]])
def test_every_format_shows_the_section(formats: list[str], tmp_path: Path) -> None:
    written = write(records(), tmp_path, formats)
    assert written
    for name in set(formats) & {"html", "md", "tex"}:
        text = (tmp_path / f"report.{name}").read_text(encoding="utf-8")
        assert "in a stream" in text
        assert "6 of 6" in text


def test_steps_are_no_part_of_the_comparison_of_methods(tmp_path: Path) -> None:
    write(records(), tmp_path, ["csv"])
    import pandas as pd

    summary = pd.read_csv(tmp_path / "summary.csv")
    assert set(summary["label"]) == {"full", "ia3"}
