"""What a report says of odd stores is true: one method, failures, no score, regression, methods that never train."""

from __future__ import annotations

import pytest

from tests.reports.answered import world
from tests.reports.factory import failed, ledger, plan, record
from tests.reports.prompted import prompted
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.compare.waiting import describe_waiting
from tunefront.reports.plots import panel_plots
from tunefront.reports.sections import document


def headings(report):
    return dict(report.reading)


def warnings_with(report, word):
    return [text for text in report.warnings if word in text]


def test_without_a_score_nothing_is_explained_that_is_not_there():
    report = document.compose([failed(label="full"), failed(label="ia3")])
    assert report.reading == ()


def test_intervals_are_explained_only_where_there_are_some(tmp_path):
    assert "How sure" not in headings(document.compose([record(), record(label="ia3")]))
    assert "bar" not in headings(document.compose([record(), record(label="ia3")]))["Plots"]
    records = world(tmp_path, {"full": 0.8, "ia3": 0.7})
    assert "How sure" in headings(document.compose(records, answers=AnswerFiles(records.places)))


def test_the_error_of_an_accuracy_is_not_that_of_a_correlation():
    correlated = {"scores__headline": "pearson", "scores__test": {"pearson": 0.5}, "data__task_kind": "regression"}
    assert "Test rows" not in headings(document.compose([record(**correlated), record(label="ia3", **correlated)]))
    assert "Test rows" in headings(document.compose([record(), record(label="ia3")]))


@pytest.mark.parametrize(("lacking", "verb"), [(("ia3",), "it has"), (("ia3", "bitfit"), "they have")])
def test_a_method_that_lacks_a_task_is_said_to_have_costs_over_fewer(lacking, verb):
    records = [record(task="sst2"), record(task="trec"), *(record(label=label, task="sst2") for label in lacking)]
    (text,) = warnings_with(document.compose(records), "Not every task")
    assert verb in text
    assert "medians" in text


@pytest.mark.parametrize(("amount", "verb"), [(1, "is left out"), (2, "are left out")])
def test_records_without_a_score_are_counted_in_one_number(amount, verb):
    blank = [record(label="ia3", seed=seed, scores__test={"accuracy": None}) for seed in range(amount)]
    (text,) = warnings_with(document.compose([record(), *blank]), "no finite score")
    assert verb in text


def test_a_store_without_any_score_plots_nothing():
    (page,) = document.compose([record(scores__test={"accuracy": None})]).pages
    assert "no method has a score" in page.undrawn


def test_where_no_method_trains_the_peak_of_training_is_not_called_unmeasured():
    (page,) = document.compose([prompted(label="icl:k=0"), prompted(label="icl:k=4")]).pages
    assert "no method trains" in page.undrawn
    assert "measurement" not in page.undrawn
    assert not [picture for picture in panel_plots.pictures(page) if "train_peak" in picture.name]


def test_an_overview_without_a_reference_names_no_difference():
    records = [record(label="ia3", backbone=name) for name in "ab"]
    assert "difference" not in document.compose(records).overview.note
    records += [record(label="full", backbone=name) for name in "ab"]
    assert "difference to full" in document.compose(records).overview.note


def test_predictions_within_a_share_are_all_within_it():
    """Two of three runs were predicted exactly and one 50 % too high: the median says nothing of it."""
    runs = [ledger(record(seed=seed)) for seed in range(3)]
    plans = [plan(run, flops__train=run.flops.train) for run in runs]
    plans[2] = plan(runs[2], flops__train=round(1.5 * runs[2].flops.train))
    (page,) = document.compose(runs, plans=plans).pages
    (predicted,) = [found for found in page.ledgers if found.tag == "predicted"]
    assert "training FLOPs within 50.0\u00a0%" in predicted.short


def test_the_earliest_break_even_may_be_the_first_query():
    """Training that costs less than reading the demonstrations pays off at once, before one after many queries."""
    cheap = prompted(label="ia3", flops__train=1000)
    (page,) = document.compose([cheap, prompted(label="icl:k=4", flops__inference_per_example=3e11)]).pages
    (found,) = [found for found in page.ledgers if found.tag == "break-even"]
    assert found.short.endswith("from the first query")


def test_runs_of_which_nothing_is_known_are_not_counted_as_free_of_waiting():
    waited = {"environment__device": "cpu", "seconds__train": 20.0, "cpu_seconds__train": 5.0}
    text = describe_waiting([record(**waited, seed=seed) for seed in range(2)] + [record(cpu_seconds__train=None)])
    assert "2 of 2 runs whose processor time is known" in text
