"""Draws: nested, seeded, the same everywhere; held-out rows: stratified and never trained on."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tunefront.bench.data.sampling import draw, eval_rows, hold_out, selection
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError


def rows(count: int, classes: int = 3, split: str = "train") -> list[Row]:
    return [Row(str(i), {"text": f"{split} row {i}"}, i % classes) for i in range(count)]


def task(kind="classification", **splits: list[Row]) -> Task:
    return Task("toy", kind, splits, ("text",), ("a", "b", "c"), (MetricSpec("accuracy"),))


def test_a_smaller_draw_is_a_prefix_of_a_larger_one():
    toy = task(train=rows(200), test=rows(10))
    everything = draw(toy, None, 5)
    assert sorted(row.id for row in everything) == sorted(row.id for row in toy.splits["train"])
    for shots in (0, 1, 4, 16, 200):
        assert draw(toy, shots, 5) == everything[:shots]


def test_the_draw_seed_alone_changes_the_order():
    toy = task(train=rows(200), test=rows(10))
    assert draw(toy, 50, 0) == draw(toy, 50, 0)
    assert draw(toy, 50, 0) != draw(toy, 50, 1)


def test_rows_added_to_the_split_leave_the_others_in_order():
    small, large = task(train=rows(100), test=rows(9)), task(train=rows(150), test=rows(9))
    old = {row.id for row in small.splits["train"]}
    assert [row for row in draw(large, None, 3) if row.id in old] == list(draw(small, None, 3))


def test_shots_are_a_cap():
    toy = task(train=rows(10), test=rows(5))
    assert draw(toy, 2000, 0) == draw(toy, 10, 0) == draw(toy, None, 0)


def test_a_negative_number_of_shots_is_a_mistake():
    with pytest.raises(UserError, match="at least 0, got -1 for toy"):
        draw(task(train=rows(10), test=rows(5)), -1, 0)


def test_draws_do_not_depend_on_the_hash_seed_of_the_process():
    code = (
        "from tests.bench.data.test_sampling import rows, task\n"
        "from tunefront.bench.data.sampling import draw, eval_rows, hold_out\n"
        "toy = task(train=rows(90), test=rows(90))\n"
        "print([[r.id for r in part] for part in (draw(toy, 30, 1), *hold_out(rows(90), 1, toy), eval_rows(toy, 7))])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize(("count", "held"), [(64, 32), (200, 32), (1000, 100)])
def test_a_tenth_is_held_out_and_at_least_32_rows(count, held):
    drawn = rows(count)
    train, chosen = hold_out(drawn, 0, task(train=drawn, validation=rows(9)))
    assert len(chosen) == held
    assert sorted((*train, *chosen), key=lambda row: int(row.id)) == drawn


def test_held_out_rows_are_stratified_by_label():
    drawn = [Row(str(i), {"text": str(i)}, 0 if i < 700 else 1 if i < 950 else 2) for i in range(1000)]
    _, chosen = hold_out(drawn, 0, task(train=drawn, validation=rows(9)))
    assert Counter(row.label for row in chosen) == {0: 70, 1: 25, 2: 5}


def test_a_class_keeps_its_last_training_row_while_another_can_give_one():
    drawn = [Row(str(i), {"text": str(i)}, i if i < 20 else 99) for i in range(66)]
    train, chosen = hold_out(drawn, 0, task(train=drawn, validation=rows(9)))
    assert len(chosen) == 32
    assert {row.label for row in train} == {row.label for row in drawn}


def test_both_parts_keep_the_drawn_order():
    toy = task(train=rows(120), validation=rows(9))
    drawn = draw(toy, None, 2)
    for part in hold_out(drawn, 2, toy):
        assert list(part) == [row for row in drawn if row in part]


def test_regression_rows_are_held_out_without_strata():
    drawn = [Row(str(i), {"text": str(i)}, i / 7) for i in range(100)]
    train, chosen = hold_out(drawn, 0, task("regression", train=drawn, validation=rows(9)))
    assert (len(train), len(chosen)) == (68, 32)


def test_too_few_rows_for_selection_is_a_mistake_that_says_how_many_are_needed():
    with pytest.raises(UserError, match="only 63 were drawn; draw at least 64"):
        hold_out(rows(63), 0, task(train=rows(63), validation=rows(9)))


def test_selection_uses_validation_only_where_it_is_not_scored():
    train, validation, test = rows(100), rows(20, split="validation"), rows(20, split="test")
    with_test = task(train=train, validation=validation, test=test)
    assert selection(with_test, train, 0) == (tuple(train), tuple(validation), "validation")
    for splits in ({"validation": validation}, {"test": test}):
        kept, chosen, split = selection(task(train=train, **splits), train, 0)
        assert (len(kept), len(chosen), split) == (68, 32, "train")


def test_limited_selection_rows_are_some_of_those_that_all_would_be():
    train, validation, test = rows(1000), rows(200, split="validation"), rows(20, split="test")
    for splits, split in (({"validation": validation, "test": test}, "validation"), ({"test": test}, "train")):
        kept, whole, _ = selection(task(train=train, **splits), train, 0)
        limited = selection(task(train=train, **splits), train, 0, limit=40)
        assert limited == (kept, tuple(row for row in whole if row in limited[1]), split)
        assert len(limited[1]) == 40 < len(whole)
        assert limited[1] != whole[:40]
        assert selection(task(train=train, **splits), train, 0, limit=len(whole))[1] == whole


def test_limited_eval_rows_keep_their_order_and_are_not_simply_the_first():
    toy = task(train=rows(9), test=rows(300, split="test"))
    chosen = eval_rows(toy, 40)
    assert len(chosen) == 40
    assert list(chosen) == [row for row in toy.splits["test"] if row in chosen]
    assert chosen != tuple(toy.splits["test"][:40])
    assert {row.id for row in eval_rows(toy, 20)} < {row.id for row in chosen}
    assert eval_rows(toy, 300) == eval_rows(toy, None) == tuple(toy.splits["test"])
