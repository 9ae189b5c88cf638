"""The baseline of always answering the commonest label: a row of the scores, and no worse method is recommended."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from tests.reports.factory import record
from tests.reports.prompted import prompted
from tunefront.reports.compare import panels, recipe_choice
from tunefront.reports.costs import memory, steps, storage, train_or_prompt
from tunefront.reports.sections import document
from tunefront.reports.sections.summary import summary_table


def scored(label, score, baseline=0.6, task="sst2", **changes):
    return record(
        label=label, task=task, scores__test={"accuracy": score}, scores__baseline={"accuracy": baseline}, **changes
    )


def printed(records, width=160):
    console = Console(width=width, file=StringIO())
    console.print(summary_table(records))
    return console.file.getvalue()


def lead(records):
    return list(document.compose(records).lead)


def test_the_terminal_has_a_row_of_the_commonest_label():
    text = printed([scored("full", 0.8), scored("ia3", 0.7), scored("full", 0.9, 0.25, task="trec")])
    (row,) = [line for line in text.splitlines() if line.startswith("commonest label")]
    assert row.split()[2:] == ["60.0", "25.0"]


def test_without_a_known_baseline_there_is_no_such_row():
    assert "commonest" not in printed([record(scores__baseline=None)])


def test_for_regression_it_is_the_mean():
    similar = {"scores.headline": "pearson", "scores.test": {"pearson": 0.8}, "data.task_kind": "regression"}
    assert "mean label" in printed([record(**similar, scores__baseline={"pearson": 0.0})])


@pytest.mark.parametrize("score", [0.6, 0.59999999999, 0.2])
def test_a_method_at_or_below_it_is_not_called_close_or_cheap(score):
    """It trains least and came within a point of the reference, which is hardly better than the baseline."""
    records = [scored("full", 0.605), scored("houlsby:bottleneck=8", 0.603), scored("ia3", score)]
    sentences = lead(records)
    assert sentences[0].startswith("houlsby:bottleneck=8 ")
    assert not any(text.startswith("ia3") or "ia3 has the best average" in text for text in sentences)
    (below,) = [text for text in sentences if text.startswith("Not above always answering the commonest label")]
    assert "60.0" in below
    assert below.endswith(": ia3.")
    assert "Not above" in printed(records)


def test_a_report_without_a_method_above_it_says_so():
    records = [scored("full", 0.55), scored("ia3", 0.6), scored("features", 0.5)]
    (only,) = lead(records)
    assert "No method scored above always answering the commonest label (60.0 points)" in only
    text = printed(records)
    assert "No method scored above" in " ".join(text.split())


def test_without_a_reference_the_best_must_be_above_it_too():
    assert lead([scored("ia3", 0.7), scored("features", 0.5)])[0].startswith("ia3 has an average of 70.0 points")
    assert "No method scored above" in lead([scored("ia3", 0.6), scored("features", 0.5)])[0]


def test_only_the_reference_is_above_it():
    assert lead([scored("full", 0.7), scored("ia3", 0.6)])[0] == "Only full scored above the commonest label."


def test_each_of_several_panels_says_so_for_itself():
    records = [
        *(scored(label, 0.6) for label in ("full", "ia3")),
        *(scored(label, 0.8, shots=16) for label in ("full", "ia3")),
    ]
    sentences = lead(records)
    assert "no method scored above" in next(text for text in sentences if "all" in text)
    assert sentences[0].startswith("On minilm with 16")


def test_an_average_over_tasks_decides():
    one_task_below = [
        *(scored("ia3", score, task=task) for task, score in (("sst2", 0.55), ("trec", 0.9))),
        *(scored("full", 0.9, task=task) for task in ("sst2", "trec")),
    ]
    (panel,) = panels.build(recipe_choice.choose(one_task_below))
    assert [entry.label for entry in panel.worthwhile] == ["full", "ia3"]


def test_costs_of_methods_that_are_no_better_are_in_no_sentence():
    """Neither the smallest memory or file, nor the fastest step, nor the earliest break-even."""
    cheap = {
        "memory.phases": {"forward": {"frozen_weights": 10}},
        "storage.backbone_bytes": 5,
        "storage.checkpoint_bytes": 1,
    }
    dear = {
        "memory.phases": {"forward": {"frozen_weights": 99}},
        "storage.backbone_bytes": 5,
        "storage.checkpoint_bytes": 9,
    }
    records = [scored("full", 0.9, **dear), scored("features", 0.6, **cheap)]
    (panel,) = panels.build(recipe_choice.choose(records))
    for room in (memory, storage):
        ledger = room.ledger(panel, 0)
        assert ledger is not None
        assert "features" not in ledger.short
    assert steps.ledger(panel, 0) is None or "features" not in steps.ledger(panel, 0).short
    records = [
        prompted(label="ia3", scores__test={"accuracy": 0.5}, scores__baseline={"accuracy": 0.5}),
        prompted(label="icl:k=4", scores__test={"accuracy": 0.7}, scores__baseline={"accuracy": 0.5}),
    ]
    (panel,) = panels.build(recipe_choice.choose(records))
    ledger = train_or_prompt.ledger(panel, {"dir:data/rte": "rte"})
    assert ledger is not None
    assert ledger.short == ""


def test_a_record_knows_whether_it_is_above():
    assert scored("ia3", 0.7).above_baseline is True
    assert scored("ia3", 0.6).above_baseline is False
    assert record(scores__baseline=None).above_baseline is None
    assert record(scores__test=None).above_baseline is None
