"""Studies stand in every format of a report, and records of other protocols in no panel."""

import xml.etree.ElementTree as ET
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console

from tests.reports.factory import failed, grid, record
from tests.reports.page import own
from tests.reports.sections.studies.made import NASTY, study
from tunefront import reports
from tunefront.reports.compare import protocols
from tunefront.reports.formats.writing import PLOT_KINDS
from tunefront.reports.plots import study_plots
from tunefront.reports.sections import document
from tunefront.reports.sections.studies import collect
from tunefront.reports.sections.summary import summary_table


@pytest.fixture
def apart(monkeypatch):
    """A protocol whose records are those with two templates in their name; its only study is made up."""
    separate = {"made": lambda record: True if (record.template or "").startswith("two") else None}
    monkeypatch.setattr(protocols, "SEPARATE", separate)

    def find(material):
        own = [record for record in material.records if protocols.protocol_of(record) == "made"]
        return [study("made", NASTY)] if own else []

    monkeypatch.setattr(collect, "PROTOCOLS", (find,))
    return record(label="ia3", template="two templates")


def test_without_studies_nothing_is_said_of_them(tmp_path):
    composed = document.compose(grid(["full", "ia3"]))
    assert composed.studies == ()
    assert not any(sentence.startswith("Studied below") for sentence in composed.lead)
    assert "studies.csv" not in {path.name for path in reports.write(grid(["full"]), tmp_path)}


def test_records_of_another_protocol_are_in_no_panel(apart):
    composed = document.compose([*grid(["full"], tasks=["sst2"]), apart])
    (page,) = composed.pages
    assert [entry.label for entry in page.panel.entries] == ["full"]
    assert composed.lead[-1].startswith("Studied below: Study of")
    assert apart in composed.records
    assert [entry.label for panel in summary_table([record(), apart]).panels for entry in panel.entries] == ["full"]
    assert reports.diff([record(), apart], [record(), apart]).methods == reports.diff([record()], [record()]).methods


@pytest.mark.parametrize("others", [[], grid(["full"], tasks=["sst2"]), [failed()]], ids=["alone", "panel", "failed"])
def test_every_format_has_the_study(apart, tmp_path, others):
    written = {path.relative_to(tmp_path).as_posix(): path for path in reports.write([apart, *others], tmp_path)}
    page, text = written["report.html"].read_text(), written["report.md"].read_text()
    assert '<section id="study-made">' in page
    assert own(page).count("<script") == 4, "names stay text"
    assert "alert(1)&lt;/script&gt;" in page
    assert "plots/study-made-heat.png" in text
    assert "<script" not in text
    assert r"\caption{Scores of" in written["report.tex"].read_text()
    assert written["report.pdf"].read_bytes().startswith(b"%PDF")
    (row,) = pd.read_csv(written["studies.csv"]).to_dict("records")
    assert (row["study"], row["row"], row["column"], row["shown"]) == ("made", 8, "score", 60.0)
    for name in ("heat", "curve"):
        assert {f"plots/study-made-{name}.{kind}" for kind in PLOT_KINDS} <= set(written)
        ET.fromstring(written[f"plots/study-made-{name}.svg"].read_bytes())


def test_a_report_of_studies_alone_has_the_details_of_its_runs(apart):
    composed = document.compose([apart])
    assert composed.pages == ()
    assert composed.background
    assert composed.subtitle == "minilm, 1 run"
    console = Console(width=100, file=StringIO())
    console.print(summary_table([apart]))
    assert console.file.getvalue()


def test_a_studys_table_of_an_earlier_report_is_removed(apart, tmp_path):
    reports.write([apart], tmp_path, ["csv"])
    assert (tmp_path / "studies.csv").exists()
    reports.write(grid(["full"]), tmp_path, ["csv"])
    assert not (tmp_path / "studies.csv").exists()


def test_plots_say_in_words_what_they_show():
    heat, chart = study_plots.pictures(study())
    assert "0 to 1 −12.3" in heat.alt
    assert "1 to 0" not in heat.alt, "an empty cell is not a number"
    assert "60.0 at 8" in chart.alt
