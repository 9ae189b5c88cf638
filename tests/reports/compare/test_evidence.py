"""From stored predictions to how sure the differences of a panel are."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest

from tests.reports.answered import ROWS, answered, world
from tests.reports.factory import record
from tunefront.bench.records import Record, Records, load_records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.compare.panels import Panel, build
from tunefront.reports.compare.recipe_choice import choose
from tunefront.reports.compare.uncertainty.checkpoints import compare_checkpoints
from tunefront.reports.compare.uncertainty.contrasts import interval
from tunefront.reports.compare.uncertainty.crossed import estimate

METHODS = {"full": 0.8, "ia3": 0.8, "features": 0.55}


def panel_of(records: Records, reference: str = "full") -> Panel:
    (panel,) = build(choose(records), reference, AnswerFiles(records.places))
    return panel


def by_hand(records: Records, labels: tuple[str, ...]) -> list[np.ndarray]:
    """(methods, runs, rows) of right answers per task, read without the code under test."""
    import pandas as pd

    tasks = sorted({made.task for made in records})
    arrays = []
    for task in tasks:
        methods = []
        for label in labels:
            runs = sorted(
                (r for r in records if (r.task, r.label) == (task, label)), key=lambda r: (r.draw_seed, r.seed)
            )
            frames = [pd.read_parquet(f"{records.places[r.key]}/predictions/{r.key}.parquet") for r in runs]
            methods.append(
                [(f.sort_values("id")["label"] == f.sort_values("id")["prediction"]).to_numpy() for f in frames]
            )
        arrays.append(np.array(methods, dtype=float))
    return arrays


def test_the_evidence_is_the_estimate_of_the_stored_answers(tmp_path):
    records = world(tmp_path, METHODS)
    known = panel_of(records).evidence
    assert known is not None
    expected = estimate([100 * array for array in by_hand(records, known.labels)])
    assert known.estimate.means == pytest.approx(expected.means)
    assert known.estimate.run == pytest.approx(expected.run)
    assert known.estimate.row == pytest.approx(expected.row)
    one = interval(expected, known.labels.index("features"), known.labels.index("full"))
    assert known.pair("features", "full").low == pytest.approx(one.low)


def test_a_difference_in_the_panel_is_that_of_the_evidence(tmp_path):
    panel = panel_of(world(tmp_path, METHODS))
    for entry in panel.entries[1:]:
        found = panel.interval(entry)
        assert found is not None
        assert panel.difference(entry) == found.difference
        assert panel.difference(entry) == pytest.approx(
            100 * (entry.average(panel.tasks) - panel.entries[0].average(panel.tasks))
        )


def test_a_clear_difference_is_told_apart_and_a_small_one_is_not(tmp_path):
    panel = panel_of(world(tmp_path, METHODS))
    tied = {entry.label for entry in panel.entries if panel.is_tied(entry)}
    assert tied == {"full", "ia3"}


def test_the_order_of_rows_in_the_files_changes_nothing(tmp_path):
    records = world(tmp_path, METHODS)
    before = panel_of(records).evidence
    import pandas as pd

    for number, path in enumerate(sorted((tmp_path / "predictions").iterdir())):
        pd.read_parquet(path).sample(frac=1, random_state=number).to_parquet(path, index=False)
    after = panel_of(records).evidence
    assert before is not None
    assert after is not None
    assert after.estimate.row == pytest.approx(before.estimate.row)


def test_the_order_of_records_changes_nothing(tmp_path):
    records = world(tmp_path, METHODS)
    shuffled = Records(random.Random(1).sample(list(records), len(records)), records.places)
    ends = [
        [(one.low, one.high) for one in known.against if one is not None]
        for known in (panel_of(records).evidence, panel_of(shuffled).evidence)
        if known is not None
    ]
    assert np.ravel(ends[0]) == pytest.approx(np.ravel(ends[1]))


def test_predictions_that_do_not_give_the_score_are_not_used(tmp_path):
    records = world(tmp_path, METHODS)
    first = next(made for made in records if made.label == "ia3")
    other = next(made for made in records if made.label == "features" and made.task == first.task)
    files = tmp_path / "predictions"
    (files / f"{first.key}.parquet").write_bytes((files / f"{other.key}.parquet").read_bytes())
    known = panel_of(records).evidence
    assert known is not None
    assert dict(zip(known.labels, known.unread, strict=True)) == {"full": 0, "ia3": 1, "features": 0}
    assert dict(zip(known.labels, known.left_out, strict=True)) == {"full": 1, "ia3": 0, "features": 1}


def test_a_method_without_any_predictions_on_a_task_is_left_out(tmp_path):
    records = world(tmp_path, METHODS)
    for made in records:
        if (made.label, made.task) == ("ia3", "trec"):
            (tmp_path / "predictions" / f"{made.key}.parquet").unlink()
    known = panel_of(records).evidence
    assert known is not None
    assert set(known.labels) == {"full", "features"}
    assert "ia3" in known.missing


def test_a_panel_without_predictions_says_why(tmp_path):
    records = world(tmp_path, METHODS)
    panel = panel_of(Records(records))
    assert panel.evidence is None
    assert "predictions" in panel.no_evidence


def test_a_method_without_every_task_is_left_out_and_named(tmp_path):
    records = world(tmp_path, METHODS)
    fewer = Records([r for r in records if (r.label, r.task) != ("ia3", "trec")], records.places)
    known = panel_of(fewer).evidence
    assert known is not None
    assert known.labels == ("full", "features")
    assert set(known.missing) == {"ia3"}


def test_runs_that_others_lack_do_not_count(tmp_path):
    records = world(tmp_path, METHODS, draws=(0, 1, 2, 3))
    fewer = Records([r for r in records if r.label != "ia3" or r.draw_seed < 3], records.places)
    known = panel_of(fewer).evidence
    assert known is not None
    assert known.estimate.runs == (3, 3)
    assert dict(zip(known.labels, known.left_out, strict=True)) == {"full": 2, "ia3": 0, "features": 2}


def test_methods_without_shared_draws_are_independent_samples(tmp_path):
    records = world(tmp_path, METHODS, draws=(0, 1, 2, 3, 4, 5))
    apart = Records([r for r in records if (r.label == "ia3") == (r.draw_seed > 2)], records.places)
    known = panel_of(apart).evidence
    assert known is not None
    assert not known.estimate.shared_runs


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
@pytest.mark.parametrize("recorded", [1, 3])
def test_a_method_that_used_no_rows_stands_for_every_draw(tmp_path, metric, recorded):
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=ROWS).tolist()
    prompted = generator.integers(2, size=ROWS).tolist()
    made = []
    for draw in range(3):
        for label in ("full", "ia3"):
            answers = np.where(generator.random(ROWS) < 0.8, labels, 1 - np.array(labels)).tolist()
            made.append(answered(tmp_path, labels, answers, label=label, draw_seed=draw, scores__headline=metric))
    free = {"label": "icl:k=0", "parameters__trainable": 0, "storage__checkpoint_bytes": 0, "scores__headline": metric}
    made += [answered(tmp_path, labels, prompted, draw_seed=draw, **free) for draw in range(recorded)]
    known = panel_of(Records(made, {one.key: str(tmp_path) for one in made})).evidence
    assert known is not None
    assert known.estimate.runs == (3,)
    assert known.left_out == (0, 0, 0)
    assert known.estimate.run is not None
    assert known.estimate.run[known.labels.index("icl:k=0")] == pytest.approx([0, 0, 0], abs=1e-9)


def test_methods_that_used_no_rows_differ_by_test_rows_alone(tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=ROWS).tolist()
    made = [
        answered(
            tmp_path,
            labels,
            np.where(generator.random(ROWS) < level, labels, 1 - np.array(labels)).tolist(),
            label=label,
            parameters__trainable=0,
            storage__checkpoint_bytes=0,
        )
        for label, level in (("full", 0.9), ("icl:k=0", 0.5))
    ]
    records = Records(made, {one.key: str(tmp_path) for one in made})
    known = panel_of(records).evidence
    assert known is not None
    assert known.rows_alone
    assert not known.estimate.checkpoints_only
    (array,) = by_hand(records, known.labels)
    gaps = 100 * (array[1, 0] - array[0, 0])
    expected = gaps.std(ddof=1) / np.sqrt(ROWS)
    assert known.pair("icl:k=0", "full").standard_error == pytest.approx(expected, rel=1e-6)


def test_without_a_second_run_only_checkpoints_are_compared(tmp_path):
    records = world(tmp_path, METHODS, tasks=("sst2",), draws=(0,))
    known = panel_of(records).evidence
    assert known is not None
    assert known.estimate.checkpoints_only
    (array,) = by_hand(records, known.labels)
    test = known.checkpoints[known.labels.index("features")]
    expected = compare_checkpoints(array[known.labels.index("features"), 0], array[0, 0], np.ones(ROWS))
    assert test == expected


@pytest.mark.parametrize(("metric", "labels"), [("macro_f1", None), ("f1[a,b]", {"a": 60, "c": 1, "b": 60})])
def test_metrics_that_are_no_means_of_rows_have_intervals(tmp_path, metric, labels):
    records = world(tmp_path, METHODS, scores__headline=metric, data__label_counts=labels)
    known = panel_of(records).evidence
    assert known is not None
    scores = [
        np.mean([100 * r.score for r in records if r.label == label and r.score is not None]) for label in known.labels
    ]
    assert known.estimate.means == pytest.approx(scores)
    assert known.estimate.run is not None


def test_regression_has_intervals(tmp_path):
    generator = np.random.default_rng(0)
    truth = generator.random(80)
    made = [
        answered(
            tmp_path,
            truth.tolist(),
            (truth + noise * generator.standard_normal(80)).tolist(),
            label=label,
            task="stsb",
            seed=seed,
            scores__headline="pearson",
            data__task_kind="regression",
        )
        for label, noise in (("full", 0.1), ("ia3", 1.0))
        for seed in range(3)
    ]
    known = panel_of(Records(made, {one.key: str(tmp_path) for one in made})).evidence
    assert known is not None
    assert known.unit == "seed"
    found = known.interval("ia3")
    assert found is not None
    assert found.high < 0


def test_an_undefined_score_leaves_its_run_out(tmp_path):
    records = world(tmp_path, METHODS)
    broken = record(label="ia3", task="sst2", draw_seed=9, scores__test={"accuracy": None}, recipe={}, settings={})
    known = panel_of(Records([*records, broken], records.places)).evidence
    assert known is not None
    assert known.labels == ("full", "ia3", "features")


def test_templates_are_averaged_within_a_draw(tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=ROWS)
    made = []
    for label, level in (("full", 0.9), ("ia3", 0.7)):
        for draw in range(3):
            for template in ("a", "b"):
                right = generator.random(ROWS) < level
                answers = np.where(right, labels, 1 - labels).tolist()
                fields = {"label": label, "draw_seed": draw, "template": template, "shots": 32}
                made.append(answered(tmp_path, labels.tolist(), answers, **fields))
    known = panel_of(Records(made, {one.key: str(tmp_path) for one in made})).evidence
    assert known is not None
    assert known.estimate.runs == (3,)
    assert known.unit == "draw"


def test_more_data_is_needed_for_every_tied_method_and_for_no_other(tmp_path):
    for seed in range(4):
        levels = {"full": 0.80, "ia3": 0.77, "lora": 0.74, "bitfit": 0.70, "features": 0.5}
        known = panel_of(world(tmp_path / str(seed), levels, spread=0.02, seed=seed)).evidence
        for label in known.labels:
            if label != known.best:
                assert known.more(label).separated == (label not in known.tied_labels)


def crossed_templates(folder: Path, labels: tuple[str, str], headline: str) -> list[Record]:
    """Two runs of two methods: one has template a with draw 0 and b with draw 1, the other b and a."""
    answers = [0, 1] * 30
    cells = [(label, number, draw) for number, label in enumerate(labels) for draw in (0, 1)]
    return [
        answered(
            folder,
            answers,
            answers,
            label=label,
            template="ab"[number ^ draw],
            draw_seed=draw,
            scores__headline=headline,
        )
        for label, number, draw in cells
    ]


@pytest.mark.parametrize("headline", ["accuracy", "macro_f1"])
def test_methods_without_a_common_template_in_any_draw_are_not_compared(tmp_path, headline):
    made = crossed_templates(tmp_path, ("full", "ia3"), headline)
    panel = panel_of(Records(made, {one.key: str(tmp_path) for one in made}))
    assert panel.evidence is None
    assert panel.no_evidence


def test_records_read_from_disk_give_the_same_evidence(tmp_path):
    records = world(tmp_path, METHODS)
    known, again = panel_of(records).evidence, panel_of(load_records(tmp_path)).evidence
    assert known is not None
    assert again is not None
    names = [field.name for field in dataclasses.fields(known) if field.name not in ("estimate", "missing")]
    assert [getattr(known, name) for name in names] == [getattr(again, name) for name in names]
    assert known.estimate.row == pytest.approx(again.estimate.row)
