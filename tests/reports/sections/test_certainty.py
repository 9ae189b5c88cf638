"""The answer of a report in words: which methods are the best, what they gain, and what is not known."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.reports.answered import answered, world
from tunefront.bench.records import Records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import write
from tunefront.reports.compare.measures import PARAMETERS
from tunefront.reports.plots.tradeoff import points_of
from tunefront.reports.sections.certainty import describe_bars
from tunefront.reports.sections.document import Report, compose
from tunefront.reports.sections.how_sure import certainty_table

CLEAR = {"full": 0.85, "ia3": 0.85, "features": 0.55}
NINE = tuple(range(9))


def report_of(records: Records, **options) -> Report:
    return compose(records, answers=AnswerFiles(records.places), **options)


def lead_of(records: Records, **options) -> str:
    return " ".join(report_of(records, **options).lead)


def without(records: Records, *labels: str) -> Records:
    return Records([made for made in records if made.label not in labels], records.places)


def test_the_lead_names_the_tied_methods_and_the_cheapest_of_them(tmp_path):
    lead = lead_of(world(tmp_path, CLEAR))
    assert "cannot be distinguished from it" in lead
    assert "1 method is below it beyond chance" in lead
    assert "Of these 2, ia3 trains the fewest parameters" in lead


def test_the_lead_gives_the_gain_on_the_reference_with_its_interval(tmp_path):
    report = report_of(world(tmp_path, CLEAR))
    found = report.pages[0].panel.evidence.interval("ia3")
    (text,) = [text for text in report.lead if text.startswith("Trained again")]
    assert f"[{found.low:+.1f}, {found.high:+.1f}]".replace("-", "−") in text


def test_a_sole_best_method_is_said_to_be_alone(tmp_path):
    lead = lead_of(world(tmp_path, {"full": 0.9, "features": 0.5}))
    assert "the other method is below it beyond chance" in lead
    assert "fewest" not in lead


def test_one_run_speaks_of_checkpoints_only(tmp_path):
    lead = lead_of(world(tmp_path, CLEAR, draws=(0,)))
    assert "checkpoints" in lead
    assert "Trained again" not in lead
    assert "1 more seed of every method (6 cells)" in lead
    assert "McNemar" not in lead  # two tasks: two checkpoints of every method


def test_one_run_on_one_task_has_the_test_of_checkpoints(tmp_path):
    lead = lead_of(world(tmp_path, CLEAR, tasks=("sst2",), draws=(0,)))
    assert re.search(r"McNemar p = \S+", lead)
    assert "2 more seeds of every method (6 cells)" in lead


def test_one_task_with_two_runs_says_what_a_third_would_give(tmp_path):
    lead = lead_of(world(tmp_path, CLEAR, tasks=("sst2",), draws=(0, 1)))
    assert "Trained again" not in lead
    assert "1 more draw of every method (3 cells)" in lead


def test_a_second_run_on_some_tasks_is_not_denied(tmp_path):
    records = world(tmp_path, CLEAR, draws=(0, 1))
    some = Records([made for made in records if made.draw_seed == 0 or made.task == "sst2"], records.places)
    known = report_of(some).pages[0].panel.evidence
    assert known.estimate.checkpoints_only
    assert known.estimate.run_df == 1
    assert "ran once" not in lead_of(some)


@pytest.mark.parametrize(("draws", "approximate"), [((0, 1, 2), True), (NINE, False)])
def test_few_runs_make_approximate_intervals(tmp_path, draws, approximate):
    lead = lead_of(world(tmp_path, CLEAR, tasks=("sst2",), draws=draws))
    assert ("approximate" in lead) == approximate


def test_chances_are_shown_from_eight_degrees_of_freedom_on(tmp_path):
    for draws, shown in (((0, 1, 2), False), (NINE, True)):
        report = report_of(world(tmp_path / str(shown), CLEAR, tasks=("sst2",), draws=draws, spread=0.02))
        table = certainty_table(report.pages[0].panel, 0)
        assert table is not None
        assert ("P(best)" in [column.head for column in table.columns]) == shown
        assert ("Probability of the highest mean" in " ".join(report.lead)) == shown


def test_chances_of_being_the_best_sum_to_one(tmp_path):
    report = report_of(world(tmp_path, CLEAR, tasks=("sst2",), draws=NINE, spread=0.02))
    chances = report.pages[0].panel.evidence.chances
    assert chances.best.sum() == pytest.approx(1)


def test_a_gain_that_one_task_makes_is_not_called_general(tmp_path):
    parts = [
        world(tmp_path, {"full": 0.5, "ia3": ia3}, tasks=(task,), seed=number)
        for number, (task, ia3) in enumerate({"sst2": 0.95, "trec": 0.5, "subj": 0.5}.items())
    ]
    places = {key: place for part in parts for key, place in part.places.items()}
    records = Records([made for part in parts for made in part], places)
    report = report_of(records)
    gains = report.pages[0].panel.evidence.task_gains("ia3", "full")
    assert max(gains, key=gains.__getitem__) == "sst2"
    assert "One task, sst2, makes the difference of ia3 from full" in " ".join(report.lead)


def test_a_gain_on_every_task_is_no_single_tasks(tmp_path):
    lead = lead_of(world(tmp_path, {"full": 0.5, "ia3": 0.8}, tasks=("sst2", "trec", "subj")))
    assert "One task" not in lead


def test_more_data_is_advised_where_the_best_is_not_separated(tmp_path):
    lead = lead_of(world(tmp_path, {"full": 0.70, "ia3": 0.76, "bitfit": 0.5}, spread=0.03))
    assert re.search(r"distinguishing \w+ from \w+ .* takes about", lead)


def test_without_a_reference_the_best_is_named_all_the_same(tmp_path):
    records = without(world(tmp_path, CLEAR), "full")
    lead = lead_of(records)
    assert "has the highest mean" in lead
    assert "no scored record of full" in lead
    bars = describe_bars(report_of(records).pages[0].panel)
    assert "interval of the mean" in bars


def test_bold_is_what_is_tied_with_the_best_and_not_the_reference(tmp_path):
    records = world(tmp_path, {"full": 0.5, "ia3": 0.9})
    page = report_of(records).pages[0]
    bold = {row[0].text for row in page.scores.rows if row[0].strong}
    assert bold == {"ia3"}
    assert page.scores.rows[0][0].text == "full"
    assert not any(row[0].strong for table in page.costs for row in table.rows)


def test_a_point_of_the_plot_is_the_difference_and_its_bar_the_interval(tmp_path):
    panel = report_of(world(tmp_path, CLEAR)).pages[0].panel
    points, _ = points_of(panel, PARAMETERS)
    by_label = {point.entry.label: point for point in points}
    for label in ("ia3", "features"):
        found = panel.evidence.interval(label)
        assert (by_label[label].y, by_label[label].low, by_label[label].high) == pytest.approx(
            (found.difference, found.low, found.high)
        )
    assert (by_label["full"].low, by_label["full"].high) == (0, 0)


def test_a_plot_without_predictions_has_no_bars(tmp_path):
    records = world(tmp_path, CLEAR)
    panel = compose(list(records)).pages[0].panel
    points, _ = points_of(panel, PARAMETERS)
    assert all(point.low == point.y == point.high for point in points)
    assert describe_bars(panel).startswith("No bars")
    assert certainty_table(panel, 0) is None


def test_a_reference_without_predictions_has_no_bars_and_says_so(tmp_path):
    records = world(tmp_path, CLEAR)
    places = {made.key: str(tmp_path) for made in records if made.label != "full"}
    panel = report_of(Records(records, places)).pages[0].panel
    points, _ = points_of(panel, PARAMETERS)
    assert all(point.low == point.high for point in points)
    assert describe_bars(panel).startswith("No bars, because full")


def test_methods_that_differ_in_their_draws_are_said_to_be_independent_samples(tmp_path):
    records = world(tmp_path, {"full": 0.8, "ia3": 0.6}, draws=(0, 1, 2, 3, 4, 5))
    apart = Records([r for r in records if (r.label == "ia3") == (r.draw_seed > 2)], records.places)
    assert "Welch" in lead_of(apart)


def test_a_method_with_a_single_run_is_named(tmp_path):
    records = world(tmp_path, {"full": 0.8, "ia3": 0.6, "lora": 0.7}, tasks=("sst2",), draws=(0, 1, 2))
    fewer = Records([r for r in records if r.label != "ia3" or r.draw_seed == 0], records.places)
    lead = lead_of(fewer)
    assert "ia3 ran once" in lead


def test_a_method_that_is_not_compared_is_named_with_the_reason(tmp_path):
    records = world(tmp_path, {"full": 0.8, "ia3": 0.6, "lora": 0.7})
    fewer = Records([r for r in records if (r.label, r.task) != ("lora", "sst2")], records.places)
    assert "Not compared: lora (no score on every task)" in lead_of(fewer)


def test_seeds_of_one_draw_say_that_other_draws_were_not_tried(tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=100).tolist()
    made = [
        answered(tmp_path, labels, generator.permutation(labels).tolist(), label=label, seed=seed)
        for label in ("full", "ia3")
        for seed in range(3)
    ]
    lead = lead_of(Records(made, {one.key: str(tmp_path) for one in made}))
    assert "one draw of training rows" in lead


def test_every_format_has_the_intervals(tmp_path):
    records = world(tmp_path / "results", CLEAR)
    out = tmp_path / "report"
    write(records, out)
    known = report_of(records).pages[0].panel.evidence
    found = known.interval("features")
    ends = f"{found.low:+.1f}, {found.high:+.1f}".replace("-", "−")
    assert ends in (out / "report.html").read_text()
    assert ends in (out / "report.md").read_text().replace("\\", "")
    assert ends.replace("−", "$-$") in (out / "report.tex").read_text()
    table = pd.read_csv(out / "differences.csv").set_index("label")
    assert table.loc["features", "against_reference_low"] == pytest.approx(found.low)
    assert table.loc["full", "about"] == "methods"
    assert bool(table.loc["features", "tied_with_best"]) is False


def test_equal_methods_and_equal_scores_break_nothing(tmp_path):
    labels = [0, 1] * 30
    made = [
        answered(tmp_path, labels, labels, label=label, seed=seed, task=task)
        for label in ("full", "ia3")
        for seed in range(2)
        for task in ("sst2", "trec")
    ]
    records = Records(made, {one.key: str(tmp_path) for one in made})
    report = report_of(records)
    assert report.pages[0].panel.evidence.tied_labels == ("full", "ia3")
    assert report.lead[0].startswith("full and ia3 have the same highest mean")
    assert "nan" not in " ".join(report.lead).lower()


def test_hostile_labels_stay_text(tmp_path):
    records = world(tmp_path / "results", {"full": 0.8, "<b>x</b>": 0.5})
    write(records, tmp_path / "report", formats=["html", "csv"])
    assert "<b>x</b>" not in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("tasks", [("sst2",), ("sst2", "trec")])
def test_an_interval_against_the_reference_never_contradicts_the_tied_set(tmp_path, tasks):
    """The best and the reference are one pair: distinguished in both sentences, or in neither."""
    for seed in range(8):
        records = world(tmp_path / str(seed), {"full": 0.7, "ia3": 0.76, "lora": 0.66}, tasks, seed=seed)
        known = report_of(records).pages[0].panel.evidence
        pairs = {(known.best, label) for label in known.labels if "full" in (known.best, label) and label != known.best}
        for best, other in pairs:
            against = known.interval(best if other == "full" else other)
            assert against.separates == (other not in known.tied_labels)


def test_where_the_reference_is_the_best_the_next_best_is_compared_with_it(tmp_path):
    lead = lead_of(world(tmp_path, {"full": 0.95, "ia3": 0.6, "features": 0.5}, tasks=("sst2",), draws=(0,)))
    assert re.search(r"against full: ia3 \S+ points \[.*\], McNemar p", lead)


def test_intervals_on_other_tasks_hold_at_once(tmp_path):
    six = tuple(f"task{number}" for number in range(6))
    known = report_of(world(tmp_path, CLEAR, six, draws=(0, 1), rows=60)).pages[0].panel.evidence
    found = known.on_new_tasks("ia3", "full")
    gains = np.array(list(known.task_gains("ia3", "full").values()))
    half = stats.t.ppf(1 - 0.025 / 2, 5) * gains.std(ddof=1) / np.sqrt(6)
    assert (found.low, found.high) == pytest.approx((gains.mean() - half, gains.mean() + half))


def test_a_table_of_an_earlier_report_does_not_stay_beside_a_later_one(tmp_path):
    records, out = world(tmp_path / "results", CLEAR), tmp_path / "report"
    write(records, out, formats=["csv"])
    assert (out / "differences.csv").exists()
    write(list(records), out, formats=["csv"])  # without places: no predictions
    assert not (out / "differences.csv").exists()


def test_a_file_of_that_name_in_another_folder_stays(tmp_path):
    (tmp_path / "differences.csv").write_text("mine")
    write(list(world(tmp_path / "results", CLEAR)), tmp_path, formats=["csv"])
    assert (tmp_path / "differences.csv").read_text() == "mine"
