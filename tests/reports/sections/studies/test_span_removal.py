"""The study of spans: changes against nothing left out, by hand, and what is said of the paper's findings."""

import pytest

from tests.reports.factory import grid, record
from tunefront.bench.records import Span
from tunefront.reports.compare.protocols import ordinary
from tunefront.reports.sections import document
from tunefront.reports.sections.studies.study import HeatMap
from tunefront.reports.sections.summary import summary_table

LABEL = "houlsby:bottleneck=8"
CHANGES = {(0, 0): 0.0, (1, 1): -0.5, (2, 2): -1.0, (3, 3): -2.0, (0, 1): -1, (1, 2): -2, (2, 3): -5.0}
CHANGES |= {(0, 2): -3.0, (1, 3): -8.0, (0, 3): -40.0}
"""Points that a span of four blocks costs."""


def ablated(score=0.9, extra=0.0, changes=CHANGES, **fields):
    """A record whose spans change its score by these points, and all of them by `extra` more."""
    spans = tuple(
        Span(first=first, last=last, plugs=2 * (last - first + 1), scores={"accuracy": score + (change + extra) / 100})
        for (first, last), change in changes.items()
    )
    settings = {"device": "cpu", "threads": 1, "max_length": 128, "removed_spans": "all"}
    base = {"label": LABEL, "spans": spans, "scores__test": {"accuracy": score}, "settings": settings}
    return record(**{**base, "scores__baseline": {"accuracy": 0.5}, **fields})


def study_of(*records):
    (study,) = document.compose(records).studies
    return study


def test_changes_are_means_over_runs_then_over_tasks():
    study = study_of(
        ablated(0.9, draw_seed=0), ablated(0.8, -2.0, draw_seed=1), ablated(0.6, -4.0, task="trec", draw_seed=0)
    )
    heat = study.figures[0]
    assert isinstance(heat, HeatMap)
    assert heat.values[0][3] == pytest.approx(((-40 - 42) / 2 - 44) / 2)
    assert heat.values[3][3] == pytest.approx(((-2 - 4) / 2 - 6) / 2)
    assert heat.values[3][0] is None
    assert [figure.title for figure in study.figures] == ["Mean over 2 tasks", "sst2", "trec"]
    (table,) = study.tables
    by_blocks = {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}
    assert by_blocks["0–3"] == ["8", "−42.5", "−41.0", "−44.0"]
    assert by_blocks["3"][0] == "2"
    whole = next(row for row in table.rows if row[0].text == "0–3")
    assert whole[3].minor == "(−42.0 to −40.0)"


@pytest.mark.parametrize(
    ("changes", "baseline", "holds", "fails"),
    [
        (CHANGES, 0.5, ["All of it holds"], []),
        (CHANGES | {(2, 2): -3.0}, 0.5, ["Holds here"], ["a single block matters little"]),
        (CHANGES | {(0, 3): -10.0}, 0.5, [], ["only the constant answer"]),
        (CHANGES | {(0, 1): -9.0}, 0.5, [], ["the lower half matters less"]),
    ],
)
def test_each_finding_of_the_paper_is_held_against_the_numbers(changes, baseline, holds, fails):
    text = study_of(ablated(0.9, changes=changes, scores__baseline={"accuracy": baseline})).intro[-1]
    assert all(fact in text for fact in holds)
    assert all(fact in text.partition("Does not")[2] for fact in fails)


def test_the_largest_loss_of_a_single_block_is_named():
    text = study_of(ablated()).intro[1]
    assert "up to 2.0 points (block 3)" in text
    assert "from 90.0 to 50.0" in text
    gains = {span: abs(change) for span, change in CHANGES.items()}
    assert "A single block costs nothing" in study_of(ablated(0.5, changes=gains)).intro[1]


def test_a_few_named_spans_are_a_table_without_a_heat_map():
    study = study_of(ablated(changes={(0, 1): -1.0, (2, 3): -5.0}))
    assert study.figures == ()
    assert len(study.intro) == 1
    assert [row[0].text for row in study.tables[0].rows] == ["0–1", "2–3"]


def test_records_with_other_spans_share_those_that_all_have():
    (study,) = document.compose([ablated(), ablated(changes={(2, 3): -6.0}, task="trec")]).studies
    assert [row[0].text for row in study.tables[0].rows] == ["2–3"]


def test_a_cell_with_and_without_spans_counts_once():
    plain = ablated(spans=None, settings={"device": "cpu", "threads": 1, "max_length": 128, "removed_spans": None})
    few = ablated(changes={(0, 0): 0.0}, key="f" * 64)
    whole = ablated()
    assert ordinary([plain, few, whole]) == [whole]
    assert summary_table([plain, whole]).panels[0].entries[0].label == LABEL
    composed = document.compose([plain, whole, *grid(["full"], tasks=["sst2"], seeds=(0,), settings=plain.settings)])
    assert [len(entry.all) for entry in composed.pages[0].panel.entries] == [1, 1]
