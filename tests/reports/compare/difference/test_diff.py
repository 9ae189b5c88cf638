"""Two sets of results as they are stored: what is compared, what is refused, and what is said of each method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.reports.answered import ROWS, answered, world
from tests.reports.factory import failed, record, sha
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, Records
from tunefront.reports.compare.difference.diff import Difference, diff

METHODS = {"full": 0.8, "ia3": 0.8, "features": 0.55}


def compared(old: Records, new: Records, **options) -> Difference:
    return diff(old, new, old.places, new.places, **options)


def verdicts(known: Difference) -> dict[str, str]:
    return {one.label: one.verdict for one in known.methods}


def together(*parts: Records) -> Records:
    places = {key: place for part in parts for key, place in part.places.items()}
    return Records([made for part in parts for made in part], places)


def seeded(folder: Path, truth: int, luck: int, levels=METHODS, draws=(0, 1, 2), **changes) -> Records:
    """Records whose rows and labels are those of `truth`, and whose runs have the luck of another seed."""
    records = []
    rows, noise = np.random.default_rng(truth), np.random.default_rng(luck + 1000)
    for task in ("sst2", "trec"):
        labels, hard = rows.integers(2, size=ROWS), rows.random(ROWS)
        for label, level in levels.items():
            for draw in draws:
                reached = level + 0.03 * noise.standard_normal()
                right = 0.7 * hard + 0.3 * noise.random(ROWS) < reached
                answers = np.where(right, labels, 1 - labels)
                fields = {"label": label, "task": task, "draw_seed": draw, "seed": luck, **changes}
                records.append(answered(folder, labels.tolist(), answers.tolist(), **fields))
    return Records(records, {made.key: str(folder) for made in records})


def test_the_same_folder_twice_has_no_change(tmp_path):
    records = world(tmp_path, METHODS)
    known = compared(records, records)
    assert set(verdicts(known).values()) == {"same"}
    assert not known.regressed
    assert not known.costs
    assert not known.changed
    assert {one.verdict for one in known.checkpoints} == {"same"}


@pytest.mark.parametrize("luck", [1, 2])
def test_another_seed_is_no_regression(tmp_path, luck):
    known = compared(seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, luck))
    assert set(verdicts(known).values()) == {"no change seen"}
    assert all(one.paired for one in known.methods)  # by draw


def test_a_real_loss_is_a_regression_of_that_method_alone(tmp_path):
    known = compared(seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1, {**METHODS, "ia3": 0.5}))
    assert known.worse == ["ia3"]
    assert known.regressed
    (lost,) = (one for one in known.methods if one.label == "ia3")
    assert lost.low is not None
    assert lost.high is not None
    assert lost.low < lost.change < lost.high < 0
    assert lost.change == pytest.approx(lost.new - lost.old)


def test_a_gain_is_no_regression(tmp_path):
    known = compared(seeded(tmp_path / "a", 0, 0, {**METHODS, "ia3": 0.5}), seeded(tmp_path / "b", 0, 1))
    assert verdicts(known)["ia3"] == "better"
    assert not known.regressed


def test_a_loss_within_the_tolerance_is_no_regression(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1, {**METHODS, "ia3": 0.5})
    assert not compared(old, new, tolerance=60).regressed
    assert verdicts(compared(old, new, tolerance=60))["ia3"] == "tolerated"
    assert compared(old, new, tolerance=1).worse == ["ia3"]


def test_runs_of_other_draws_are_independent_samples(tmp_path):
    known = compared(seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 0, draws=(5, 6, 7)))
    assert not any(one.paired for one in known.methods)
    assert set(verdicts(known).values()) == {"no change seen"}


def test_runs_without_a_counterpart_do_not_count(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1, draws=(0, 1, 2, 3))
    known = compared(old, new)
    fewer = compared(old, Records([made for made in new if made.draw_seed < 3], new.places))
    assert [one.left_out for one in known.methods] == [(0, 2)] * 3
    assert [one.change for one in known.methods] == [one.change for one in fewer.methods]


def test_methods_with_other_runs_keep_theirs(tmp_path):
    old, new = (seeded(tmp_path / name, 0, luck, draws=(0, 1, 2, 3)) for luck, name in enumerate("ab"))
    fewer = [Records([r for r in side if r.label != "ia3" or r.draw_seed < 2], side.places) for side in (old, new)]
    known = {one.label: one for one in compared(*fewer).methods}
    assert known["full"].runs == (8, 8)
    assert known["ia3"].runs == (4, 4)
    assert known["ia3"].low is not None


def test_one_run_says_nothing_about_methods(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0, draws=(0,)), seeded(tmp_path / "b", 0, 1, {"full": 0.3}, draws=(0,))
    known = compared(old, new)
    assert verdicts(known) == {"full": "too few runs"}
    assert not known.regressed
    assert known.methods[0].more_runs == 1
    assert known.checkpoints[0].p < 0.05


def test_the_checkpoints_of_one_run_can_be_guarded(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0, draws=(0,)), seeded(tmp_path / "b", 0, 1, {"full": 0.3}, draws=(0,))
    known = compared(old, new, checkpoints=True)
    assert len(known.worse) == 2
    assert known.regressed
    assert not compared(old, new, checkpoints=True, tolerance=80).regressed


def test_without_checkpoints_they_cannot_be_guarded(tmp_path):
    old, new = world(tmp_path / "a", METHODS), world(tmp_path / "b", METHODS)
    with pytest.raises(UserError, match="--checkpoints"):
        diff(old, new, {}, {}, checkpoints=True)


@pytest.mark.parametrize(("level", "verdict"), [(0.8, "no change seen"), (0.5, "worse")])
def test_scores_alone_are_enough(tmp_path, level, verdict):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1, {**METHODS, "ia3": level})
    known = diff(old, new, {}, {})
    assert verdicts(known)["ia3"] == verdict
    assert {one.basis for one in known.methods} == {"runs"}
    assert not known.checkpoints


def test_where_some_predictions_are_missing_all_scores_are_compared(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0, {"full": 0.8}), seeded(tmp_path / "b", 0, 1, {"full": 0.8})
    (tmp_path / "b" / "predictions" / f"{new[0].key}.parquet").unlink()
    known = compared(old, new)
    (change,) = known.methods
    (by_scores,) = diff(old, new, {}, {}).methods
    assert change == by_scores
    assert len(known.checkpoints) == 5


def test_macro_f1_has_intervals_over_rows(tmp_path):
    fields = {"scores__headline": "macro_f1"}
    old = seeded(tmp_path / "a", 0, 0, **fields)
    new = seeded(tmp_path / "b", 0, 0, {**METHODS, "ia3": 0.5}, **fields)
    known = compared(old, new)
    assert known.worse == ["ia3"]
    assert {one.basis for one in known.methods} == {"rows and runs"}


def test_macro_f1_of_other_draws_is_compared_by_scores(tmp_path):
    fields = {"scores__headline": "macro_f1"}
    old = seeded(tmp_path / "a", 0, 0, **fields)
    known = compared(old, seeded(tmp_path / "b", 0, 1, {**METHODS, "ia3": 0.4}, draws=(7, 8, 9), **fields))
    assert {one.basis for one in known.methods} == {"runs"}
    assert known.worse == ["ia3"]


def test_regression_tasks_are_compared(tmp_path):
    truth = np.random.default_rng(0).random(80)

    def side(name: str, noise: float) -> Records:
        generator = np.random.default_rng(round(100 * noise))
        fields = {"task": "stsb", "scores__headline": "pearson", "data__task_kind": "regression"}
        made = [
            answered(
                tmp_path / name,
                truth.tolist(),
                (truth + noise * generator.standard_normal(80)).tolist(),
                seed=seed,
                **fields,
            )
            for seed in range(3)
        ]
        return Records(made, {one.key: str(tmp_path / name) for one in made})

    known = compared(side("a", 0.1), side("b", 1.0))
    assert known.worse == ["full"]
    assert not known.checkpoints


def test_a_method_that_uses_no_rows_is_compared_on_its_test_rows(tmp_path):
    fields = {"label": "icl:k=0", "parameters__trainable": 0, "storage__checkpoint_bytes": 0}
    labels = [0, 1] * (ROWS // 2)
    some = [1 - label if place < 3 else label for place, label in enumerate(labels)]
    sides = []
    for name, answers in (("a", labels), ("b", some), ("c", [0] * ROWS)):
        made = answered(tmp_path / name, labels, answers, **fields)
        sides.append(Records([made], {made.key: str(tmp_path / name)}))
    assert verdicts(compared(sides[0], sides[1])) == {"icl:k=0": "no change seen"}
    assert verdicts(compared(sides[0], sides[2])) == {"icl:k=0": "worse"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"fingerprints": {"task": sha("other rows")}}, "task_fingerprint"),
        ({"recipe": {"dtype": "bfloat16"}}, "dtype"),
        ({"environment__device": "cuda"}, "device"),
        ({"settings": {"eval_rows": 100}}, "eval_rows"),
        ({"settings": {"max_length": 64}}, "max_length"),
        ({"scores__headline": "macro_f1"}, "headline"),
        ({"data__eval_split": "validation"}, "eval_split"),
    ],
)
def test_what_is_measured_otherwise_is_not_compared(tmp_path, changes, field):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1, **changes)
    with pytest.raises(UserError, match=f"nothing can be compared.*{field}"):
        compared(old, new)


def test_a_setting_under_test_can_be_allowed(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1, settings={"max_length": 64})
    known = compared(old, new, allowed=["max_length"])
    assert set(verdicts(known)) == set(METHODS)
    assert any("max_length" in text for text in known.changed)


@pytest.mark.parametrize(("field", "message"), [("eval_rows", "other rows"), ("max_lenght", "max_length")])
def test_what_cannot_be_allowed_is_a_mistake(tmp_path, field, message):
    records = seeded(tmp_path, 0, 0, settings={"max_length": 64})
    with pytest.raises(UserError, match=message):
        compared(records, records, allowed=[field])


def test_other_scored_rows_are_not_compared(tmp_path):
    old = seeded(tmp_path / "a", 0, 0)
    new = [answered(tmp_path / "b", [0, 1] * 5, [0, 1] * 5, task=task) for task in ("sst2", "trec")]
    with pytest.raises(UserError, match="scored rows"):
        compared(old, Records(new, {made.key: str(tmp_path / "b") for made in new}))


def test_what_is_comparable_is_compared_and_the_rest_named(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1)
    moved = [
        made.model_copy(update={"fingerprints": {**made.fingerprints, "task": sha("new")}})
        if made.task == "trec"
        else made
        for made in new
    ]
    known = compared(old, Records(moved, new.places))
    assert {one.tasks for one in known.methods} == {("sst2",)}
    assert {(one.field, one.task) for one in known.refused} == {("task_fingerprint", "trec")}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"recipe": {"learning_rate": 0.1}}, "learning_rate none → 0.1"),
        ({"versions": {"torch": "3.0.0"}}, "torch 2.9.0 → 3.0.0"),
        ({"fingerprints": {"method": sha("new code"), "task": sha("sst2")}}, "the source of the method"),
        ({"fingerprints": {"backbone": sha("new weights"), "task": sha("sst2")}}, "the files of the backbone"),
    ],
)
def test_what_is_tested_may_differ_and_is_named(tmp_path, changes, text):
    old, new = (
        world(tmp_path / name, {"full": 0.8}, tasks=("sst2",), **more) for name, more in (("a", {}), ("b", changes))
    )
    known = compared(old, new)
    assert text in known.changed
    assert verdicts(known) == {"full": "same"}


def test_methods_and_tasks_of_one_side_are_named(tmp_path):
    old = seeded(tmp_path / "a", 0, 0)
    new = seeded(tmp_path / "b", 0, 1, {"full": 0.8, "ia3": 0.8, "lora": 0.8})
    kept = Records([made for made in new if (made.label, made.task) != ("ia3", "trec")], new.places)
    known = compared(old, kept)
    assert set(known.only_old) == {"features", "ia3 (trec)"}
    assert known.only_new == ("lora",)
    assert {one.label: one.tasks for one in known.methods} == {"full": ("sst2", "trec"), "ia3": ("sst2",)}


def test_a_method_that_fails_now_is_a_regression(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1, {"full": 0.8})
    broken = failed(label="ia3", task="sst2", reason="loss is not finite")
    known = compared(old, together(new, Records([broken])))
    assert [(one.label, one.task, one.reason) for one in known.lost] == [("ia3", "sst2", "loss is not finite")]
    assert known.regressed
    assert "features" in known.only_old


def test_a_failure_after_an_older_score_of_the_same_cells_is_a_regression(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0), seeded(tmp_path / "b", 0, 1)
    created = "2026-01-02T03:04:05Z"  # after the factory's records
    cells = [
        failed(
            label="ia3",
            task=made.task,
            draw_seed=made.draw_seed,
            seed=made.seed,
            settings=made.settings,
            environment__created_at=created,
        )
        for made in new
        if made.label == "ia3"
    ]
    known = compared(old, together(new, Records(cells)))
    assert known.regressed
    assert {one.label for one in known.lost} == {"ia3"}
    assert "ia3" not in verdicts(known)


def test_a_method_that_failed_before_is_none(tmp_path):
    old, new = seeded(tmp_path / "a", 0, 0, {"full": 0.8}), seeded(tmp_path / "b", 0, 1, {"full": 0.8})
    broken = Records([failed(label="ia3", task="sst2")])
    assert not compared(together(old, broken), together(new, broken)).regressed


def test_a_failure_that_was_mended_does_not_count(tmp_path):
    old, new = (seeded(tmp_path / name, 0, 0, {"full": 0.8}) for name in "ab")
    broken = failed(label="full", task="sst2", draw_seed=0, seed=0)
    assert not compared(old, together(new, Records([broken]))).regressed


def test_the_newest_record_of_a_cell_counts(tmp_path):
    old = seeded(tmp_path / "a", 0, 0, {"full": 0.8})
    before = seeded(tmp_path / "b", 0, 0, {"full": 0.5}, environment__created_at="2025-01-01T00:00:00Z")
    known = compared(old, together(before, old))
    assert verdicts(known) == {"full": "same"}
    assert "6 older records" in known.notes[0]


@pytest.mark.parametrize("side", ["old", "new"])
def test_an_empty_set_is_a_mistake(tmp_path, side):
    records = world(tmp_path, {"full": 0.8})
    sides = (Records(), records) if side == "old" else (records, Records())
    with pytest.raises(UserError, match=f"the {side} results have no records"):
        compared(*sides)


def test_a_set_without_scores_is_a_mistake(tmp_path):
    records = world(tmp_path, {"full": 0.8})
    with pytest.raises(UserError, match="loss is not finite"):
        compared(records, Records([failed(label="full", task="sst2")]))
    with pytest.raises(UserError, match="no record of the old results has a score"):
        compared(Records([failed(label="full", task="sst2")]), records)


def test_a_set_that_cannot_be_compared_with_itself_names_the_side(tmp_path):
    records = world(tmp_path, {"full": 0.8})
    mixed = Records([*records, record(label="ia3", recipe={"dtype": "bfloat16"}, settings={})], records.places)
    with pytest.raises(UserError, match=r"the new results: .*dtype"):
        compared(records, mixed)


def test_sets_without_a_common_method_say_what_each_has(tmp_path):
    with pytest.raises(UserError, match="have full; the new ones have ia3"):
        compared(world(tmp_path / "a", {"full": 0.8}), world(tmp_path / "b", {"ia3": 0.8}))


def test_folders_of_a_moved_task_are_one_task(tmp_path):
    old = seeded(tmp_path / "a", 0, 0, {"full": 0.8})
    new = seeded(tmp_path / "b", 0, 1, {"full": 0.8})
    moved = [made.model_copy(update={"task": f"dir:/elsewhere/{made.task}"}) for made in new]
    assert compared(old, Records(moved, new.places)).methods[0].tasks == ("sst2", "trec")


def test_costs_that_changed_are_named(tmp_path):
    old = seeded(tmp_path / "a", 0, 0, {"full": 0.8})
    new = seeded(tmp_path / "b", 0, 1, {"full": 0.8}, flops__train=2 * old[0].flops.train)
    (change,) = (one for one in compared(old, new).costs if not one.noisy)
    assert (change.cost, change.ratio) == ("training FLOPs", 2)


def test_times_of_other_machines_are_not_compared(tmp_path):
    old = seeded(tmp_path / "a", 0, 0, {"full": 0.8}, seconds__train=1.0)
    fields = {"seconds__train": 9.0}
    same = seeded(tmp_path / "b", 0, 1, {"full": 0.8}, **fields)
    other = seeded(tmp_path / "c", 0, 1, {"full": 0.8}, environment__cpu_model="Another CPU", **fields)
    assert "training time" in {one.cost for one in compared(old, same).costs}
    assert "training time" not in {one.cost for one in compared(old, other).costs}
    assert not compared(old, same).notes
    (note,) = compared(old, other).notes
    assert "cpu_model differs" in note  # else one would take them for unchanged
    assert "full" in note


def test_a_machine_that_was_busy_does_not_change_the_time(tmp_path):
    fields = {"cpu_seconds__train": 2.0}
    old = seeded(tmp_path / "a", 0, 0, {"full": 0.8}, seconds__train=2.0, **fields)
    new = seeded(tmp_path / "b", 0, 1, {"full": 0.8}, seconds__train=20.0, **fields)
    assert "training time" not in {one.cost for one in compared(old, new).costs}


def test_records_without_predictions_of_the_same_key_are_the_same(tmp_path):
    records: list[Record] = [record(seed=seed) for seed in range(3)]
    known = diff(records, records, {}, {})
    assert verdicts(known) == {"full": "same"}


def test_only_templates_that_both_have_are_compared(tmp_path):
    old = together(*(seeded(tmp_path / name, 0, 0, {"full": 0.8}, template=name) for name in "ab"))
    new = seeded(tmp_path / "c", 0, 0, {"full": 0.8}, template="a")
    (known,) = compared(old, new).methods
    assert (known.verdict, known.change) == ("same", 0)


def test_runs_whose_draws_have_other_templates_are_refused(tmp_path):
    old, new = (
        Records(
            [
                answered(tmp_path / side, [0, 1] * 30, [0, 1] * 30, template=template, draw_seed=draw)
                for draw, template in enumerate(templates)
            ]
        )
        for side, templates in (("a", "ab"), ("b", "ba"))
    )
    with pytest.raises(UserError, match="template"):
        compared(old, new)


def test_several_backbones_and_shots_are_compared_apart(tmp_path):
    sides = []
    for name, luck in (("a", 0), ("b", 1)):
        made = [seeded(tmp_path / f"{name}{shots}", 0, luck, {"full": 0.8}, shots=shots) for shots in (16, 64)]
        sides.append(together(*made, seeded(tmp_path / f"{name}-nano", 0, luck, {"full": 0.8}, backbone="nano")))
    known = compared(*sides)
    assert {(one.backbone, one.shots) for one in known.methods} == {("minilm", 16), ("minilm", 64), ("nano", None)}
    assert set(verdicts(known).values()) == {"no change seen"}


def test_stores_that_differ_by_a_seed_alone_rarely_give_an_alarm():
    """At most 5 of 100 differences of two methods; 12 would be three standard errors more."""
    generator = np.random.default_rng(0)

    def side(seed: int) -> list[Record]:
        runs = [(label, task, draw) for label in ("full", "ia3") for task in "ab" for draw in range(3)]
        scores = 0.8 + 0.03 * generator.standard_normal(len(runs))
        return [
            record(label=label, task=task, draw_seed=draw, seed=seed, scores__test={"accuracy": score})
            for (label, task, draw), score in zip(runs, scores, strict=True)
        ]

    alarms = [
        any(one.verdict in ("worse", "better") for one in diff(side(0), side(1), {}, {}).methods) for _ in range(100)
    ]
    assert sum(alarms) <= 11
