"""Labels with shares and examples, and odd ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tunefront.bench.check.findings import Finding
from tunefront.bench.check.labels import label_findings, labels_of, values_of
from tunefront.bench.data.task import MetricSpec, Row, Task


def task_of(train: Sequence[str], test: Sequence[str], names: Sequence[str]) -> Task:
    splits = {
        split: [
            Row(str(place), {"text": f"a sentence about {label} number {place}"}, names.index(label))
            for place, label in enumerate(labels)
        ]
        for split, labels in (("train", train), ("test", test))
    }
    return Task("t", "classification", splits, ("text",), tuple(names), (MetricSpec("accuracy"),))


def kinds(train: Sequence[str], test: Sequence[str], names: Sequence[str]) -> dict[str, Finding]:
    task = task_of(train, test, names)
    return {finding.kind: finding for finding in label_findings(task, labels_of(task))}


def test_a_label_has_its_rows_its_share_and_a_text_of_its_own() -> None:
    bad, good = labels_of(task_of(["bad", "good", "good", "good"], ["bad"], ["bad", "good"]))
    assert (bad.rows, bad.share) == ({"train": 1, "test": 1}, 0.25)
    assert (good.rows, good.share) == ({"train": 3, "test": 0}, 0.75)
    assert "about good" in good.example


def test_even_labels_are_not_odd() -> None:
    assert not kinds(["bad", "good"] * 20, ["bad", "good"], ["bad", "good"])


@pytest.mark.parametrize(
    ("kind", "train", "test"),
    [
        ("rare", ["bad", "good"] * 20 + ["odd"] * 3, ["bad", "good", "odd"]),
        ("unseen", ["bad", "good"] * 20, ["bad", "good", "odd"]),
        ("untested", ["bad", "good", "odd"] * 20, ["bad", "good"]),
        ("one label", ["bad"] * 300 + ["good"] * 8, ["bad", "good"]),
    ],
)
def test_odd_labels_are_named(kind: str, train: list[str], test: list[str]) -> None:
    found = kinds(train, test, ["bad", "good", "odd"])[kind]
    assert any(repr(name) in found.text or name in found.text for name in ("odd", "bad"))


def test_a_rare_name_near_a_frequent_one_may_be_misspelt() -> None:
    found = kinds(["positive", "negative"] * 100 + ["positve"] * 2, ["positive"], ["negative", "positive", "positve"])
    assert "'positve'" in found["misspelt"].text


def test_labels_that_differ_in_case_or_blanks_are_named_with_their_rows() -> None:
    found = kinds(["good", "bad"] * 50 + ["Good "] * 9, ["good", "bad"], ["good", "bad", "Good "])
    assert found["alike"].count == 9
    assert found["alike"].row == "100"
    assert "misspelt" not in found


def test_similar_names_of_many_rows_are_not() -> None:
    assert "misspelt" not in kinds(["class a", "class b"] * 100, ["class a", "class b"], ["class a", "class b"])


def test_a_regression_has_values_in_place_of_labels() -> None:
    rows = [Row(str(place), {"text": f"worth {place}"}, float(place)) for place in range(5)]
    task = Task("t", "regression", {"train": rows, "test": rows}, ("text",), (), (MetricSpec("pearson"),))
    values = values_of(task)
    assert not labels_of(task)
    assert values is not None
    assert (values.least, values.median, values.mean, values.largest) == (0.0, 2.0, 2.0, 4.0)
    assert values.examples == ("worth 0", "worth 4")


def test_a_metric_other_than_accuracy_may_have_a_frequent_label() -> None:
    task = task_of(["bad"] * 300 + ["good"] * 8, ["bad", "good"], ["bad", "good"])
    task = replace(task, metrics=(MetricSpec("macro_f1"),))
    assert "one label" not in {finding.kind for finding in label_findings(task, labels_of(task))}


@pytest.mark.parametrize(("second", "refused"), [("left", False), ("right", True)])
def test_rows_whose_answers_are_equal_are_named(second: str, refused: bool) -> None:
    fields = [{"text": "which way", "A": "right", "B": "left"}] * 3 + [{"text": "where", "A": "right", "B": second}]
    rows = [Row(str(place), each, 0) for place, each in enumerate(fields)]
    splits = {"train": rows, "test": rows[:2]}
    task = Task("t", "multiple choice", splits, ("text",), ("A", "B"), (MetricSpec("accuracy"),))
    assert [finding.row for finding in label_findings(task, labels_of(task))] == ["3"] * refused
