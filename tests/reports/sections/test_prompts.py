"""Language models and encoders: costs of demonstrations, zero on a log axis, several backbones at a glance."""

from __future__ import annotations

import pytest

from tests.reports.factory import failed, grid, record
from tests.reports.prompted import prompted
from tunefront import reports
from tunefront.reports.compare.measures import KEPT, PARAMETERS, ROWS, TRAIN_FLOPS, WITHOUT_CACHE, plotted_costs
from tunefront.reports.formats import markdown
from tunefront.reports.plots import panel_plots, tradeoff
from tunefront.reports.sections import document


def _rows(report, caption):
    """A cost table of the first panel as rows by label: a text per column, by its two heads."""
    table = next(table for table in report.pages[0].costs if table.caption == caption)
    heads = [f"{column.head} {column.under}".strip() for column in table.columns]
    return {
        row[0].text: dict(zip(heads, (f"{c.text} {c.minor}".strip() for c in row), strict=True)) for row in table.rows
    }


def _four():
    return [prompted(label=label) for label in ("full", "ia3", "icl:k=0", "icl:k=4")]


def test_costs_of_demonstrations_once_and_per_query():
    rows = _rows(document.compose(_four()), "Cost of reading demonstrations")
    assert set(rows) == {"icl:k=0", "icl:k=4"}
    params, per_query = 1_100_000_000, 220_000_000_000
    once = 2 * params * 360
    assert rows["icl:k=4"] == {
        "method": "icl:k=4",
        "once FLOPs": f"{once / 1e9:.0f}\u00a0GFLOP",
        "once time": "1.60\u00a0s",
        "cache keys, values": f"{98_304 * 360 / 1e6:.1f}\u00a0MB",
        "per query FLOPs": "220\u00a0GFLOP",
        "per query FLOPs, no reuse": f"{(per_query + once) / 1e12:.2f}\u00a0TFLOP × {1 + once / per_query:.1f}",
    }
    assert rows["icl:k=0"]["once FLOPs"] == rows["icl:k=0"]["cache keys, values"] == "—"


def test_a_model_that_keeps_no_prefix_shows_dashes():
    rows = _rows(document.compose([prompted(label="icl:k=4", backbone="t5")]), "Cost of reading demonstrations")
    assert [rows["icl:k=4"][head] for head in ("once FLOPs", "once time", "cache keys, values")] == ["—", "—", "—"]


def test_which_demonstrations_fit_is_counted_over_all_scored_rows():
    records = [
        prompted(
            label="icl:k=4",
            prompt__shortened_test=250,
            prompt__demonstrations_per_row=1.0,
            data__truncated_test=20,
            seed=0,
        ),
        prompted(
            label="icl:k=4",
            prompt__shortened_test=30,
            prompt__demonstrations_per_row=3.5,
            data__truncated_test=0,
            seed=1,
        ),
        prompted(label="icl:k=0"),
    ]
    rows = _rows(document.compose(records), "Which demonstrations fit")
    assert rows["icl:k=4"] == {
        "method": "icl:k=4",
        "demonstrations kept of requested": "2.25 of 4",
        "prompts that lost some": "280 of 500",
        "queries truncated": "20 of 500",
        "demonstrations tokens": "360",
        "demonstrations bytes of text": "1.64\u00a0kB",
    }
    assert rows["icl:k=0"]["prompts that lost some"] == "—"
    assert rows["icl:k=0"]["queries truncated"] == "4 of 250"


def test_the_checkpoint_and_the_demonstrations_are_stored_per_task():
    report = document.compose(_four())
    rows = _rows(report, "Trained parameters and stored bytes")
    kept = {label: row["stored per task"] for label, row in rows.items()}
    assert kept == {
        "full": "4.40\u00a0GB",
        "ia3": "881\u00a0kB",
        "icl:k=0": "0\u00a0B",
        "icl:k=4": "1.64\u00a0kB",
    }
    sizes = {point.entry.label: point.x for point in tradeoff.draw(report.pages[0].panel, KEPT).points}
    assert sizes["icl:k=0"] == 0
    assert sizes["icl:k=4"] == 1640


def test_encoders_have_no_tables_of_prompts():
    assert len(document.compose(grid(["full", "ia3"])).pages[0].costs) == 2


