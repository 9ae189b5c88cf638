"""Which scores are averaged, and which recipe is chosen for a method."""

import pytest

from tests.reports.factory import failed, grid, record
from tunefront.reports.compare.panels import build
from tunefront.reports.compare.recipe_choice import choose
from tunefront.reports.formats.csvs import summary
from tunefront.reports.sections import document


def _panels(records, **options):
    return build(choose(records), **options)


def _scored(value, **changes):
    return record(scores__test=None if value is None else {"accuracy": value}, **changes)


def _tuned(rate, selection, test, seed=0, label="ia3", **changes):
    recipe = {**record().recipe, "learning_rate": rate}
    picked = None if selection is None else {"accuracy": selection}
    return _scored(test, label=label, recipe=recipe, scores__selection=picked, seed=seed, **changes)


def test_scores_relate_to_the_mean_of_the_reference_on_the_same_task():
    panel = _panels(
        [
            _scored(0.80, seed=0),
            _scored(0.90, seed=1),
            _scored(0.70, task="trec"),
            _scored(0.83, label="ia3"),
            _scored(0.72, label="ia3", task="trec"),
        ]
    )[0]
    full, ia3 = panel.entries
    assert panel.differences(full) == pytest.approx([-5, 5, 0])
    assert panel.differences(ia3) == pytest.approx([-2, 2])
    assert panel.difference(ia3) == pytest.approx(0)
    assert full.spread("sst2") == pytest.approx(0.0707, abs=1e-4)
    assert ia3.spread("sst2") is None


def test_the_reference_is_the_requested_label():
    panel = _panels([_scored(0.8), _scored(0.7, label="ia3")], reference="ia3")[0]
    assert panel.reference.label == "ia3"
    assert panel.difference(panel.entries[1]) == pytest.approx(10)


def test_sizes_of_untrained_methods_are_sorted_by_their_numbers():
    labels = [f"icl:k={k}" for k in (16, 4, 0, 32)]
    panel = _panels([record(), *(record(label=label, parameters__trainable=0) for label in labels)])[0]
    assert [entry.label for entry in panel.entries] == ["full", "icl:k=0", "icl:k=4", "icl:k=16", "icl:k=32"]


def test_an_average_lacking_a_task_is_missing():
    panel = _panels([*grid(["full"]), record(label="ia3")])[0]
    assert panel.entries[1].average(panel.tasks) is None
    assert panel.difference(panel.entries[1]) is None
    assert not panel.covers(panel.entries[1])


def test_backbones_and_shots_are_never_averaged():
    records = [record(), record(shots=16, seed=1), record(shots=64), record(backbone="nano")]
    assert [(p.backbone, p.shots) for p in _panels(records)] == [
        ("minilm", 16),
        ("minilm", 64),
        ("minilm", None),
        ("nano", None),
    ]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_scores_count_nowhere(missing):
    panel = _panels([_scored(0.8), _scored(0.6, label="ia3"), _scored(missing, label="ia3", seed=1)])[0]
    assert panel.entries[1].scores("sst2") == [0.6]
    composed = document.compose([_scored(0.8), _scored(missing, label="ia3")])
    assert any("1 record has no finite score" in text for text in composed.warnings)
    assert document.compose([_scored(missing)]).pages[0].scores.rows[0][1].text == "—"


def test_the_best_recipe_on_selection_rows_is_chosen_for_any_test_score():
    records = [
        _tuned(1e-4, 0.70, 0.99),
        _tuned(1e-3, 0.80, 0.60),
        _tuned(1e-2, 0.75, 0.98),
        _tuned(1e-4, 0.72, 0.99, seed=1),
        _tuned(1e-3, 0.78, 0.62, seed=1),
        _tuned(1e-2, 0.90, 0.98, seed=1, status="ok"),
    ]
    selection = choose(records)
    (choice,) = selection.choices
    assert choice.chosen == (("learning_rate", "0.01"),)
    assert choice.trials == 3
    assert [(edge.name, edge.value, edge.highest) for edge in choice.edges] == [("learning_rate", "0.01", True)]
    assert choice.tried == {"learning_rate": ("0.0001", "0.001", "0.01")}
    panel = build(selection)[0]
    assert panel.entries[0].scores("sst2") == [0.98, 0.98]
    assert panel.entries[0].trials == 3


