"""Tables and curves of a plan."""

from __future__ import annotations

import pytest

from tests.bench.records.made import changed, dotted
from tests.reports.factory import ledger, plan, record
from tests.reports.prompted import prompted
from tunefront.reports import units
from tunefront.reports.plots.sweeps import sweep_figures, sweep_tables
from tunefront.reports.plots.tradeoff import family_styles
from tunefront.reports.sections.document import compose
from tunefront.reports.sections.forecast import plan_tables, totals


def planned(label, scale=1.0, **fields):
    made = plan(ledger(record(label=label, **fields)))
    memory = {
        phase: {o: round(scale * n) for o, n in owners.items()} for phase, owners in (made.memory.phases or {}).items()
    }
    return changed(made, {"memory.phases": memory, "key": f"{label}{scale}{fields}"})


def test_a_plan_shows_costs_owners_flops_and_tasks():
    tables = plan_tables([planned("full"), planned("ia3")])
    assert [table.caption.split(":")[0] for table in tables] == [
        "minilm, sst2",
        "Memory at the peak by owner",
        "FLOPs by part",
        "Bytes of N tasks, including the backbone",
    ]
    costs = tables[0]
    assert [row[0].text for row in costs.rows] == ["full", "ia3"]
    steps = [column.head for column in costs.columns].index("steps")
    made = planned("full")
    assert costs.rows[0][steps].text == f"{made.training.steps:,} × ≤ {made.recipe['batch_size']}"
    assert "float32" in costs.note


@pytest.mark.parametrize(("rows", "text"), [(64, "189 × 32"), (65, "189 × ≤ 32"), (8, "189 × ≤ 32")])
def test_batches_at_the_end_of_an_epoch_may_be_smaller(rows, text):
    assert plan_tables([planned("ia3", data__n_train=rows)])[0].rows[0][4].text == text


def prompts(**changes):
    sizes = {
        "storage.backbone_bytes": 4000,
        "storage.checkpoint_bytes": 0,
        "prompt.kv_cache_bytes": 900,
        "storage.demonstration_bytes": 70,
    }
    return plan(prompted(label="icl:k=4", **{**sizes, **dotted(changes)}))


def test_bytes_of_tasks_have_a_row_with_cache():
    table = plan_tables([prompts()])[-1]
    rows = [[cell.text.replace("\u00a0", " ") for cell in row[:3]] for row in table.rows]
    assert rows == [["icl:k=4", "4.07 kB", "4.63 kB"], ["icl:k=4 with cache", "4.97 kB", "12.7 kB"]]
    assert "no text" not in table.note


def test_synthetic_demonstrations_have_no_bytes_and_a_note_says_why():
    table = plan_tables([prompts(storage__demonstration_bytes=None)])[-1]
    rows = [[cell.text.replace("\u00a0", " ") for cell in row[:3]] for row in table.rows]
    assert rows == [["icl:k=4", "—", "—"], ["icl:k=4 with cache", "> 4.90 kB", "> 12.1 kB"]]
    assert "tokens but no text" in table.note


def test_a_plan_ends_with_the_total_of_all_cells():
    numbers = {"data.n_test": 10, "flops.inference_per_example": 2e6, "flops.prefix": 5_000_000, "seconds.prefix": 1.0}
    full = planned("full", flops__train=10**9, data__n_test=10, flops__inference_per_example=2e6)
    ia3 = planned("ia3", 2.0, flops__train=10**8, **numbers, task="trec")
    full, ia3 = (
        changed(record, {"flops.train": n, "seconds.train": 10.0, "seconds.eval": 2.0})
        for record, n in ((full, 10**9), (ia3, 10**8))
    )
    tables = plan_tables([full, ia3])
    assert [table.note for table in tables[3:7]].count("") == 3
    note = tables[-1].note.replace("\u00a0", " ")
    peak = units.si(max(full.peak_memory_bytes, ia3.peak_memory_bytes), "B").replace("\u00a0", " ")
    assert "2 planned cells" in note
    for total in ("1.10 GFLOP for training and 45.0 MFLOP for scoring", "20.0 s for training and 5.00 s for scoring"):
        assert total in note, note
    assert f"peak memory {peak} (" in note
    untimed = changed(ia3, {"seconds.train": None, "seconds.eval": None, "seconds.prefix": None})
    partly_timed = totals([full, untimed]).replace("\u00a0", " ")
    assert "2.00 s for scoring" in partly_timed
    assert "for the 1 with predicted seconds" in partly_timed
    assert " s for " not in totals([untimed]).replace("\u00a0", " ")
    assert totals([]) == ""


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
    styles = family_styles(panel)
    lines = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.4]
    drawn = {(line.get_color(), line.get_marker()): len(line.get_xdata()) for line in lines}
    assert drawn == {styles["ia3"]: 3, styles["full"]: 3, styles["bitfit"]: 2}
    assert all(line.get_linestyle() == "-" for line in lines)


def test_a_sweep_of_one_size_has_no_plot():
    assert sweep_figures({2: [planned("full")]}, "batch") == {}


def test_copies_of_weights_are_explained_if_there_are_any():
    def notes(dtype):
        made = planned(label="ia3", recipe={"dtype": dtype, "optimizer": "adamw", "batch_size": 8})
        return "".join(table.note or "" for table in plan_tables([made]))

    assert "copies of frozen weights" in notes("bfloat16")
    assert "copies" not in notes("float32")