@pytest.mark.parametrize("cost", [PARAMETERS, KEPT, TRAIN_FLOPS], ids=lambda cost: cost.field)
def test_methods_without_costs_are_plotted_at_zero_and_labelled(cost):
    records = [*_four(), prompted(label="houlsby", flops__train=10**12)]
    panel = document.compose(records).pages[0].panel
    drawing = tradeoff.draw(panel, cost)
    axes = drawing.figure.axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xticklabels()[0].get_text() == "0"
    labels = {text.get_text(): text.xy[0] for text in axes.texts}
    assert set(labels) == {entry.label for entry in panel.entries}
    smallest = min(point.x for point in drawing.points if point.x > 0)
    free = [labels[point.entry.label] for point in drawing.points if point.x == 0]
    assert free
    assert len(set(free)) == len(free)
    assert all(axes.get_xlim()[0] < place < smallest for place in free)


def test_no_line_crosses_from_zero_to_a_log_axis():
    records = [prompted(label=label) for label in ("full", "ia3", "icl:k=0", "icl:k=4", "icl")]
    axes = tradeoff.draw(document.compose(records).pages[0].panel, KEPT).figure.axes[0]
    sizes = sorted([410 * 4, 410 * 32])
    lines = [sorted(line.get_xdata()) for line in axes.lines if len(set(line.get_xdata())) > 1]
    assert sizes in lines
    assert all(min(line) >= sizes[0] for line in lines if line != [0, 1])


def test_the_curve_over_demonstrations_starts_at_zero_and_trained_methods_are_at_their_rows():
    records = [prompted(label=label) for label in ("full", "ia3", "icl:k=0", "icl:k=4", "icl:k=16", "icl")]
    panel = document.compose(records).pages[0].panel
    assert ROWS in plotted_costs(panel)
    drawing = tradeoff.draw(panel, ROWS)
    places = {point.entry.label: point.x for point in drawing.points}
    assert places == {"full": 32, "ia3": 32, "icl:k=0": 0, "icl:k=4": 4, "icl:k=16": 16, "icl": 32}
    axes = drawing.figure.axes[0]
    assert axes.get_xscale() == "linear"
    assert [0, 4, 16, 32] in [sorted(line.get_xdata()) for line in axes.lines]


def test_many_and_few_rows_have_a_logarithmic_axis():
    records = [prompted(), *(prompted(label=label) for label in ("icl:k=4", "icl:k=1000"))]
    assert tradeoff.draw(document.compose(records).pages[0].panel, ROWS).figure.axes[0].get_xscale() == "log"


def test_inference_without_a_cache_is_plotted_next_to_trained_methods():
    panel = document.compose(_four()).pages[0].panel
    costs = {point.entry.label: point.x for point in tradeoff.draw(panel, WITHOUT_CACHE).points}
    assert costs["full"] == costs["ia3"] == costs["icl:k=0"] == 1_100_000_000 * 200
    assert costs["icl:k=4"] == costs["full"] + 2 * 1_100_000_000 * 360
    assert WITHOUT_CACHE in plotted_costs(panel)


def test_demonstrations_are_explained_if_there_are_some():
    assert "Demonstrations" in dict(document.compose(_four()).reading)
    assert "Demonstrations" not in dict(document.compose(grid(["full"])).reading)


def test_encoders_have_no_plots_of_the_costs_of_demonstrations():
    panel = document.compose(grid(["full", "ia3"])).pages[0].panel
    assert not {ROWS, WITHOUT_CACHE} & set(plotted_costs(panel))


def test_methods_missing_in_a_plot_are_named_with_the_reason():
    records = [
        *_four(),
        prompted(label="a", storage__checkpoint_bytes=None, parameters__trainable=None),
        prompted(label="b", scores__test={"accuracy": None}),
        prompted(label="c", task="dir:data/cb"),
    ]
    notes = {picture.title: picture.note for picture in panel_plots.pictures(document.compose(records).pages[0])}
    for reason in ("b (no score)", "c (no score to compare with full)", "a (not measured)"):
        assert reason in notes["Bytes stored per task"]
    assert "1 task without a score of full" in notes["Trained parameters per task"]


def test_costs_that_have_no_plot_are_named():
    page = document.compose(grid(["full", "ia3"], flops__train=None)).pages[0]
    assert page.undrawn.endswith(": training FLOPs.")
    uneven = document.compose([*grid(["full"]), *grid(["ia3"], environment__threads=2)]).pages[0]
    assert "seconds cannot be compared" in uneven.undrawn
    assert uneven.undrawn.endswith(": training time.")
    assert document.compose(grid(["full", "ia3"])).pages[0].undrawn == ""


def test_a_backbone_without_the_reference_has_dashes_and_says_so():
    records = [*_four(), prompted(label="ia3", backbone="t5"), prompted(label="icl:k=4", backbone="t5")]
    report = document.compose(records)
    gpt, t5 = report.pages
    assert "Height: points above full" in panel_plots.pictures(gpt)[0].note
    assert "full has no score here" in panel_plots.pictures(t5)[0].note
    assert "against" not in [column.head for column in t5.scores.columns]
    glance = {row[0].text: [cell.minor for cell in row[1:]] for row in report.overview.rows}
    assert glance["ia3"][0] != ""
    assert glance["ia3"][1] == glance["full"][1] == ""


