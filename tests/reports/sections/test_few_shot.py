"""Templates, draws, orders and seeds: medians, interquartile ranges, pairs and the sources of the spread."""

from __future__ import annotations

import math

import pytest

from tests.reports.factory import grid, record
from tests.reports.prompted import prompted
from tunefront.reports.compare.factors import rows_used
from tunefront.reports.compare.panels import build
from tunefront.reports.compare.recipe_choice import choose
from tunefront.reports.compare.statistics import interquartile_range
from tunefront.reports.formats.csvs import summary
from tunefront.reports.sections import document, few_shot

A, B = "can we infer", "should assume"


def _scored(value, label="ia3", template=A, draw=0, **changes):
    return prompted(label=label, template=template, draw_seed=draw, scores__test={"accuracy": value}, **changes)


FOUR = {(A, 0): 0.5, (A, 1): 0.6, (B, 0): 0.7, (B, 1): 0.9}


def _four(label="ia3", scores=FOUR, **changes):
    return [_scored(value, label, template, draw, **changes) for (template, draw), value in scores.items()]


def _panel(records, **options):
    return build(choose(records), **options)[0]


def _table(records, task=0):
    """The few-shot table of a task as rows by label, each a text per column."""
    shown = document.compose(records).pages[0].few_shot.tables[task]
    heads = [column.head for column in shown.columns]
    return {
        row[0].text: dict(zip(heads, (f"{c.text} {c.minor}".strip() for c in row), strict=True)) for row in shown.rows
    }


def test_the_median_and_iqr_are_over_templates_and_draws_at_once():
    row = _table(_four())["ia3"]
    assert (row["median"], row["IQR"], row["runs"]) == ("65.0", "17.5", "4")


def test_the_iqr_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    for values in ([0.5, 0.6], [0.1, 0.4, 0.45], [0.5, 0.6, 0.7, 0.9], [0.3, 0.3, 0.9, 0.2, 0.8, 0.7, 0.1]):
        assert interquartile_range(values) == pytest.approx(stats.iqr(values))


def test_the_split_is_the_deviation_of_the_levels_means():
    row = _table(_four())["ia3"]  # templates 0.55 and 0.80, draws 0.60 and 0.75
    assert row["templates"] == f"{100 * 0.25 / math.sqrt(2):.1f} (2)" == "17.7 (2)"
    assert row["draws"] == f"{100 * 0.15 / math.sqrt(2):.1f} (2)" == "10.6 (2)"
    assert row["seeds"] == "— (1)"
    assert "orders" not in row


def test_a_difference_is_between_runs_of_the_same_template_draw_and_seed():
    full = {(A, 0): 0.4, (A, 1): 0.7, (B, 0): 0.65, (B, 1): 0.7}
    panel = _panel([*_four("full", full), *_four()])
    base, ia3 = panel.entries
    assert sorted(panel.differences(ia3)) == pytest.approx([-10, 5, 10, 20])
    assert panel.difference(ia3) == pytest.approx(6.25)
    assert panel.differences(base) == [0, 0, 0, 0]
    assert _table([*_four("full", full), *_four()])["ia3"]["against"] == "+6.3"


def test_a_run_without_a_counterpart_is_in_no_difference_and_is_announced():
    records = [*_four("full", {(A, 0): 0.4, (A, 1): 0.5}), *_four()]
    panel = _panel(records)
    assert panel.differences(panel.entries[1]) == pytest.approx([10, 10])
    report = document.compose(records)
    assert any("do not cover the same templates, draws and seeds" in text for text in report.warnings)


def test_a_seed_pairs_with_its_own_seed():
    scores = [("full", 0, 0.5), ("full", 1, 0.9), ("ia3", 0, 0.6), ("ia3", 1, 0.7)]
    records = [_scored(value, label, t, seed=seed) for label, seed, value in scores for t in (A, B)]
    panel = _panel(records)
    assert sorted(panel.differences(panel.entries[1])) == pytest.approx([-20, -20, 10, 10])