def test_a_value_inside_its_range_is_not_on_the_edge():
    (choice,) = choose([_tuned(1e-4, 0.7, 0.5), _tuned(1e-3, 0.8, 0.5), _tuned(1e-2, 0.7, 0.5)]).choices
    assert choice.edges == ()


def test_a_trial_that_lost_a_seed_cannot_win_by_the_others():
    records = [_tuned(1e-4, 0.7, 0.5), _tuned(1e-4, 0.7, 0.5, seed=1), _tuned(1e-3, 0.9, 0.5)]
    (choice,) = choose(records).choices
    assert choice.chosen == (("learning_rate", "0.0001"),)
    assert choice.incomplete == 1


def test_recipes_without_selection_scores_are_rows_of_their_own():
    panel = _panels([_tuned(1e-4, None, 0.7), _tuned(1e-3, None, 0.8), record()])[0]
    assert [entry.label for entry in panel.entries] == [
        "full",
        "ia3 (learning_rate=0.0001)",
        "ia3 (learning_rate=0.001)",
    ]
    assert {entry.family for entry in panel.entries} == {"full", "ia3"}


def test_unequal_tuning_budgets_and_edges_are_announced():
    report = document.compose([_tuned(1e-4, 0.7, 0.7), _tuned(1e-3, 0.8, 0.8), record()])
    assert any("Unequal tuning budget" in text and "ia3 2" in text for text in report.warnings)
    assert any("best learning_rate is the highest tried for ia3 (0.001)" in text for text in report.warnings)
    assert any(table.caption == "Chosen on the selection rows" for table in report.background)


def test_equal_budgets_are_those_of_methods_that_train():
    """Methods without training have nothing to tune, and the sizes of a method share its trials."""
    tuned = [_tuned(1e-4, 0.7, 0.7), _tuned(1e-3, 0.8, 0.8)]
    sizes = [record(method=f"lora:rank={rank}", label=f"lora:rank={rank}", key=f"lora{rank}") for rank in (1, 2)]
    untrained = record(method="icl:k=0", label="icl:k=0", key="icl", training__steps=0, parameters__trainable=0)
    report = document.compose([*tuned, *sizes, untrained])
    assert not any("Unequal tuning budget" in text for text in report.warnings)


def test_seconds_measured_differently_are_left_out_and_the_scores_stay():
    report = document.compose([*grid(["full"]), *grid(["ia3"], environment__threads=2)])
    panel = report.pages[0].panel
    assert panel.timing_mismatch == "threads differs (1, 2)"
    times = report.pages[0].costs[1]
    assert {row[3].text for row in times.rows} == {"—"}
    assert {row[1].text for row in times.rows} != {"—"}
    assert panel.difference(panel.entries[1]) is not None
    assert any("threads differs" in text for text in report.warnings)
    assert "median_seconds.train" in summary(report)


def test_without_a_reference_scores_are_shown_themselves():
    report = document.compose(grid(["ia3", "bitfit"]))
    panel = report.pages[0].panel
    height = panel.height(panel.entries[0])
    assert height is not None
    assert height.value > 50
    assert "no scored record of full" in " ".join(report.lead)


def test_the_lead_states_the_finding_with_its_denominator_and_doubt():
    def runs(label, gap):
        return [_scored(0.8 + gap + s / 200, label=label, task=t, seed=s) for t in ("sst2", "trec") for s in (0, 1)]

    lead = " ".join(document.compose([*runs("full", 0), *runs("ia3", -0.004), *runs("features", -0.2)]).lead)
    assert "ia3 came within 0.4 points of full" in lead
    assert "of the backbone's 22,713,216" in lead
    assert "2 tasks × 2 runs" in lead
    assert "How sure this is cannot be computed" in lead


