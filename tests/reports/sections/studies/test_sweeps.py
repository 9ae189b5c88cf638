"""Sweeps: found where records differ in one number alone, and only there."""

import pytest

from tests.reports.factory import BACKBONE, grid, record
from tunefront.reports.sections import document
from tunefront.reports.sections.studies.study import Chart


def adapters(sizes, scores=None, **fields):
    """A record per size, spelled in full."""
    return [
        record(
            method=f"houlsby:bottleneck={size},std=0.001,norms=true",
            label="houlsby" if size == 64 else f"houlsby:bottleneck={size}",
            parameters__trainable=1000 * size,
            **({} if scores is None else {"scores__test": {"accuracy": scores[place]}}),
            **fields,
        )
        for place, size in enumerate(sizes)
    ]


def deviations(values, scores):
    return [
        record(
            method=f"houlsby:bottleneck=64,std={value:g},norms=true",
            label=f"houlsby:std={value:g}",
            parameters__trainable=1000,
            scores__test={"accuracy": score},
        )
        for value, score in zip(values, scores, strict=True)
    ]


def studies(records):
    return document.compose(records).studies


def test_three_sizes_are_a_sweep_over_trained_parameters_and_two_are_not():
    assert studies(adapters([8, 64])) == ()
    (study,) = studies(adapters([64, 8, 256], [0.8, 0.7, 0.9]))
    (chart,) = study.figures
    assert isinstance(chart, Chart)
    (line,) = chart.lines
    assert line.label == "houlsby (bottleneck)"
    assert [(point.x, round(point.y, 6)) for point in line.points] == [(8000, 70), (64000, 80), (256000, 90)]


def test_other_methods_of_the_panel_stand_beside_as_points():
    records = [*adapters([8, 64, 256], [0.7, 0.84, 0.86]), record(scores__test={"accuracy": 0.85})]
    (study,) = studies([*records, record(label="layernorm", scores__test={"accuracy": 0.6})])
    lines = {line.label: line for line in study.figures[0].lines}
    assert {"full", "layernorm"} < set(lines)
    assert lines["full"].dashed
    assert len(lines["full"].points) == 1
    assert "bottleneck 64 is the first within 1 point of full (85.0), 64,000" in study.intro[1]
    rows = {row[0].text + row[1].text: row for row in study.tables[0].rows}
    assert rows["houlsby: bottleneck8"][2].text == "8,000"
    assert rows["full"][4].text == "85.0"
    assert f"{BACKBONE:,}" in study.intro[1]


def test_a_size_that_never_comes_close_is_said():
    records = [*adapters([8, 64, 256], [0.5, 0.6, 0.65]), record(scores__test={"accuracy": 0.85})]
    assert "No value is within 1 point of full (85.0)" in studies(records)[0].intro[1]


def test_bars_reach_over_runs_and_means_over_the_tasks_that_all_have():
    records = [*adapters([8, 64, 256], [0.7, 0.8, 0.9], seed=0), *adapters([8, 64, 256], [0.6, 0.7, 0.8], seed=1)]
    records += adapters([8, 64], [0.1, 0.1], task="trec")
    point = studies(records)[0].figures[0].lines[0].points[0]
    assert (point.y, point.low, point.high) == pytest.approx((65, 60, 70))


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ((0.9, 0.9, 0.89, 0.5), "All of it holds here"),
        ((0.9, 0.7, 0.9, 0.5), "Does not: small deviations are harmless"),
        ((0.9, 0.9, 0.89, 0.9), "Does not: large ones are not"),
    ],
)
def test_deviations_are_a_chart_over_the_value_held_against_the_paper(scores, verdict):
    (study,) = studies(deviations([1e-7, 1e-4, 1e-2, 1.0], scores))
    assert [point.x for point in study.figures[0].lines[0].points] == [1e-7, 1e-4, 1e-2, 1.0]
    assert verdict in study.intro[1]
    assert [row[0].text for row in study.tables[0].rows] == ["1e-07", "0.0001", "0.01", "1"]


def test_two_fields_that_vary_together_are_no_sweep_of_one():
    records = [
        record(method=f"houlsby:bottleneck={size},std={std},norms=true", label=f"houlsby:bottleneck={size},std={std}")
        for size, std in ((8, 0.1), (64, 0.2), (256, 0.3))
    ]
    assert studies(records) == ()


def test_demonstrations_are_no_sizes():
    records = [
        record(method=f"icl:k={k}", label=f"icl:k={k}", parameters__trainable=0, backbone="nano")
        for k in (0, 4, 16, 32)
    ]
    assert studies(records) == ()


def test_an_ordinary_comparison_has_no_study():
    assert studies(grid()) == ()


def test_a_recipe_swept_without_a_search_is_a_study_and_a_searched_one_is_not():
    def tried(rate, **fields):
        recipe = {"learning_rate": rate, "epochs": 3.0, "batch_size": 32, "dtype": "float32", "dropout": None}
        return record(recipe=recipe, **fields)

    (study,) = studies([tried(rate) for rate in (1e-4, 1e-3, 1e-2)])
    assert study.title == "full: learning_rate"
    searched = [tried(rate, scores__selection={"accuracy": 0.5 + rate}) for rate in (1e-4, 1e-3, 1e-2)]
    assert studies(searched) == ()


def test_the_best_recipe_of_each_size_makes_the_sweep():
    records = []
    for size, best in ((8, 1e-3), (64, 1e-2), (256, 1e-3)):
        for rate in (1e-3, 1e-2):
            selection = {"accuracy": 0.8 if rate == best else 0.3}
            test = 0.9 if rate == best else 0.2
            recipe = {"learning_rate": rate, "epochs": 3.0, "batch_size": 32, "dtype": "float32", "dropout": None}
            records += adapters([size], [test], recipe=recipe, scores__selection=selection)
    (study,) = studies(records)
    assert [round(point.y) for point in study.figures[0].lines[0].points] == [90, 90, 90]