def test_draws_of_another_source_are_other_draws():
    published, by_hash = (
        _scored(value, data__draw_source=source) for value, source in ((0.5, "few_shot/32_shot"), (0.7, None))
    )
    panel = _panel([published, by_hash])
    assert panel.few_shot
    assert _table([published, by_hash])["ia3"]["draws"] == f"{100 * 0.2 / math.sqrt(2):.1f} (2)"


def test_groups_with_only_seeds_keep_their_mean():
    for records in (grid(["full", "ia3"]), [_scored(0.5), _scored(0.8, seed=1), _scored(0.9, seed=2)]):
        panel = _panel(records)
        assert not panel.few_shot
        assert document.compose(records).pages[0].few_shot is None
    assert panel.entries[0].center("dir:data/rte") == pytest.approx(2.2 / 3)
    assert panel.entries[0].spread("dir:data/rte") == pytest.approx(0.2082, abs=1e-4)


def test_the_average_is_the_mean_of_the_tasks_means():
    other = {(A, 0): 0.1, (A, 1): 0.2, (B, 0): 0.4}
    panel = _panel([*_four(), *_four(scores=other, task="dir:data/cb")])
    assert panel.entries[0].average(panel.tasks) == pytest.approx((0.675 + 0.7 / 3) / 2)


def test_missing_combinations_are_counted():
    some = {cell: value for cell, value in FOUR.items() if cell != (B, 1)}
    assert _table(_four(scores=some))["ia3"]["runs"] == "3 of 4"
    assert "different cells" in document.compose(_four(scores=some)).pages[0].few_shot.tables[0].note


ORDERS = {"icl:k=4": 0.5, "icl:k=4,order=1": 0.6, "icl:k=4,order=2": 0.7}


def _orders(names=tuple(ORDERS), **changes):
    return [_scored(ORDERS[name], name, template, **changes) for name in names for template in (A, B)]


def test_orders_of_the_same_demonstrations_are_one_row():
    records = [*_four("full"), *_orders()]
    panel = _panel(records)
    assert [entry.label for entry in panel.entries] == ["full", "icl:k=4"]
    row = _table(records)["icl:k=4"]
    assert row["orders"] == "10.0 (3)"
    assert (row["k"], row["median"], row["runs"]) == ("4", "60.0", "6")
    shown = document.compose(records).pages[0].runs[1].parts[0][1]
    places = [[column.head for column in shown.columns].index(head) for head in ("template", "order", "score")]
    listed = [tuple(row[place].text for place in places) for row in shown.rows]
    assert listed == [
        *((A, order, score) for order, score in (("0", "50.0"), ("1", "60.0"), ("2", "70.0"))),
        *((B, order, score) for order, score in (("0", "50.0"), ("1", "60.0"), ("2", "70.0"))),
    ]


def test_one_order_alone_keeps_its_name():
    assert [e.label for e in _panel(_orders(["icl:k=4,order=1"])).entries] == ["icl:k=4,order=1"]


def test_other_demonstrations_are_not_another_order():
    records = [*_orders(["icl:k=4"]), *_orders(["icl:k=4,order=1"], demonstrations=("7", "8", "9", "10"))]
    assert {entry.label for entry in _panel(records).entries} == {"icl:k=4", "icl:k=4,order=1"}


def test_a_reference_that_names_an_order_is_a_row_of_its_own():
    panel = _panel(_orders(), reference="icl:k=4,order=1")
    assert panel.reference.label == "icl:k=4,order=1"
    by_label = {entry.label: panel.difference(entry) for entry in panel.entries}
    assert by_label == pytest.approx({"icl:k=4,order=1": 0, "icl:k=4": -10, "icl:k=4,order=2": 10})


def test_a_field_called_order_means_nothing_without_demonstrations():
    records = [record(label=f"mine:order={order}", method=f"mine:order={order}") for order in (0, 1)]
    assert len(_panel(records).entries) == 2


