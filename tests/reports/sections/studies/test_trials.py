"""Score against the number of trials, as a section of the report."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.reports.factory import record
from tests.reports.searched import searched
from tunefront import report
from tunefront.bench.records import Record, Scores
from tunefront.reports.sections import document
from tunefront.reports.sections.studies.study import Chart, Study
from tunefront.reports.tables import Table


def several(counts: dict[str, int], tasks: tuple[str, ...] = ("sst2", "trec"), **fields: Any) -> list[Record]:
    """Searches of methods with so many trials each, the scores better from trial to trial."""
    records = []
    for place, (method, count) in enumerate(counts.items()):
        for task in tasks:
            scores = [(0.4 + 0.05 * trial, 0.4 + 0.05 * trial - place / 100) for trial in range(count)]
            records += searched(scores, method=method, task=task, **fields)
    return records


def studied(records: list[Record]) -> Study:
    (study,) = [study for study in document.compose(records).studies if study.tag.startswith("trials")]
    return study


def column(table: Table, name: str) -> list[str]:
    place = [column.head for column in table.columns].index(name)
    return [row[place].text for row in table.rows]


def charts(study: Study) -> dict[str, Chart]:
    return {figure.name: figure for figure in study.figures if isinstance(figure, Chart)}


def test_a_random_search_has_the_expected_score_and_that_in_order() -> None:
    study = studied(several({"full": 8, "lora": 8, "ia3": 8}))
    by_name = charts(study)
    assert set(by_name) == {"expected", "order"}
    for chart in by_name.values():
        assert {line.label for line in chart.lines} == {"full", "lora", "ia3"}
        assert all([point.x for point in line.points] == list(range(1, 9)) for line in chart.lines)
        ends = [line.points[-1].y for line in chart.lines]
        assert ends == [line.points[-1].y for line in by_name["expected"].lines]  # all trials have one winner
    expected = by_name["expected"].lines[0].points
    assert all(one.y < other.y for one, other in itertools.pairwise(expected))
    assert expected[0].low is not None
    assert expected[-1].low is None
    scores, winners = study.tables
    assert column(scores, "trials") == ["8", "8", "8"]
    assert [name.head for name in scores.columns[3:]] == ["best of 1", "best of 2", "best of 4", "best of 8"]
    assert column(winners, "trials") == ["1", "2", "4", "8"] * 6
    assert column(winners, "winner")[:4] == [
        f"learning_rate {rate}" for rate in ("0.0001", "0.0002", "0.0004", "0.0008")
    ]
    assert column(winners, "at the edge")[3] == "learning_rate, highest"


def test_the_mean_and_its_deviation_are_over_tasks() -> None:
    """One trial of scores 40, 45, 50, 55 has mean 47.5 and deviation 5.59; over two such tasks that is divided by the
    root of two."""
    point = charts(studied(several({"full": 4, "lora": 4})))["expected"].lines[0].points[0]
    spread = 31.25**0.5 / 2**0.5
    assert (point.y, point.low, point.high) == pytest.approx((47.5, 47.5 - spread, 47.5 + spread))


def test_scores_of_different_metrics_are_never_averaged() -> None:
    records = several({"full": 4, "lora": 4})
    scores = Scores(headline="f1", selection={"f1": 0.5}, test={"f1": 0.25})
    other = [one.model_copy(update={"scores": scores}) for one in several({"full": 4, "lora": 4}, ("mrpc",))]
    found = [study for study in document.compose([*records, *other]).studies if study.tag.startswith("trials")]
    assert [study.tag for study in found] == ["trials-1", "trials-2"]
    assert len({study.title for study in found}) == 2
    by_metric = {next(name for name in ("accuracy", "f1") if name in study.title): study for study in found}
    assert all(line.points[0].y == pytest.approx(25) for line in charts(by_metric["f1"])["expected"].lines)
    assert "2 tasks" in by_metric["accuracy"].intro[0]


def test_a_grid_has_no_order_and_optuna_no_exchange() -> None:
    grid = studied(several({"full": 5, "lora": 5}, sampler="grid"))
    assert set(charts(grid)) == {"expected"}
    assert column(grid.tables[1], "trials") == ["5"] * 4
    asked = studied(several({"full": 5, "lora": 5}, sampler="optuna"))
    assert set(charts(asked)) == {"order"}
    assert column(asked.tables[1], "trials") == ["1", "2", "4", "5"] * 4


def test_unequal_budgets_are_flagged_with_the_number_of_each() -> None:
    assert any("8 trials" in text for text in studied(several({"full": 8, "lora": 8})).intro)
    study = studied(several({"full": 8, "lora": 4}))
    assert any("full 8" in text and "lora 4" in text for text in study.intro)
    assert column(study.tables[0], "trials") == ["8", "4"]
    warnings = document.compose(several({"full": 8, "lora": 4})).warnings
    assert any("full 8" in text and "lora 4" in text for text in warnings)


def test_failed_trials_are_counted_and_never_win() -> None:
    failed = [one for task in ("sst2", "trec") for one in searched([None], method="full", first=8, task=task)]
    study = studied([*several({"full": 7, "lora": 8}), *failed])
    assert column(study.tables[0], "trials") == ["8", "8"]
    assert column(study.tables[0], "without a score") == ["2", "0"]
    assert any("8 trials" in text for text in study.intro)
    assert "learning_rate, highest" not in column(study.tables[1], "at the edge")[:8]


def test_few_trials_and_records_without_a_search_make_no_section() -> None:
    assert not [s for s in document.compose(several({"full": 3, "lora": 3})).studies if s.tag.startswith("trials")]
    assert not document.compose([record(), record(label="ia3")]).studies


def test_sizes_that_were_drawn_are_one_row_of_the_report_and_no_sweep() -> None:
    records = [
        one
        for place, task in enumerate(("sst2", "trec", "mrpc"))
        for one in searched(
            [(0.5 + 0.1 * ((trial + place) % 3), 0.6) for trial in range(4)], sizes=[8, 64, 256, 8], task=task
        )
    ]
    made = document.compose([*records, *several({"full": 4}, ("sst2", "trec", "mrpc"))])
    (page,) = made.pages
    assert {entry.label: entry.trials for entry in page.panel.entries} == {"full": 4, "lora": 4}
    assert [study.tag.rpartition("-")[0] for study in made.studies] == ["trials"]


def test_every_format_has_the_section(tmp_path: Path) -> None:
    records = several({"full": 4, "lora": 4, "ia3": 4})
    report(records, tmp_path, formats=["html", "md", "tex", "csv"])
    for name in ("report.html", "report.md", "report.tex"):
        text = tmp_path.joinpath(name).read_text(encoding="utf-8")
        assert "Score against number of trials" in text
        assert "best of 4" in text
    assert "best of 4" in tmp_path.joinpath("studies.csv").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.joinpath("plots").iterdir() if "trials" in path.name and "svg" in path.name]


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_the_summary_of_a_run_flags_a_chosen_rate_at_the_edge(sampler: str) -> None:
    from tunefront.reports.sections.summary import summary_table

    warnings = summary_table(several({"full": 4, "lora": 4}, sampler=sampler)).warnings
    (edge,) = [text for text in warnings if "learning_rate" in text]
    assert "full (0.0004)" in edge
    assert "lora (0.0004)" in edge
    assert "highest" in edge