def test_only_skipped_and_failed_cells_make_a_clear_report():
    report = document.compose([failed(), failed("skipped", "not here")])
    assert report.pages == ()
    (lead,) = report.lead
    assert "1 cell was skipped and 1 cell failed" in lead
    assert [row[-1].text for row in report.absent.rows] == ["loss is not finite at step 12", "not here"]


def _mixed():
    """Accuracy on two tasks and a correlation on a third: their scores have no average."""
    similar = [
        record(
            label=label,
            task="stsb",
            scores__headline="pearson",
            scores__test={"pearson": score},
            scores__baseline={"pearson": None},
            data__task_kind="regression",
        )
        for label, score in (("full", 0.012), ("ia3", 0.5))
    ]
    classes = [
        record(label=label, task=task, scores__test={"accuracy": score}, scores__baseline={"accuracy": 0.5})
        for task in ("sst2", "trec")
        for label, score in (("full", 0.72), ("ia3", 0.70))
    ]
    return [*classes, *similar]


def test_scores_of_different_metrics_are_never_averaged():
    """Each metric has a panel: no average, difference, percentile or plot is over two of them."""
    report = document.compose(_mixed())
    assert [(page.panel.metric, page.panel.tasks) for page in report.pages] == [
        ("accuracy", ("sst2", "trec")),
        ("pearson", ("stsb",)),
    ]
    assert [page.title for page in report.pages] == ["minilm, accuracy", "minilm, pearson"]
    accuracy, pearson = (page.scores for page in report.pages)
    assert [column.under for column in accuracy.columns[3:5]] == ["accuracy"] * 2
    assert [cell.text for cell in accuracy.rows[0][1:5]] == ["72.0", "0.0", "72.0", "72.0"]
    assert [cell.text for cell in pearson.rows[0][1:4]] == ["1.2", "0.0", "1.2"]
    assert "different metrics have no average" in accuracy.note
    gaps = {(p.metric, e.label): p.difference(e) for p in (page.panel for page in report.pages) for e in p.entries}
    assert gaps["accuracy", "ia3"] == pytest.approx(-2)
    assert gaps["pearson", "ia3"] == pytest.approx(48.8)
    for page in report.pages:
        for entry in page.panel.entries:
            height = page.panel.height(entry)
            assert height is not None
            assert height.value == pytest.approx(gaps[page.panel.metric, entry.label])
    glance = report.overview
    assert glance is not None
    assert [column.under for column in glance.columns[1:]] == ["accuracy", "pearson"]
    shown = "".join(cell.text for page in report.pages for row in page.scores.rows for cell in row)
    assert "36.6" not in shown
    assert "36.6" not in "".join(report.lead)


def test_a_single_metric_is_not_in_the_title():
    (page,) = document.compose(grid(["full", "ia3"], tasks=["sst2"], seeds=(0,))).pages
    assert (page.title, page.panel.by_metric) == ("minilm", "")


def test_a_reference_with_several_recipes_is_explained():
    tried = [_tuned(rate, None, 0.7, label="full") for rate in (1e-4, 1e-3)]
    report = document.compose([*tried, record(label="ia3")])
    assert "full was run with several recipes" in report.lead[1]
    assert report.pages[0].panel.reference is None


def test_a_method_that_trains_nothing_is_the_cheapest():
    lead = document.compose(
        [_scored(0.8), _scored(0.8, label="icl", parameters__trainable=0), _scored(0.8, label="ia3")]
    ).lead
    assert lead[0].startswith("icl scored the same as full on average, training no parameters")


def test_the_baseline_row_is_the_mean_over_records():
    table = document.compose(grid(["full", "ia3"], tasks=["sst2", "trec"])).pages[0].scores
    assert [cell.text for cell in table.rows[-1][:5]] == ["commonest label", "36.3", "", "53.0", "19.7"]
