"""The data of the page's interactive parts, and the scripts that it embeds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.reports.answered import world
from tests.reports.factory import grid, record
from tests.reports.page import column, data, own
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.compare import measures
from tunefront.reports.formats import html, scripts
from tunefront.reports.formats.page_data import embed, page_data
from tunefront.reports.plots.style import place_of
from tunefront.reports.sections.document import Report, compose

LABELS = {"full": 0.85, "houlsby:bottleneck=8": 0.84, "ia3": 0.8, "features": 0.7}
TASKS = ("sst2", "trec", "subj")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Four methods on three tasks with five draws: enough runs for probabilities."""
    records = world(tmp_path_factory.mktemp("world"), LABELS, TASKS, draws=range(5), spread=0.01)
    return compose(records, answers=AnswerFiles(records.places), places=records.places)


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return html.render(report, [[] for _ in report.pages])


def test_a_view_has_the_means_and_intervals_of_the_report(report, page):
    panel = report.pages[0].panel
    shown = data(page)["panels"][0]
    whole = shown["views"][0]
    assert shown["methods"]["label"] == [entry.label for entry in panel.entries]
    for place, entry in enumerate(panel.entries):
        height, interval = panel.height(entry), panel.interval(entry)
        assert whole["gap"]["value"][place] == pytest.approx(height.value)
        if interval is not None:
            assert whole["gap"]["low"][place] == pytest.approx(interval.low)
            assert whole["gap"]["high"][place] == pytest.approx(interval.high)
        assert whole["tied"][place] == panel.is_tied(entry)
        assert whole["score"]["value"][place] == pytest.approx(100 * entry.average(panel.tasks))


def test_a_view_of_one_task_has_that_tasks_numbers_alone(report, page):
    panel = report.pages[0].panel
    views = data(page)["panels"][0]["views"]
    assert len(views) == 1 + len(panel.tasks)
    for task, view in zip(panel.tasks, views[1:], strict=True):
        for place, entry in enumerate(panel.entries):
            assert view["score"]["value"][place] == pytest.approx(100 * entry.center(task))
            trained = [run.parameters.trainable for run in entry.runs(task)]
            assert view["cost"][0][place] == np.median(trained)
        base = panel.entries.index(panel.reference)
        gaps = np.array(view["score"]["value"]) - view["score"]["value"][base]
        assert view["gap"]["value"] == pytest.approx(list(gaps), abs=1e-6)


def test_the_difference_on_one_task_is_as_sure_as_a_report_on_that_task(report, tmp_path):
    records = world(tmp_path, LABELS, TASKS, draws=range(5), spread=0.01)
    alone = type(records)([r for r in records if r.task == "trec"], records.places)
    (page,) = compose(alone, answers=AnswerFiles(records.places), places=records.places).pages
    known = report.pages[0].panel.task_evidence["trec"]
    for label in known.labels:
        own_interval, alone_interval = known.interval(label), page.panel.evidence.interval(label)
        assert (own_interval is None) == (alone_interval is None)
        if own_interval is not None:
            assert (own_interval.low, own_interval.high) == (alone_interval.low, alone_interval.high)


def test_the_chance_of_the_front_depends_on_the_cost(report, page):
    panel = report.pages[0].panel
    shown = data(page)["panels"][0]
    trained = [cost["id"] for cost in shown["costs"]].index(measures.PARAMETERS.field)
    chances = shown["views"][0]["chance"]
    known = panel.evidence
    assert known.fronts([known.costs]) == [pytest.approx(tuple(known.chances.front))]
    cheapest = min(panel.entries, key=lambda entry: entry.median(measures.PARAMETERS.read)).label
    assert chances[trained][shown["methods"]["label"].index(cheapest)] == ">0.99"


def test_without_predictions_there_are_heights_without_bars():
    made = compose(grid(["full", "ia3"]))
    view = data(html.render(made, [[]]))["panels"][0]["views"][0]
    assert view["bars"] == ""
    assert view["gap"]["low"] == [None, None]
    assert None not in view["gap"]["value"]


def test_every_field_of_every_record_is_in_the_page_once(report, page):
    keys = column(page, "key")
    assert keys == [made.key for made in report.records]
    for name in ("label", "task", "draw_seed", "parameters.trainable", "flops.train", "seconds.train", "score"):
        shown = column(page, name)
        for made, value in zip(report.records, shown, strict=True):
            expected = made
            for part in name.split("."):
                expected = getattr(expected, part)
            assert value == (pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected)
    about = data(page)["records"]["about"]
    assert about["flops.train"] == type(report.records[0].flops).model_fields["train"].description
    assert set(map(str, data(page)["records"]["columns"])) >= {"recipe.dtype"} & set(Record.model_fields)


def test_a_number_links_to_exactly_its_records(report, page):
    links, keys = data(page)["links"], column(page, "key")
    panel = report.pages[0].panel
    for e, entry in enumerate(panel.entries):
        assert {keys[row] for row in links[f"runs-0-{e}"]} == {made.key for made in entry.all}
        for t, task in enumerate(panel.tasks):
            assert {keys[row] for row in links[f"runs-0-{e}-{t}"]} == {made.key for made in entry.records[task]}


def test_a_missing_number_stays_missing_in_the_data():
    made = compose([record(), record(label="ia3", flops__train=None, seconds__train=None)])
    text = html.render(made, [[]])
    assert column(text, "flops.train").count(None) == 1
    shown = data(text)["panels"][0]
    place = [cost["id"] for cost in shown["costs"]].index("flops.train")
    assert shown["views"][0]["cost"][place][shown["methods"]["label"].index("ia3")] is None
    assert shown["views"][0]["text"][place][shown["methods"]["label"].index("ia3")] == "—"


def test_styles_are_those_of_the_plots(page):
    methods = data(page)["panels"][0]["methods"]
    for label, style in zip(methods["label"], methods["style"], strict=True):
        assert tuple(style) == place_of(label.split(":")[0])


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "\u2028 & '\"", "]]>", "\x00\x1b[31m"])
def test_no_text_ends_the_data(text):
    made = embed({"a": text})
    assert not set("<>&") & set(made)
    assert json.loads(made) == {"a": text}


def test_hostile_names_are_texts_of_the_data():
    name = '"><script>alert(1)</script><!--'
    text = html.render(compose([record(label=name, method=name, task=f"dir:{name}")]), [[]])
    assert column(text, "label") == [name]
    assert own(text).count("<script") == 4
    assert "<!--" not in text.partition("</style>")[2].replace(own(text), "")


def test_the_scripts_are_those_of_the_installed_packages():
    plotly, tables, ours = scripts.scripts()
    assert "plotly.js v" in plotly.text[:200]
    assert scripts.GLOBAL in tables.text
    assert scripts.GLOBAL in ours.text
    for script in (plotly, tables, ours):
        assert "</script" not in script.text.lower()
        assert "<!--" not in script.text


def test_a_package_without_what_the_page_needs_is_named(monkeypatch):
    monkeypatch.setattr(scripts, "files", lambda package: _Empty())
    scripts.scripts.cache_clear()
    with pytest.raises(UserError, match="itables"):
        scripts.scripts()
    monkeypatch.setattr(scripts, "files", lambda package: Path("/nowhere"))
    with pytest.raises(UserError, match="plotly"):
        scripts.scripts()


class _Empty:
    def joinpath(self, *_):
        return self

    def read_text(self, *_):
        return "var a;"


def test_equal_reports_have_equal_data(report):
    assert page_data(report).text == page_data(report).text
