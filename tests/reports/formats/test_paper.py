"""The PDF as a short paper: its number of pages for grids of any size, its captions, and what it says is left out."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.reports.answered import world
from tests.reports.factory import failed, grid, record
from tests.reports.prompted import everything
from tests.reports.sections.studies.test_span_removal import ablated
from tests.reports.streamed import alone, passage
from tunefront.bench.records import Record, Records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.formats import paper, pdf
from tunefront.reports.plots import panel_plots, study_plots
from tunefront.reports.sections.document import Report, compose
from tunefront.reports.sections.short_tables import TIED

PLOTTED = 4
"""Panels whose plots are drawn: no paper shows those of more."""
TASKS = ("cr", "sst2", "trec")
STREAM = [
    *alone("full", dict.fromkeys(TASKS, 0.8)),
    *alone("ia3", dict.fromkeys(TASKS, 0.79)),
    *passage("full", "sequential", TASKS, [[0.8], [0.6, 0.8], [0.5, 0.6, 0.8]]),
    *passage("ia3", "separate", TASKS, [[0.79], [0.79, 0.79], [0.79, 0.79, 0.79]]),
]


def many(amount: int) -> list[str]:
    """Labels of several families of methods."""
    return ["full", *(f"{('houlsby', 'lora', 'ia3')[number % 3]}:size={number}" for number in range(1, amount))]


def drawn(records: Sequence[Record]) -> tuple[Report, paper.Paper]:
    """The report and its paper."""
    places = getattr(records, "places", None)
    report = compose(records, answers=AnswerFiles(places or {}), places=places)
    few = [panel_plots.pictures(page, narrow=len(report.pages) > 1) for page in report.pages[:PLOTTED]]
    plots = [*few, *([] for _ in report.pages[PLOTTED:])]
    return report, pdf.content(report, plots, [study_plots.pictures(study) for study in report.studies])


def count(made: paper.Paper) -> int:
    """The pages of the detail that is printed."""
    template = files("tunefront.reports.formats").joinpath("report.typ").read_bytes()
    return pdf.count_pages(template, pdf.choose(made))


def blocks(made: paper.Paper, kind: str, detail: int = 0) -> list[Any]:
    """The parts of one kind, at a detail."""
    return [block for block in json.loads(made.details[detail])["blocks"] if block["kind"] == kind]


def plain(text: str) -> str:
    return text.replace(paper.BREAK, "")


GRIDS: dict[str, list[Record]] = {
    "one": [record()],
    "two": grid(["full", "ia3"], ["sst2"], (0,)),
    "8x5": grid(tasks=("sst2", "trec", "subj", "mrpc", "cr")),
    "40 methods": grid(many(40), ("sst2", "trec"), (0, 1)),
    "24 tasks": grid(("full", "ia3", "bitfit"), [f"task_{number}" for number in range(24)], (0,)),
    "prompts": everything(),
    "stream": STREAM,
    "spans": [ablated(draw_seed=0), ablated(0.8, -2.0, draw_seed=1)],
    "long names": [record(label=letter * 300, task=f"dir:{letter * 300}") for letter in "abc"],
}


@functools.cache
def drawn_once(name: str) -> tuple[Report, paper.Paper]:
    """The report and the paper of one of `GRIDS`."""
    return drawn(GRIDS[name])


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_of_any_size_has_two_to_ten_pages(name: str) -> None:
    assert 2 <= count(drawn_once(name)[1]) <= pdf.MOST_PAGES


def test_thirty_panels_are_listed_and_only_the_first_are_shown_in_full() -> None:
    records = [made for number in range(30) for made in grid(["full", "ia3"], ["sst2"], (0,), backbone=f"m{number}")]
    _, made = drawn(records)
    assert 2 <= count(made) <= pdf.MOST_PAGES
    for detail, level in enumerate(paper.DETAILS):
        table = blocks(made, "table", detail)[0]
        assert [row[0]["text"] for row in table["rows"]][:2] == ["m0", "m1"]
        assert len(table["rows"]) == 30
        texts = [plain(block["text"]) for block in blocks(made, "text", detail)]
        assert any(text.startswith(f"{30 - level.panels} more comparisons in report.html") for text in texts)


def test_a_report_without_scores_is_a_page_of_reasons() -> None:
    _, made = drawn([failed(seed=seed, reason=f"reason {seed}") for seed in range(3)])
    assert count(made) == 1
    assert len(made.details) >= 1
    assert all(f"reason {seed}" in made.details[0] for seed in range(3))


def test_the_most_detailed_paper_that_fits_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = paper.Paper(("a", "b", "c"), "[]")
    for pages, chosen in (((2, 1, 1), "a"), ((12, 10, 3), "b"), ((40, 30, 12), "c")):
        sizes = dict(zip("abc", pages, strict=True))
        monkeypatch.setattr(pdf, "count_pages", lambda template, inputs, sizes=sizes: sizes[inputs["report"]])
        assert pdf.choose(made)["report"] == chosen


def test_methods_left_out_of_a_table_are_counted() -> None:
    _, made = drawn_once("40 methods")
    for detail, level in enumerate(paper.DETAILS):
        scores = next(table for table in blocks(made, "table", detail) if table["caption"].startswith("Scores"))
        methods = [plain(row[0]["text"]) for row in scores["rows"]]
        assert len(methods) == level.methods + 1  # and the baseline
        assert "full" in methods
        assert f"{40 - level.methods} of 40 methods" in plain(scores["note"])


def test_many_tasks_are_summarised_by_their_lowest_and_highest() -> None:
    report, made = drawn_once("24 tasks")
    scores = next(table for table in blocks(made, "table") if table["caption"].startswith("Scores"))
    assert len(scores["columns"]) == 7
    row = next(row for row in scores["rows"] if row[0]["text"] == "ia3")
    panel = report.pages[0].panel
    entry = next(entry for entry in panel.entries if entry.label == "ia3")
    gaps = {task: panel.task_differences(entry, task)[0] for task in panel.tasks}
    assert row[3]["minor"] == min(gaps, key=lambda task: gaps[task])
    assert row[3]["text"] == f"{min(gaps.values()):+.1f}".replace("-", "−")
    assert row[6]["text"] == str(sum(gap > 0 for gap in gaps.values()))


@pytest.fixture(scope="module")
def certain(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return world(tmp_path_factory.mktemp("world"), {"full": 0.9, "ia3": 0.88, "bitfit": 0.6}, draws=range(6))


def test_captions_say_n_and_the_interval(certain: Records) -> None:
    report, made = drawn(certain)
    scores, sure, *_ = blocks(made, "table")
    plot = blocks(made, "figure")[0]
    for text in (scores["basis"], sure["basis"], plot["caption"]):
        assert "n = 2 tasks × 6 draws × 120 test rows" in plain(text)
        assert "95 % t intervals, all at once, by runs and test rows" in plain(text)
    known = report.pages[0].panel.evidence
    assert known is not None
    numbers = next(table for table in blocks(made, "table") if table["caption"].startswith("What the intervals"))
    (row,) = numbers["rows"]
    assert [cell["text"] for cell in row[1:7]] == ["3", "2", "6", "120", "10", str(known.estimate.row_df)]
    assert row[-1]["text"] == f"{len(known.tied_labels) - 1} of 2"


def test_the_best_is_bold_and_its_ties_are_marked(certain: Records) -> None:
    report, made = drawn(certain)
    known = report.pages[0].panel.evidence
    assert known is not None
    for table in blocks(made, "table")[:2]:
        names = {row[0]["text"].removesuffix(f" {TIED}"): row[0] for row in table["rows"]}
        assert [name for name, cell in names.items() if cell["strong"]] == [known.best]
        tied = {name for name, cell in names.items() if cell["text"].endswith(TIED)}
        assert tied == set(known.tied_labels) - {known.best}
        assert TIED in table["note"]


def test_the_method_of_the_statistics_follows_the_runs(certain: Records) -> None:
    one = [made for made in certain if made.draw_seed == 0]
    texts = []
    for records in (certain, Records(one, certain.places), grid()):
        lines = [line for block in blocks(drawn(records)[1], "paragraphs") for line in block["lines"]]
        texts.append({head: plain(text) for head, text in lines})
    crossed, checkpoints, unknown = texts
    assert "crossed samples" in crossed["Variance"]
    assert "20,000 draws" in crossed["Chances"]
    assert "very checkpoints" in checkpoints["Variance"]
    assert "Chances" not in checkpoints
    assert "No intervals" in unknown
    assert "Variance" not in unknown


def test_long_words_can_be_broken_and_numbers_stay_whole() -> None:
    made = paper._breakable("83.5 of 22,713,216 " + "x" * 50)
    assert made.startswith("83.5 of 22,713,216 ")
    assert max(len(part) for part in re.split(rf"[ {paper.BREAK}]", made)) == paper.UNBROKEN


def test_equal_records_give_equal_bytes(certain: Records) -> None:
    first, second = (pdf.typeset(drawn(records)[1]) for records in (certain, Records(certain[::-1], certain.places)))
    assert first == second


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext (poppler-utils) is not installed")
def test_hostile_names_are_text_in_the_pdf(tmp_path: Path) -> None:
    names = ("#eval(1) @ref <label> $ x $", "*bold* _it_ `raw`", "\\u{41} // comment", "= heading", "- item")
    _, made = drawn([record(label=name, method=name) for name in names])
    (tmp_path / "report.pdf").write_bytes(pdf.typeset(made))
    command = ["pdftotext", "-layout", str(tmp_path / "report.pdf"), "-"]
    text = " ".join(plain(subprocess.run(command, capture_output=True, check=True, text=True).stdout).split())
    for name in names:
        assert name in text


def test_scores_are_shaded_by_their_difference_to_the_reference() -> None:
    report, made = drawn_once("8x5")
    panel = report.pages[0].panel
    scores = next(table for table in blocks(made, "table") if table["caption"].startswith("Scores"))
    shades = {plain(row[0]["text"]): [cell["shade"] for cell in row] for row in scores["rows"]}
    gaps = {
        entry.label: [panel.task_differences(entry, task) for task in panel.tasks]
        for entry in panel.entries
        if entry is not panel.reference
    }
    means = {label: [sum(values) / len(values) for values in by_task] for label, by_task in gaps.items()}
    most = max(abs(mean) for by_task in means.values() for mean in by_task)
    for label, by_task in means.items():
        assert [shade for shade in shades[label] if shade is not None] == pytest.approx(
            [mean / most for mean in by_task], abs=1e-3
        )
    assert set(shades["full"]) == {None}
    assert "the difference to full on the task, blue above and orange below" in scores["note"]
