"""What is gathered from records: hand-computed on made-up ones."""

import pytest

from tests.bench.records.made import dotted, nested
from tunefront.bench.nano import measuring
from tunefront.bench.records import Record


def record(task: str, score: float, method: str = "icl:k=16,order=0", draw: int = 0, **fields: object) -> Record:
    values = {"label": method, "backbone": "nano", "scores.headline": "accuracy", **dotted(fields)}
    return Record(
        key=f"{task} {method} {draw} {values['backbone']}",
        status="ok",
        method=method,
        task=task,
        draw_seed=draw,
        **nested({"scores.test": {"accuracy": score}, **values}),
    )


def test_a_curve_is_the_mean_over_tasks_of_means_over_draws() -> None:
    first, second = "dir:x/2way-00-sympy", "dir:x/2way-01-networkx"
    records = [
        record(first, 0.6, draw=0),
        record(first, 0.8, draw=1),
        record(second, 0.9, draw=0),
        record(second, 0.9, draw=1),
        *(record(first, score, f"icl:k=16,order={order}") for order, score in enumerate((0.5, 0.7), 1)),
        *(record(f"{first}-{name}", 0.5) for name in ("permuted", "words")),
    ]
    actual = measuring.gather(records)["2"]
    assert set(actual["curve"]) == {"16"}
    curve = actual["curve"]["16"]
    assert curve["mean"] == pytest.approx(0.8)
    assert (curve["lower_quartile"], curve["upper_quartile"]) == pytest.approx((0.75, 0.85))
    assert curve["within_task_sd"] == pytest.approx((0.02**0.5 + 0) / 2)
    assert curve["tasks"] == 2


def test_orders_and_labels_are_compared_within_a_task() -> None:
    task = "dir:x/4way-00-sympy"
    records = [
        record(task, 0.6),
        record(task, 0.5, "icl:k=16,order=1"),
        record(task, 0.7, "icl:k=16,order=2"),
        record(f"{task}-letters", 0.4),
    ]
    actual = measuring.gather(records)["4"]
    assert actual["order"] == {"sd": pytest.approx(0.1), "range": pytest.approx(0.2), "tasks": 1}
    assert actual["labels"]["letters"] == {"mean": 0.4, "moved": pytest.approx(0.2), "tasks": 1}
    assert actual["labels"]["reserved"]["mean"] == 0.6


def test_records_of_other_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="separate folder"):
        measuring.gather([record("docstrings/kind", 0.5)])


def test_the_comparison_is_median_and_quartiles_over_draws() -> None:
    records = [
        record("docstrings/kind", score, "ia3", draw, label="ia3")
        for draw, score in enumerate((0.2, 0.5, 0.3, 0.4, 0.6))
    ]
    actual = measuring.few_shot(records)["docstrings/kind"]["ia3"]
    assert actual == {"lower_quartile": 0.3, "median": 0.4, "upper_quartile": 0.5, "draws": 5}


def test_training_is_measured_against_random_weights() -> None:
    records = [
        record("docstrings/kind", 0.7, "full", scores__baseline={"accuracy": 0.3}),
        record("docstrings/kind", 0.4, "full", backbone="trials/fresh", scores__baseline={"accuracy": 0.3}),
    ]
    assert measuring.against_fresh(records) == {"docstrings/kind": {"nano": 0.7, "fresh": 0.4, "majority": 0.3}}
