"""Collapse: both conditions at both of their edges, and the exact test against its closed form."""

from __future__ import annotations

import math
import random

import pytest

from tests.toys import toy_task
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.execution.collapse import collapse_of, one_sided_mcnemar
from tunefront.bench.execution.predictions import constant_answer


def answers(ours: int, theirs: int, both: int = 0, neither: int = 0) -> tuple[list[int], list[int]]:
    """Predictions and labels of three classes, next to the constant answer 0: rows on which only the prediction is
    right, only the constant, both, neither."""
    rows = [(1, 1)] * ours + [(1, 0)] * theirs + [(0, 0)] * both + [(1, 2)] * neither
    return [predicted for predicted, _ in rows], [label for _, label in rows]


@pytest.mark.parametrize(("ours", "theirs"), [(5, 0), (4, 0), (0, 4), (7, 3), (50, 41), (119, 94)])
def test_the_p_value_is_the_upper_tail_of_fair_coins(ours: int, theirs: int) -> None:
    rows = ours + theirs
    expected = sum(math.comb(rows, wins) for wins in range(ours, rows + 1)) / 2**rows
    assert one_sided_mcnemar(*answers(ours, theirs), 0) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("both", "neither"), [(0, 0), (300, 0), (0, 300)])
def test_rows_on_which_both_are_right_or_wrong_change_no_p_value(both: int, neither: int) -> None:
    assert one_sided_mcnemar(*answers(9, 3, both, neither), 0) == one_sided_mcnemar(*answers(9, 3), 0)


def test_the_constant_answer_itself_is_not_better_than_itself() -> None:
    assert one_sided_mcnemar([0] * 20, [0, 1] * 10, 0) == 1.0


@pytest.mark.parametrize("share", [0.36, 0.5, 0.6])
def test_predictions_that_are_right_as_often_as_the_constant_seldom_pass(share: float) -> None:
    generator, trials, passed = random.Random(0), 600, 0
    for _ in range(trials):
        labels = [int(generator.random() > share) for _ in range(150)]
        predicted = [label if generator.random() < share else 1 - label for label in labels]
        passed += one_sided_mcnemar(predicted, labels, 0) < 0.05
    assert passed <= 0.06 * trials


@pytest.mark.parametrize(
    ("ours", "theirs", "collapsed"),
    [(119, 94, False), (182, 151, True), (5, 0, False), (4, 0, True)],
    ids=["p .04993", "p .05002", "p .03125", "p .0625"],
)
def test_a_cell_collapsed_from_a_p_value_of_5_percent_on(ours: int, theirs: int, collapsed: bool) -> None:
    found = collapse_of(three_classes(), *answers(ours, theirs, both=30), constant=0)
    assert found.p_value is not None
    assert (found.p_value >= 0.05) is collapsed
    assert (found.collapsed, found.one_answer) == (collapsed, False)


@pytest.mark.parametrize(
    ("given", "right", "one_answer"),
    [(950, 799, True), (949, 799, False), (950, 800, False), (1000, 799, True), (1000, 800, False)],
)
def test_one_answer_is_95_percent_of_the_rows_and_under_80_percent_of_the_truth(
    given: int, right: int, one_answer: bool
) -> None:
    """All rows that get the other answer are right, so that the test alone would not mark these cells."""
    rows = 1000
    predicted = [0] * given + [1] * (rows - given)
    labels = [0] * right + [1] * (rows - right)
    found = collapse_of(three_classes(), predicted, labels, constant=0)
    assert (found.answer, found.answer_share, found.label_share) == ("a", given / rows, right / rows)
    assert found.one_answer is one_answer
    assert found.p_value == pytest.approx(0.5 ** (rows - given), abs=0)
    assert found.collapsed is (one_answer or given == rows)


@pytest.mark.parametrize("rows", [20, 40, 60, 300, 1020])
def test_the_edges_are_exact_for_other_numbers_of_rows(rows: int) -> None:
    given, right = rows * 19 // 20, rows * 4 // 5
    assert collapse_of(three_classes(), [0] * given + [1] * (rows - given), [1] * rows).one_answer is True
    labels = [0] * right + [1] * (rows - right)
    assert collapse_of(three_classes(), [0] * rows, labels).one_answer is False


def test_without_a_constant_answer_only_the_answers_are_counted() -> None:
    found = collapse_of(three_classes(), [1] * 20, [0, 1] * 10)
    assert (found.collapsed, found.answer, found.p_value, found.baseline_answer) == (True, "b", None, None)
    assert collapse_of(three_classes(), [0, 1] * 10, [1, 0] * 10).collapsed is False


def test_regression_has_no_answers_to_count() -> None:
    assert collapse_of(toy_task("regression"), [0.5] * 9, [0.1] * 9, 0.5).model_dump(exclude_none=True) == {}


def test_right_and_wrong_decide_whatever_the_headline_metric() -> None:
    predicted, labels = answers(20, 3)
    for metric in ("accuracy", "macro_f1", "matthews"):
        task = three_classes(metric)
        assert collapse_of(task, predicted, labels, 0).p_value == one_sided_mcnemar(predicted, labels, 0)


def test_the_constant_answer_is_the_commonest_label_of_the_train_split() -> None:
    task = three_classes(labels=(2, 2, 2, 0, 0, 1))
    assert constant_answer(task, [1, 1]) == 2, "whatever rows were drawn"
    assert constant_answer(three_classes(labels=(2, 1, 0, 1, 2)), []) == 1, "the smallest of those as common"
    assert constant_answer(three_classes(labels=()), []) is None


def test_of_multiple_choice_it_is_a_position_in_the_prompts() -> None:
    task = three_classes(labels=(2, 2, 2), kind="multiple choice")
    assert constant_answer(task, [0, 1, 1]) == 1
    assert constant_answer(task, []) is None
    found = collapse_of(task, [3] * 20, [0, 3] * 10, 0)
    assert (found.answer, found.baseline_answer) == ("position 4", "position 1")


def test_of_regression_it_is_the_mean() -> None:
    task = toy_task("regression")
    assert constant_answer(task, []) == sum(row.label for row in task.splits["train"]) / len(task.splits["train"])


def three_classes(metric: str = "accuracy", labels: tuple[int, ...] = (0, 0, 1), kind: str = "classification") -> Task:
    splits = {"train": [Row(str(place), {"text": "x"}, label) for place, label in enumerate(labels)], "test": []}
    names, metrics = ("a", "b", "c"), (MetricSpec(metric),)
    return Task("made", kind, splits, ("text",), names, metrics)  # type: ignore[arg-type]
