"""Costs that a method does not have are dashes, and plots say why."""

from __future__ import annotations

import csv
import io

import pytest

from tests.reports.factory import record
from tests.reports.prompted import prompted
from tunefront.reports.compare import measures
from tunefront.reports.formats import csvs
from tunefront.reports.plots import panel_plots
from tunefront.reports.sections import document
from tunefront.reports.units import MISSING

PROMPTS = ("icl:k=0", "icl:k=4")


def report_of(*records):
    return document.compose(records)


def peak_column(page):
    (table,) = [table for table in page.costs if table.caption == "Costs of training and scoring"]
    heads = [(column.head, column.under) for column in table.columns]
    places = [heads.index(("peak memory", phase)) for phase in ("training", "scoring")]
    return {row[0].text: tuple(row[place].text for place in places) for row in table.rows}, table.note


@pytest.mark.parametrize("label", PROMPTS)
def test_a_method_that_does_not_train_has_no_peak_while_training(label):
    """The process held memory before scoring too, which says nothing about the method."""
    (page,) = report_of(prompted(label="full"), prompted(label=label)).pages
    peaks, note = peak_column(page)
    assert peaks[label][0] == MISSING
    assert peaks[label][1] != MISSING
    assert MISSING not in peaks["full"]
    assert label in note


@pytest.mark.parametrize("label", PROMPTS)
def test_the_plot_of_peaks_names_why_it_is_missing(label):
    (page,) = report_of(prompted(label="full"), prompted(label=label)).pages
    (picture,) = [one for one in panel_plots.pictures(page) if "train_peak" in one.name]
    assert f"{label} (does not train)" in picture.note


def test_a_method_that_keeps_states_of_its_rows_has_a_peak():
    kept = record(label="knn", training__steps=0, parameters__trainable=0, flops__train=10**9)
    (page,) = report_of(record(), kept).pages
    assert MISSING not in peak_column(page)[0]["knn"]


def test_a_peak_that_was_not_measured_is_called_that():
    (page,) = report_of(record(), record(label="ia3", memory__train_peak_resident_bytes=None)).pages
    (picture,) = [one for one in panel_plots.pictures(page) if "train_peak" in one.name]
    assert "ia3 (not measured)" in picture.note


def test_the_summary_has_no_peak_of_what_did_not_train():
    rows = list(csv.DictReader(io.StringIO(csvs.summary(report_of(prompted(label="full"), prompted(label="icl:k=4"))))))
    peaks = {row["label"]: row["median_memory.train_peak_resident_bytes"] for row in rows}
    assert not peaks["icl:k=4"]
    assert peaks["full"]


def test_a_record_without_any_of_it_is_taken_to_train():
    assert measures.trains(record(training__steps=None, flops__train=None, parameters__trainable=None))


def axes(*records):
    (page,) = report_of(*records).pages
    return [cost.field for cost in measures.axis_costs(page.panel)], page.panel


def test_an_axis_can_show_every_cost_that_an_entry_has():
    fields, panel = axes(record(), record(label="ia3"))
    assert fields == [
        *("parameters.trainable", "task_bytes", "flops.train", "flops.inference_per_example", "seconds_per_query"),
        *("memory.train_peak_resident_bytes", "memory.eval_peak_resident_bytes", "seconds.train", "rows_used"),
    ]
    queries = [cost for cost in measures.axis_costs(panel) if cost.field == "seconds_per_query"]
    assert queries[0].median(panel, panel.entries[0]) == pytest.approx(1 / 96.9)


def test_an_axis_shows_queries_without_cache_only_if_there_are_demonstrations():
    assert "inference_flops_without_cache" in axes(prompted(), prompted(label="icl:k=4"))[0]
    assert "inference_flops_without_cache" not in axes(prompted(), prompted(label="icl:k=0"))[0]


def test_no_axis_shows_seconds_of_different_machines():
    fields, _ = axes(record(), record(label="ia3", environment__concurrent_cells=7))
    assert not {"seconds_per_query", "seconds.train"} & set(fields)
