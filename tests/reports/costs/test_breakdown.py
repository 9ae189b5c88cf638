"""The ledgers: their exact numbers, and dashes for missing ones."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from tests.bench.records.made import changed
from tests.reports.factory import BACKBONE, grid, ledger, plan, record
from tests.reports.page import own
from tests.reports.prompted import prompted
from tunefront import reports
from tunefront.bench.errors import UserError
from tunefront.bench.records import PhaseFlops, Record, Spread
from tunefront.reports.costs import flops, memory, storage
from tunefront.reports.formats import html, latex, markdown, pdf
from tunefront.reports.plots import curves, panel_plots
from tunefront.reports.sections import document
from tunefront.reports.units import MISSING

NASTY = "evil:name=<script>alert(1)</script>#$x^2$\\input{x}&%*_`|{{7*7}}"
TRAINED = {"parameters.trainable": 1000, "parameters.head": 200, "parameters.inserted": 0, "parameters.backbone": 800}


def compose(records, **changes):
    return document.compose(records, **changes)


def page_of(records, **changes):
    return compose(records, **changes).pages[0]


def ledger_of(tag, records, **changes):
    (match,) = [candidate for candidate in page_of(records, **changes).ledgers if candidate.tag == tag]
    return match


def row(table, label):
    (match,) = [row for row in table.rows if row[0].text == label]
    return [f"{cell.text} {cell.minor}".strip().replace("\u00a0", " ") for cell in match[1:]]


@pytest.mark.parametrize(
    ("changes", "whole"),
    [
        ({}, True),
        ({"parameters.trainable": 999}, False),  # one weight of the backbone is frozen
        ({"parameters.inserted": 100}, False),  # the same, behind trained insertions
        ({"parameters.inserted": 100, "parameters.trainable": 1100}, True),
        (
            {"parameters.trainable": 2000, "parameters.inserted": 1800, "parameters.head": 200},
            False,
        ),  # insertions alone
        ({"parameters.trainable": 0}, False),
        ({"parameters.backbone": None}, None),
        ({"parameters.trainable": None}, None),
    ],
)
def test_a_file_replaces_the_backbone_if_all_its_weights_are_trained(changes, whole):
    assert storage.replaces_backbone(record(**{**TRAINED, **changes})) is whole


def test_bytes_of_n_tasks_are_those_of_the_files():
    full = record(**TRAINED, storage__checkpoint_bytes=4100, storage__backbone_bytes=4000)
    small = record(
        **{**TRAINED, "parameters.trainable": 300}, storage__checkpoint_bytes=1300, storage__backbone_bytes=4000
    )
    prompt = prompted(
        label="icl:k=4", storage__backbone_bytes=4000, storage__demonstration_bytes=70, prompt__kv_cache_bytes=900
    )
    assert [storage.total_bytes(full, n) for n in (1, 9)] == [4100, 9 * 4100]
    assert [storage.total_bytes(small, n) for n in (1, 9)] == [5300, 4000 + 9 * 1300]
    assert [storage.total_bytes(prompt, n) for n in (1, 9)] == [4070, 4000 + 9 * 70]
    assert storage.total_bytes(prompt, 9, cache=True) == 4000 + 9 * 970
    assert storage.total_bytes(changed(small, {"storage.backbone_bytes": None}), 1) is None
    assert storage.total_bytes(changed(full, {"storage.backbone_bytes": None}), 2) == 8200
    assert storage.total_bytes(changed(full, {"storage.checkpoint_bytes": None}), 1) is None
    assert [storage.total_params(made, 9) for made in (full, small)] == [9000, 800 + 2700]


def test_the_storage_ledger_names_dtypes_and_multiples():
    records = [ledger(record()), ledger(record(label="ia3"), storage__checkpoint_dtypes={"bfloat16": 9, "float32": 5})]
    on_disk, parameters = ledger_of("storage", records).tables
    assert [column.head for column in on_disk.columns[3:]] == ["1 task", "3 tasks", "9 tasks", "100 tasks"]
    assert row(on_disk, "full")[1:4:2] == ["float32", "273 MB (× 3.00)"]
    assert row(on_disk, "ia3")[1] == "bfloat16, float32"
    assert row(on_disk, "ia3")[4] == "91.4 MB (× 1.01)"
    trained = records[1].parameters.trainable
    assert row(parameters, "ia3")[3] == f"{(BACKBONE + 9 * trained) / 1e6:.1f} M (× 1.01)"


def test_a_prompt_keeps_text_and_may_keep_its_cache():
    table = ledger_of("storage", [ledger(prompted(label="ia3")), ledger(prompted(label="icl:k=4"))]).tables[0]
    assert row(table, "icl:k=4")[:2] == ["1.64 kB", "text"]
    assert row(table, "icl:k=4 with cache")[:2] == ["35.4 MB", "text, cache"]


HELD = {
    "load": {"frozen_weights": 100},
    "forward": {"frozen_weights": 90, "trained_weights": 10, "saved_activations": 50},
    "backward": {"frozen_weights": 90, "trained_weights": 10, "gradients": 10, "saved_activations": 60},
}


def test_owners_stand_at_the_peak_and_sum_to_it():
    made = record(memory__phases=HELD)
    assert (memory.peak_phase(made), made.peak_memory_bytes) == ("backward", 170)
    owners, phases = ledger_of("memory", [made, record(label="ia3")]).tables
    assert [column.head for column in owners.columns] == ["bytes of", "full"], (
        "a method without measurements has no column"
    )
    assert {cells[0].text: cells[1].text.replace("\u00a0", " ") for cells in owners.rows} == {
        "at the peak in": "backward",
        "sum": "170 B",
        "frozen weights": "90 B",
        "trained weights": "10 B",
        "gradients": "10 B",
        "saved activations": "60 B",
    }
    assert row(phases, "full") == ["100 B", "150 B", "170 B"]
    assert len(phases.rows) == 1


def test_an_owner_that_holds_nothing_is_a_dash():
    scored = record(label="icl", memory__phases={"query": {"frozen_weights": 90, "kv_cache": 5, "gradients": 0}})
    owners = ledger_of("memory", [record(memory__phases=HELD), scored]).tables[0]
    assert row(owners, "gradients") == ["10 B", MISSING]
    assert row(owners, "keys and values") == [MISSING, "5 B"]


def test_many_methods_have_several_tables_of_owners_none_too_wide():
    labels = [*(f"m{number}" for number in range(8)), *(f"a_long_method:with={n}{'9' * 40}" for n in (1, 2, 3))]
    tables = ledger_of("memory", [record(label=label, memory__phases=HELD) for label in labels]).tables[:-1]
    assert [len(table.columns) - 1 for table in tables] == [1, 1, 4, 5]
    assert {column.head for table in tables for column in table.columns[1:]} == set(labels)
    assert [table.caption[-8:] for table in tables] == ["(1 of 4)", "(2 of 4)", "(3 of 4)", "(4 of 4)"]


def test_the_run_with_the_median_peak_is_shown_whole():
    runs = [
        record(seed=s, memory__phases={"forward": {"inputs": size, "temporary": 5}})
        for s, size in enumerate((1, 9, 30))
    ]
    table = ledger_of("memory", runs).tables[0]
    assert [cells[1].text for cells in table.rows] == ["forward", "14\u00a0B", "9\u00a0B", "5\u00a0B"]


def phase(counted, analytic, **more):
    return PhaseFlops(counted=counted, analytic=analytic, **more)


def test_flops_of_evaluation_are_per_example_and_of_training_in_all():
    there = {"backward": phase(1000, 990, weight_gradients=400), "evaluation": phase(8720, 8720, rule=9000)}
    backward, evaluation = ledger_of("flops", [record(flops__phases=there, data__n_test=872)]).tables
    assert [column.head for column in backward.columns][-1] == "weight gradients"
    assert row(backward, "full") == ["1.00 kFLOP", "990 FLOP", "1.010", MISSING, MISSING, "400 FLOP"]
    assert row(evaluation, "full") == ["10 FLOP", "10 FLOP", "1.000", "10.3 FLOP", MISSING]


def test_counts_that_contradict_each_other_are_a_caution():
    near, far = {"forward": phase(1019, 1000)}, {"forward": phase(1000, 1000), "backward": phase(900, 1000)}
    assert flops.contradictions([record(flops__phases=near), record(flops__phases={"forward": phase(7, None)})]) == {}
    report = compose([record(flops__phases=near), record(label="ia3", flops__phases=far)])
    (text,) = [text for text in report.warnings if "analytic" in text]
    assert "more than 2 % for ia3 (backward × 0.900)" in text
    assert (
        "up to 10\u00a0% (ia3, backward)"
        in ledger_of("flops", [record(flops__phases=near), record(flops__phases=far, seed=1, label="ia3")]).short
    )


def spread(seconds):
    return Spread(median=seconds, low=0.9 * seconds, high=1.2 * seconds, count=10)


def timed(data, forward, backward, optimizer, **changes):
    parts = {"data": data, "forward": forward, "backward": backward, "optimizer": optimizer, "evaluation": 0.5}
    return record(seconds__steps={name: spread(value) for name, value in parts.items()}, **changes)


def test_seconds_of_steps_are_left_out_if_threads_differ():
    records = [timed(0.001, 0.1, 0.2, 0.05), timed(0.001, 0.1, 0.1, 0.01, label="ia3", environment__threads=2)]
    assert [ledger.tag for ledger in page_of(records).ledgers] == []


def test_a_method_without_steps_has_dashes():
    records = [timed(0.001, 0.1, 0.2, 0.05), record(label="icl", seconds__steps={"evaluation": spread(0.4)})]
    ledger = ledger_of("time", records)
    assert row(ledger.tables[0], "icl")[:5] == [MISSING] * 5
    assert (len(ledger.text), len(ledger.tables)) == (1, 1)


def test_predictions_are_compared_with_the_records_of_the_same_key():
    records = [ledger(made) for made in grid(["full", "ia3"], tasks=["sst2"])]
    plans = [plan(made) for made in records[:3]] + [plan(record(seed=77))]
    tables = {table.caption: table for table in ledger_of("predicted", records, plans=plans).tables}
    assert list(tables) == ["Predicted sizes", "Predicted FLOPs", "Predicted memory", "Predicted seconds"]
    assert row(tables["Predicted sizes"], "ia3")[2] == "1.00"
    assert row(tables["Predicted FLOPs"], "full")[2] == "0.998"
    assert row(tables["Predicted memory"], "full")[2] == "1.04"
    assert row(tables["Predicted seconds"], "full")[2::3] == ["1.30", "0.800"]


def test_the_heading_of_predictions_names_the_worst_seconds():
    records = [ledger(made) for made in grid(["full", "ia3"], tasks=["sst2"], environment__concurrent_cells=1)]
    slow = {"seconds.train": 0.41 * records[0].seconds.train}
    predicted = ledger_of("predicted", records, plans=[plan(made, **slow) for made in records[:1]])
    flops, peak, seconds = predicted.short.replace("\u00a0", " ").split(", ")
    assert (flops, peak) == ("training FLOPs within 0.2 %", "peak memory within 4.0 %")
    assert "at worst 0.41 times" in seconds
    assert "tensors" in predicted.text[1]
    assert "cells" not in predicted.text[2]


def test_predicted_seconds_are_of_a_single_cell():
    records = [ledger(made) for made in grid(["full", "ia3"], tasks=["sst2"], environment__concurrent_cells=2)]
    text = ledger_of("predicted", records, plans=[plan(made) for made in records]).text[2]
    assert "of a single cell" in text
    assert "2 cells" in text


def test_predictions_made_after_their_run_are_left_out():
    records = [ledger(made) for made in grid(["full", "ia3"], tasks=["sst2"], seeds=(0,))]
    plans = [plan(records[0]), plan(records[1], environment__created_at="2025-01-02T03:04:06+00:00")]
    predicted = ledger_of("predicted", records, plans=plans)
    assert [[cell[0].text for cell in table.rows] for table in predicted.tables] == [["full"]] * 4
    assert "after the run" in predicted.text[-1]
    assert predicted.text[-1].endswith(": ia3.")
    report = compose(records, plans=plans[1:])
    (page,) = report.pages
    assert page.ledgers[-1].tables == ()
    drawn = [panel_plots.pictures(page)]
    for text in (html.render(report, drawn), markdown.render(report, drawn)):
        assert "made after the run and left out" in text
    assert pdf.render(report, drawn)


def test_planned_records_are_no_results():
    records = [ledger(made) for made in grid(["full", "ia3"], tasks=["sst2"], seeds=(0,))]
    plans = [plan(made) for made in records]
    assert compose(records, plans=plans) == compose([*records, *plans])
    assert "planned" not in {made.status for made in compose(records, plans=plans).records}
    with pytest.raises(UserError, match="only plans"):
        compose(plans)


def test_old_records_have_no_ledgers():
    assert page_of(grid(["full", "ia3"])).ledgers == ()


def test_a_new_record_next_to_an_old_one_leaves_dashes():
    page = page_of([ledger(record()), record(label="ia3")])
    assert [breakdown.tag for breakdown in page.ledgers] == ["storage", "memory", "flops", "time"]
    assert row(page.ledgers[0].tables[0], "ia3")[1:] == [MISSING] * 5
    assert panel_plots.pictures(page)


@pytest.fixture(scope="module")
def whole():
    trained = [ledger(prompted(label=label)) for label in ("full", "ia3")]
    prompts = [ledger(prompted(label=label)) for label in ("icl:k=0", "icl:k=4")]
    names = {"label": NASTY, "method": NASTY}
    records = [*trained, *prompts, ledger(prompted(**names))]
    composed = document.compose(records, plans=[plan(made) for made in records])
    return composed, [panel_plots.pictures(page) for page in composed.pages]


def test_every_format_has_the_ledgers(whole):
    composed, drawn = whole
    assert [breakdown.tag for breakdown in composed.pages[0].ledgers] == [
        *("storage", "break-even", "memory", "flops", "time", "predicted")
    ]
    page, text, tex = html.render(composed, drawn), markdown.render(composed, drawn), latex.render(composed)
    for table in composed.pages[0].ledger_tables:
        assert all(table.caption in rendered for rendered in (page, text, tex)), table.caption
    assert page.count('<details class="ledger">') == 6
    assert pdf.render(composed, drawn).startswith(b"%PDF")


def test_names_stay_text_in_the_ledgers(whole):
    composed, drawn = whole
    page = html.render(composed, drawn)
    assert own(page).count("<script") == 4
    assert "<script>alert" not in own(page)
    assert "<script" not in markdown.render(composed, drawn)
    for picture in drawn[0]:
        assert picture.svg == panel_plots.save(picture.figure, "svg")
        ET.fromstring(picture.svg)
        assert b"$x^2$" not in picture.svg
        texts = [text for axes in picture.figure.axes for text in (*axes.texts, *axes.get_yticklabels())]
        assert all(not text.get_parse_math() for text in texts if "$" in text.get_text())


def test_every_plot_of_a_ledger_has_a_description(whole):
    composed, drawn = whole
    shown = {picture.name.split("-", 3)[-1]: picture for picture in drawn[0] if picture.ledger}
    assert len(shown) == 6
    for picture in shown.values():
        assert composed.pages[0].title in picture.alt
        assert "ia3" in picture.alt
    assert "optimiser state" in next(p.alt for p in shown.values() if p.ledger == "memory")


def test_names_of_curves_do_not_touch():
    many = [curves.Curve(f"method{i}", "#000000", ((1, 1.0), (100, 5.0 + i % 3))) for i in range(20)]
    figure = curves.draw(many, curves.Titles("Tasks", "Bytes"), (4.1, 3.3), 8.5)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # annotations find their places now
    renderer = canvas.get_renderer()
    boxes = sorted((Text.get_window_extent(text, renderer) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 20
    assert all(below.y1 <= above.y0 + 0.5 for below, above in itertools.pairwise(boxes))
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)


def test_csv_has_the_nested_numbers(tmp_path):
    import pandas as pd

    cuda = {"backward": {"allocated": 2**60, "reserved": 2**60 + 1}}
    made: Record = ledger(record(memory__cuda=cuda))
    reports.write([made, record(seed=1)], tmp_path, ["csv"])
    table = pd.read_csv(tmp_path / "report.csv", dtype=str).iloc[0]
    assert table["memory.phases.backward.gradients"] == str(made.memory.phases["backward"]["gradients"])
    assert table["flops.phases.backward.weight_gradients"] == str(made.flops.phases["backward"].weight_gradients)
    assert float(table["seconds.steps.forward.median"]) == made.seconds.steps["forward"].median
    assert table["storage.checkpoint_dtypes.float32"] == str(made.parameters.trainable)
    assert table["memory.cuda.backward.reserved"] == str(2**60 + 1)
    cells = pd.read_csv(tmp_path / "ledgers.csv", dtype=str)
    gradients = cells[(cells["table"] == memory.OWNERS_TITLE) & (cells["row"] == "gradients")]
    assert gradients["in_full"].tolist() == [f"{made.memory.phases['backward']['gradients']:,} B"]