def test_at_a_glance_has_a_column_per_backbone():
    report = document.compose([*_four(), prompted(label="full", backbone="t5", scores__test={"accuracy": 0.5})])
    assert [column.head for column in report.overview.columns] == ["method", "gpt", "t5"]
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in report.overview.rows}
    assert rows["full"][1] == "50.0"
    assert rows["ia3"][1] == "—"
    assert len(report.lead) == 2
    assert document.compose(_four()).overview is None


def test_at_a_glance_names_the_settings_that_differ_between_columns():
    settings = {**record().settings, "eval_rows": 200, "max_length": 64}
    equal_settings = document.compose([record(), record(backbone="nano")]).overview.note
    note = document.compose([record(), record(backbone="nano", settings=settings)]).overview.note
    assert "settings" not in equal_settings
    assert note.endswith(": eval_rows (200, none), max_length (128, 64).")


def test_a_recipe_that_differs_between_backbones_has_a_table_for_each():
    other = {**record().recipe, "learning_rate": 1e-4, "steps": 60}
    shared, apart = ([record(), record(label="ia3", backbone="nano", recipe=r)] for r in (record().recipe, other))
    assert _recipes(document.compose(shared)) == {"Recipes": ["full", "ia3"]}
    assert _recipes(document.compose(apart)) == {"Recipes": ["full", "ia3"]}, "no method is trained on both"
    untrained = record(label="icl:k=4", backbone="nano", recipe=other, training__steps=0)
    assert _recipes(document.compose([*apart, record(backbone="nano", recipe=other), untrained])) == {
        "Recipes on minilm": ["full"],
        "Recipes on nano": ["full", "ia3", "icl:k=4"],
    }


def _recipes(report):
    tables = [table for table in report.background if table.caption.startswith("Recipes")]
    return {table.caption: [row[0].text for row in table.rows] for table in tables}


def test_demonstrations_that_did_not_fit_are_announced():
    gone = {"prompt.demonstrations_per_row": 0.0, "prompt.shortened_test": 250}
    some = {"prompt.demonstrations_per_row": 2.0, "prompt.shortened_test": 250}
    records = [prompted(label="icl:k=4", **gone), prompted(label="icl:k=4", seed=1, **some), prompted(label="full")]
    texts = document.compose(records).warnings
    assert "icl:k=4 is effectively zero-shot in 1 of 2 runs: no demonstration fits into any prompt (rte 1)." in texts
    assert "Prompts of icl:k=4 lost demonstrations that did not fit in 1 of 2 runs (rte 1)." in texts


def test_a_recipe_that_trained_nothing_is_not_shown_as_one():
    recipes = document.compose([prompted(label="icl:k=4"), record(shots=32, settings=prompted().settings)])
    table = next(table for table in recipes.background if table.caption == "Recipes")
    assert "Only dtype affects methods without training (icl:k=4)." in table.note


def test_the_same_reason_is_listed_once_with_its_methods_and_rows():
    reason = "template 'x' of dir:a, row '{}': it writes no prompt."
    records = [failed(reason=reason.format(row), label=label) for row in (4, 12) for label in ("ia3", "full")]
    (row,) = document.compose([record(), *records, failed(reason="other", task="x")]).absent.rows[:1]
    assert [cell.text for cell in row] == [
        *("failed", "full; ia3", "minilm", "sst2", "4"),
        "template 'x' of dir:a, rows '12', '4': it writes no prompt.",
    ]


def test_every_format_has_the_few_shot_tables(tmp_path):
    records = [
        prompted(label=label, template=template, draw_seed=draw)
        for label in ("full", "icl:k=0", "icl:k=4", "icl:k=4,order=1")
        for template in ("a", "b")
        for draw in (0, 1)
    ]
    reports.write(records, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<caption>Few-shot: rte, accuracy</caption>" in page
    assert "<caption>Which demonstrations fit</caption>" in page
    assert "Few-shot: rte, accuracy" in (tmp_path / "report.tex").read_text()
    text = (tmp_path / "report.md").read_text()
    assert markdown.table(document.compose(records).pages[0].few_shot.tables[0]) in text
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "demonstration_ids" not in (tmp_path / "report.csv").read_text().splitlines()[0]
    assert "task_bytes" in (tmp_path / "report.csv").read_text().splitlines()[0]
