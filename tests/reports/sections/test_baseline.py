"""The baseline of always answering the commonest label is a row of the scores; no collapsed method is recommended."""

from __future__ import annotations

from io import StringIO

import pandas as pd
import pytest
from matplotlib.text import Text
from rich.console import Console

from tests.reports.factory import record
from tests.reports.prompted import prompted
from tunefront.reports.compare import panels, recipe_choice
from tunefront.reports.costs import memory, steps, storage, train_or_prompt
from tunefront.reports.formats import csvs
from tunefront.reports.plots.panel_plots import pictures
from tunefront.reports.sections import document
from tunefront.reports.sections.summary import summary_table


def scored(label, score, baseline=0.6, task="sst2", **changes):
    """A record that collapsed if its score is not above the baseline, unless `changes` say so."""
    collapsed = changes.pop("collapsed", score <= baseline)
    return record(
        label=label,
        task=task,
        scores__test={"accuracy": score},
        scores__baseline={"accuracy": baseline},
        collapse={"collapsed": collapsed, "one_answer": False, "p_value": 0.21 if collapsed else 0.01},
        **changes,
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
    assert row.split()[2:] == ["42.5", "60.0", "25.0"]


def test_without_a_known_baseline_there_is_no_such_row():
    assert "commonest" not in printed([record(scores__baseline=None)])


def test_for_regression_it_is_the_mean():
    similar = {"scores.headline": "pearson", "scores.test": {"pearson": 0.8}, "data.task_kind": "regression"}
    assert "mean label" in printed([record(**similar, scores__baseline={"pearson": 0.0})])


@pytest.mark.parametrize("score", [0.604, 0.6, 0.2])
def test_a_collapsed_method_is_not_called_close_or_cheap(score):
    """It trains least and came within a point of the reference; its score may be above the baseline's."""
    records = [scored("full", 0.605), scored("houlsby:bottleneck=8", 0.603), scored("ia3", score, collapsed=True)]
    sentences = lead(records)
    assert sentences[0].startswith("houlsby:bottleneck=8 ")
    assert not any(text.startswith("ia3") or "ia3 has the best average" in text for text in sentences)
    (below,) = [text for text in sentences if text.startswith("Collapsed")]
    assert "commonest label, 60.0 points" in below
    assert below.endswith(": ia3 in 1 of 1 run.")
    assert "ia3 in 1 of 1 run" in summary_table(records).warnings[0]


def test_the_best_score_is_not_crowned_if_it_collapsed():
    records = [scored("full", 0.7), scored("ia3", 0.9, collapsed=True), scored("features", 0.72)]
    assert lead(records)[0].startswith("features scored 2.0 points above full")
    assert not any("ia3 has" in text or text.startswith("ia3") for text in lead(records))
    assert lead(records[1:])[0].startswith("features has an average of 72.0 points")


def test_a_report_in_which_all_collapsed_says_so():
    records = [scored("full", 0.55), scored("ia3", 0.6), scored("features", 0.5)]
    (only,) = lead(records)
    assert only.startswith("Every method collapsed")
    assert only.endswith("commonest label, 60.0 points), so none can be recommended.")
    assert "none can be recommended" in summary_table(records).warnings[0]


def test_without_a_reference_the_best_must_not_have_collapsed_either():
    assert lead([scored("ia3", 0.7), scored("features", 0.5)])[0].startswith("ia3 has an average of 70.0 points")
    assert "Every method collapsed" in lead([scored("ia3", 0.6), scored("features", 0.5)])[0]


def test_only_the_reference_did_not_collapse():
    first, second, *_ = lead([scored("full", 0.7), scored("ia3", 0.6)])
    assert first == "Every method with a score on every task except full collapsed."
    assert "ia3 in 1 of 1 run" in second


@pytest.mark.parametrize(("collapsed", "recommended"), [(0, True), (1, True), (2, False), (3, False)])
def test_half_of_the_runs_is_the_edge(collapsed, recommended):
    runs = [scored("ia3", 0.9, seed=seed, collapsed=seed < collapsed) for seed in range(4)]
    records = [*runs, *(scored("full", 0.7, seed=seed) for seed in range(4))]
    sentences = lead(records)
    assert sentences[0].startswith("ia3 scored 20.0 points above full") is recommended
    assert any(f"ia3 in {collapsed} of 4 runs" in text for text in sentences) is (collapsed > 0)


def test_runs_of_which_it_is_unknown_do_not_count():
    known = [scored("ia3", 0.9, seed=0), scored("ia3", 0.9, seed=1, collapsed=True)]
    unknown = [record(label="ia3", seed=seed, scores__test={"accuracy": 0.9}) for seed in (2, 3, 4)]
    (panel,) = panels.build(recipe_choice.choose([*known, *unknown]))
    assert (panel.entries[0].collapsed.runs, panel.entries[0].collapsed.of) == (1, 2)
    assert panel.worthwhile == ()


def test_scores_of_collapsed_runs_are_marked_in_every_table():
    """In the terminal, in the table of scores, at a glance, and in the lists of records with the reason."""
    records = [
        *(scored("full", 0.8, task=task, shots=shots) for task in ("sst2", "trec") for shots in (16, 32)),
        *(scored("ia3", 0.5, task=task, shots=shots) for task in ("sst2",) for shots in (16, 32)),
        *(scored("ia3", 0.7, task=task, shots=shots) for task in ("trec",) for shots in (16, 32)),
    ]
    (line, _) = [line for line in printed(records).splitlines() if line.startswith("ia3")]
    assert "†50.0" in line
    assert "†70.0" not in line
    report = document.compose(records)
    page = report.pages[0]
    cells = {row[0].text: [cell.text for cell in row[3:5]] for row in page.scores.rows}
    assert cells["ia3"] == ["†50.0", "70.0"]
    assert cells["full"] == ["80.0", "80.0"]
    assert "†" in page.scores.note
    glance = {row[0].text: row[1].text for row in report.overview.rows}
    assert (glance["ia3"], glance["full"]) == ("†60.0", "80.0")
    (runs,) = [runs for runs in page.runs if runs.label == "ia3"]
    (_, marked), (_, unmarked) = runs.parts
    assert "p = 0.21" in [cell.text for cell in marked.rows[0]][-2]
    assert [cell.text for cell in unmarked.rows[0]][-2] == "no"


def test_nothing_is_marked_where_nothing_collapsed():
    report = document.compose([scored("full", 0.8), scored("ia3", 0.7)])
    assert "†" not in repr(report)
    assert "collapsed" not in [column.head for column in report.pages[0].runs[0].parts[0][1].columns]


def test_the_plot_marks_the_names_of_methods_that_are_not_recommended():
    records = [scored("full", 0.8), scored("ia3", 0.5)]
    (page,) = document.compose(records).pages
    main = pictures(page)[0]
    texts = {text.get_text() for text in main.figure.findobj(Text)}
    assert "ia3†" in texts
    assert "full" in texts
    assert "†" in main.note


def test_the_csv_counts_collapsed_runs():
    rows = [scored("ia3", 0.5, seed=0), scored("ia3", 0.7, seed=1), record(label="full")]
    table = pd.read_csv(StringIO(csvs.summary(document.compose(rows)))).set_index("label")
    assert table.loc["ia3", "n_collapsed"] == 1
    assert pd.isna(table.loc["full", "n_collapsed"])
    listed = pd.read_csv(StringIO(csvs.records(document.compose(rows))))
    assert {"collapse.collapsed", "collapse.p_value", "cpu_seconds.train"} <= set(listed.columns)


def test_each_of_several_panels_says_so_for_itself():
    records = [
        *(scored(label, 0.6) for label in ("full", "ia3")),
        *(scored(label, 0.8, shots=16) for label in ("full", "ia3")),
    ]
    sentences = lead(records)
    assert "every method collapsed" in next(text for text in sentences if "all" in text)
    assert sentences[0].startswith("On minilm with 16")


def test_costs_of_collapsed_methods_are_in_no_sentence():
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
        prompted(label="ia3", scores__test={"accuracy": 0.5}, collapse__collapsed=True),
        prompted(label="icl:k=4", scores__test={"accuracy": 0.7}, collapse__collapsed=False),
    ]
    (panel,) = panels.build(recipe_choice.choose(records))
    ledger = train_or_prompt.ledger(panel, {"dir:data/rte": "rte"})
    assert ledger is not None
    assert ledger.short == ""
