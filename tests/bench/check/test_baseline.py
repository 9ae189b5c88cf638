"""Scores without adaptation."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.toys import toy_task
from tunefront.bench.check import baseline as room
from tunefront.bench.check.baseline import baseline_findings, baselines
from tunefront.bench.check.findings import Baseline
from tunefront.bench.data.task import Kind, MetricSpec, Row, Task
from tunefront.bench.models.tiny import WORDS


def test_the_majority_is_that_of_train_on_the_scored_rows() -> None:
    task = toy_task(rows=(10, 10))
    rows = [replace(row, label=1) for row in task.splits["train"][:9]] + [replace(task.splits["train"][9], label=0)]
    found = baselines(replace(task, splits={**task.splits, "train": rows}), None)
    assert found.majority == 0.5


def test_a_linear_model_learns_an_easy_task(backbones: dict[str, str]) -> None:
    found = baselines(toy_task(rows=(400, 200), words=(1, 2)), backbones["bert"])
    assert found.linear is not None
    assert found.majority == 0.5
    assert found.linear > 0.6  # random weights; far from chance, not near what training reaches
    assert found.accuracy == found.linear
    assert (found.train_rows, found.test_rows) == (400, 200)


def test_a_regression_has_a_correlation_and_no_majority(backbones: dict[str, str]) -> None:
    found = baselines(toy_task("regression", rows=(300, 100), words=(1, 2)), backbones["bert"])
    assert found.metric == "spearman"
    assert found.majority is None
    assert found.linear is not None


def test_the_texts_of_a_pair_are_compared(backbones: dict[str, str]) -> None:
    generator = random.Random(0)
    rows = []
    for place in range(300):
        first, other = (" ".join(generator.choices(WORDS, k=5)) for _ in range(2))
        rows.append(Row(str(place), {"a": first, "b": first if place % 2 else other}, place % 2))
    splits = {"train": rows[:200], "test": rows[200:]}
    task = Task("same", "classification", splits, ("a", "b"), ("no", "yes"), (MetricSpec("accuracy"),))
    found = baselines(task, backbones["bert"])
    assert found.linear is not None
    assert found.linear > 0.7  # without a comparison it is at chance


def test_the_same_rows_give_the_same_score(backbones: dict[str, str]) -> None:
    task = toy_task(rows=(100, 50))
    first, second = (baselines(task, backbones["bert"]).linear for _ in range(2))
    assert first == second


def test_no_more_rows_are_read_than_the_tokens_allow(
    backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_TOKENS", 1)
    monkeypatch.setattr(room, "_LAYERS", 100.0 * 12 * 2 * 32**2)
    found = baselines(toy_task(rows=(900, 600)), backbones["bert"])
    assert found.train_rows < 100


def test_a_slow_machine_reads_fewer_rows(backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_SECONDS", 0.0)
    found = baselines(toy_task(rows=(400, 100)), backbones["bert"])
    assert 0 < found.train_rows <= 80
    assert 0 < found.test_rows <= 20


@pytest.mark.parametrize(
    ("task", "linear"), [(toy_task(), False), (replace(toy_task(), kind="multiple choice"), True), (toy_task(), True)]
)
def test_what_has_no_linear_baseline_says_why(task: Task, linear: bool) -> None:
    found = baselines(task, None, linear)
    assert found.why_not
    assert found.linear is None
    assert found.accuracy is None


def test_a_better_f1_is_not_nothing() -> None:
    found = Baseline("macro_f1", 0.37, 0.59, 0.05, accuracy=0.58, common=0.58, test_rows=500)
    assert not baseline_findings(toy_task(), found)


@pytest.mark.parametrize(("metric", "kind"), [("macro_f1", "classification"), ("spearman", "regression")])
def test_every_metric_has_a_margin(backbones: dict[str, str], metric: str, kind: Kind) -> None:
    task = replace(toy_task(kind, rows=(120, 80)), metrics=(MetricSpec(metric),))
    margin = baselines(task, backbones["bert"]).margin
    assert margin is not None
    assert 0.02 < margin < 0.4


@pytest.mark.parametrize(
    ("linear", "rows", "kinds"), [(0.52, 500, ["hard"]), (0.52, 70, []), (0.8, 500, []), (0.995, 500, ["easy"])]
)
def test_a_baseline_that_learns_nothing_or_everything_is_noted(linear: float, rows: int, kinds: list[str]) -> None:
    """Nothing learned from a few rows says nothing about the labels."""
    found = Baseline("accuracy", 0.5, linear, 0.04, accuracy=linear, common=0.5, train_rows=rows, test_rows=500)
    assert [finding.kind for finding in baseline_findings(toy_task(), found)] == kinds
