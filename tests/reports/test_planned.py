"""Tables and curves of a plan."""

from __future__ import annotations

import pytest

from reports.document import compose
from reports.planned import plan_tables, sweep_figures, sweep_tables
from reports.plots import families
from tests.reports.factory import ledger, plan, record


def planned(label, scale=1.0, **fields):
    made = plan(ledger(record(label=label, **fields)))
    memory = {phase: {o: round(scale * n) for o, n in owners.items()} for phase, owners in (made.memory or {}).items()}
    return made.model_copy(update={"memory": memory, "key": f"{label}{scale}{fields}"})


def test_a_plan_tells_costs_owners_flops_and_tasks():
    tables = plan_tables([planned("full"), planned("ia3")])
    assert [table.caption.split(":")[0] for table in tables] == [
        "minilm, sst2",
        "Who holds memory",
        "What FLOPs are made of",
        "Bytes of N tasks, the backbone's among them",
    ]
    costs = tables[0]
    assert [row[0].text for row in costs.rows] == ["full", "ia3"]
    steps = [column.head for column in costs.columns].index("steps")
    made = planned("full")
    assert costs.rows[0][steps].text == f"{made.train_steps:,} × {made.recipe['batch_size']}"
    assert "float32" in costs.note


def test_a_sweep_is_a_table_and_a_plot_for_each_backbone():
    sweep = {
        size: [planned(label, size, backbone=b) for b in ("a", "b") for label in ("full", "ia3")] for size in (1, 4)
    }
    tables = sweep_tables(sweep, "batch")
    assert [table.caption for table in tables] == ["Peak memory over batch: a, sst2", "Peak memory over batch: b, sst2"]
    assert [row[0].text for row in tables[0].rows] == ["1", "4"]
    figures = sweep_figures(sweep, "batch")
    assert list(figures) == ["a, sst2", "b, sst2"]
    for figure in figures.values():
        lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.4]
        assert len(lines) == 2
        for line in lines:
            low, high = line.get_ydata()
            assert high / low == pytest.approx(4, rel=1e-6)


def test_a_sweep_has_the_colours_of_the_report_and_a_marker_at_each_size():
    labels = ("ia3", "full", "bitfit")
    sweep = {size: [planned(label, size) for label in labels[: 2 if size == 9 else 3]] for size in (1, 4, 9)}
    (figure,) = sweep_figures(sweep, "batch").values()
    (panel,) = [page.panel for page in compose([record(label=label) for label in labels]).pages]
    styles = families(panel)
    lines = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.4]
    drawn = {(line.get_color(), line.get_marker()): len(line.get_xdata()) for line in lines}
    assert drawn == {styles["ia3"]: 3, styles["full"]: 3, styles["bitfit"]: 2}
    assert all(line.get_linestyle() == "-" for line in lines)


def test_a_sweep_of_one_size_has_no_plot():
    assert sweep_figures({2: [planned("full")]}, "batch") == {}