def test_k_is_the_number_of_rows_that_a_method_used():
    assert rows_used(prompted(label="icl:k=4")) == 4
    assert rows_used(prompted(label="icl:k=0")) == 0
    assert rows_used(prompted(label="ia3")) == 32
    assert rows_used(prompted(label="ia3", parameters__trainable=None)) is None
    few = _orders(["icl:k=4"], prompt__demonstrations_per_row=1.25, prompt__shortened_test=250)
    assert _table(few)["icl:k=4"]["k"] == "4 1.2 kept"


def test_what_a_method_keeps_of_the_rows_counts_as_used():
    assert rows_used(record(label="knn", parameters__trainable=0, storage__checkpoint_bytes=9, data__n_train=32)) == 32


def test_a_method_that_used_no_rows_is_compared_with_every_draw_of_its_template():
    """Zero-shot runs once: its one score stands for all draws."""
    zero = [_scored(0.55, "icl:k=0", template) for template in (A, B)]
    panel = _panel([*_four(), *zero], reference="ia3")
    by_label = {entry.label: panel.task_differences(entry, "dir:data/rte") for entry in panel.entries}
    assert by_label["icl:k=0"] == pytest.approx([5, -5, -15, -35])
    assert by_label["ia3"] == pytest.approx([0, 0, 0, 0])
    shown = document.compose([*_four(), *zero])
    assert not any("do not cover" in text for text in shown.warnings)


def test_a_reference_that_used_no_rows_is_compared_with_every_draw():
    zero = [_scored(0.5, "icl:k=0", A)]
    panel = _panel([*_four(), *zero], reference="icl:k=0")
    (ia3,) = (entry for entry in panel.entries if entry.label == "ia3")
    assert panel.task_differences(ia3, "dir:data/rte") == pytest.approx([0, 10])  # its other template has no zero-shot


def test_methods_with_rows_in_different_draws_are_still_named():
    shown = document.compose([*_four(), *_four("full", {(A, 0): 0.5})])
    assert any("do not cover" in text for text in shown.warnings)


def test_the_nesting_of_draws_is_explained():
    published = " ".join(document.compose(_four()).pages[0].few_shot.text)
    assert "not nested: no median over draws of medians over templates" in published
    assert "published files (few_shot/32_shot), which are not nested" in published
    by_hash = " ".join(document.compose(_four(data__draw_source=None)).pages[0].few_shot.text)
    assert "Draws by hash are nested" in by_hash
    assert "published" not in by_hash


def test_an_encoder_has_no_column_of_templates():
    records = [record(label="ia3", draw_seed=draw, shots=32) for draw in (0, 1)]
    assert list(_table(records)["ia3"]) == ["method", "k", "median", "IQR", "draws", "seeds", "runs"]


def test_a_range_of_templates_in_words():
    three = [_scored(0.5, template=name) for name in "abc"]
    assert few_shot.describe_levels([_four(), three]) == "2–3 templates × 1–2 draws × 1 seed"
    assert few_shot.describe_levels([_four()]) == "2 templates × 2 draws × 1 seed"


def test_the_summary_as_csv_has_both_kinds_of_centre():
    header, row = summary(document.compose(_four())).splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(values["mean_score"]) == pytest.approx(0.675)
    assert float(values["median_score"]) == pytest.approx(0.65)
    assert float(values["score_interquartile_range"]) == pytest.approx(0.175)
    assert (values["n_templates"], values["n_draws"], values["n_orders"], values["n_seeds"]) == ("2", "2", "", "1")
    assert float(values["standard_deviation_of_template_means"]) == pytest.approx(0.25 / math.sqrt(2))
    assert values["rows_used"] == "32"


def test_the_lead_counts_the_pairs():
    full = {(A, 0): 0.5, (A, 1): 0.55, (B, 0): 0.75, (B, 1): 0.9}
    lead = " ".join(document.compose([*_four("full", full), *_four()]).lead)
    assert "ia3 scored the same as full on average" in lead
    assert "1 task × 4 runs (2 templates × 2 draws × 1 seed)" in lead
    assert "ia3 was higher in 1 of 4 runs, equal in 2 and lower in 1" in lead
