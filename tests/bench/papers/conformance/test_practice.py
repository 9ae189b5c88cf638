"""The practice of the papers' code: numbers that follow from its formulas, computed here in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.papers.conformance.practice import practice_from, practice_of
from tunefront.bench.papers.reading import known_papers, title_of
from tunefront.methods.base import Recipe

Rows = Sequence[Sequence[Sequence[float]]]


def flat(rows: Rows) -> list[float]:
    return [value for row in rows for choice in row for value in choice]


def losses(rows: Rows, labels: Sequence[int]) -> dict[str, float]:
    """T-Few's three, as its `training_step` has them: all choices of a batch are padded to the longest of them."""
    gold = [value for row, label in zip(rows, labels, strict=True) for value in row[label]]
    others = [[*row[:label], *row[label + 1 :]] for row, label in zip(rows, labels, strict=True)]
    wrong = flat(others)
    entries = sum(len(row) for row in rows) * max(len(choice) for row in rows for choice in row)
    masked = (entries - len(wrong)) * -math.log(1 - math.exp(-100) + 0.01)
    scores = [[sum(choice) / len(choice) for choice in row] for row in rows]
    softmax = [math.log(sum(map(math.exp, row))) - row[label] for row, label in zip(scores, labels, strict=True)]
    return {
        "likelihood": -sum(gold) / len(gold),
        "unlikelihood": (sum(-math.log(1 - math.exp(v) + 0.01) for v in wrong) + masked) / len(wrong),
        "length_normalised": sum(softmax) / len(softmax),
    }


def nudged(rows: Rows, place: tuple[int, int, int], by: float) -> Rows:
    return [
        [[v + by * ((r, c, t) == place) for t, v in enumerate(choice)] for c, choice in enumerate(row)]
        for r, row in enumerate(rows)
    ]


def test_t_fews_losses_and_gradients_follow_from_its_formulas() -> None:
    table = practice_of("tfew2022").losses
    rows, labels = table["log_probabilities"], table["labels"]
    for name, value in losses(rows, labels).items():
        assert table[name] == pytest.approx(value, rel=1e-6)
        for r, row in enumerate(rows):
            for c, choice in enumerate(row):
                for t in range(len(choice)):
                    up, down = (losses(nudged(rows, (r, c, t), by), labels)[name] for by in (1e-5, -1e-5))
                    assert table[f"{name}_gradient"][r][c][t] == pytest.approx((up - down) / 2e-5, abs=1e-6)
    for row, scores in zip(rows, table["scores"], strict=True):
        assert scores == pytest.approx([sum(choice) / len(choice) for choice in row], rel=1e-6)


def rms(values: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


def test_t_fews_step_follows_from_adafactors_formulas() -> None:
    """Shazeer & Stern 2018, algorithms 4 and 5, at the first step, where the running means are the squares."""
    matrix, vector = practice_of("tfew2022").step
    gradient = matrix["gradient"]
    squares = [[value * value for value in row] for row in gradient]
    rows, columns = [sum(row) / len(row) for row in squares], [sum(column) / 2 for column in zip(*squares, strict=True)]
    mean = sum(rows) / len(rows)
    updates = [
        value / math.sqrt(row / mean) / math.sqrt(column)
        for values, row in zip(gradient, rows, strict=True)
        for value, column in zip(values, columns, strict=True)
    ]
    clipped = [value / max(1, rms(updates)) for value in updates]
    weights, moved, unscaled = (flat([matrix[name]]) for name in ("weights", "moved", "moved_unscaled"))
    assert unscaled == pytest.approx([-value for value in clipped], rel=1e-5)
    assert moved == pytest.approx([-value * rms(weights) for value in clipped], rel=1e-5)
    signs = [math.copysign(1, -value) for value in vector["gradient"]]
    assert vector["moved_unscaled"] == signs
    assert vector["moved"] == pytest.approx([sign * rms(vector["weights"]) for sign in signs], rel=1e-5)


def test_houlsbys_step_is_adam_that_corrects_no_bias_and_decays_matrices_alone() -> None:
    def moved(weights: Sequence[float], gradient: Sequence[float], decay: float) -> list[float]:
        means = [(0.1 * g, 0.001 * g * g) for g in gradient]
        updates = [first / (math.sqrt(second) + 1e-6) for first, second in means]
        return [-(update + decay * weight) for update, weight in zip(updates, weights, strict=True)]

    matrix, vector = practice_of("houlsby2019").step
    for weights, gradient, step in zip(matrix["weights"], matrix["gradient"], matrix["moved"], strict=True):
        assert step == pytest.approx(moved(weights, gradient, 0.01), rel=1e-5)
    assert vector["moved"] == pytest.approx(moved(vector["weights"], vector["gradient"], 0.0), rel=1e-5)


def test_houlsbys_loss_is_the_mean_cross_entropy() -> None:
    table = practice_of("houlsby2019").losses
    rows = zip(table["logits"], table["labels"], strict=True)
    losses = [math.log(sum(map(math.exp, row))) - row[label] for row, label in rows]
    assert table["cross_entropy"] == pytest.approx(sum(losses) / 2, rel=1e-6)


@pytest.mark.parametrize("paper", sorted(known_papers()))
def test_every_field_of_a_recipe_is_compared_or_has_no_effect_there(paper: str) -> None:
    practice = practice_of(paper)
    (optimizer,) = practice.recipe["optimizer"]
    idle = {"beta1", "beta2", "epsilon"} if optimizer == "adafactor" else {"scale_parameter"}
    idle |= {"epochs"} if practice.recipe["steps"] != (None,) else set()
    if "log_probabilities" not in practice.losses:  # encoders have one loss
        idle |= {field.name for field in fields(Recipe) if field.name.endswith("_weight")}
    assert {field.name for field in fields(Recipe)} - set(practice.recipe) == idle


def test_a_line_has_what_the_line_it_is_like_has_but_for_its_own() -> None:
    table: dict[str, Any] = {
        "title": "a paper",
        "backbones": ["bert-base"],
        "toy": {},
        "lines": [
            {"name": "large", "method": "houlsby:bottleneck=64", "counts": {"bert-base": 5}, "trained": [".*"]},
            {"name": "small", "like": "large", "method": "houlsby:bottleneck=8"},
        ],
    }
    large, small = practice_from(table).lines
    assert (small.counts, small.trained) == (large.counts, large.trained)
    assert (small.name, small.method) != (large.name, large.method)


def test_a_method_repeats_the_line_from_which_it_differs_least() -> None:
    practice = practice_of("houlsby2019")
    named = {line.name: line.method for line in practice.lines}
    for name, method in named.items():
        line = practice.line_of(method)
        assert line is not None
        assert line.name == name


def test_an_unknown_paper_is_a_mistake_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'tfew2022'"):
        practice_of("tfew2020")
    assert title_of("tfew2020") == "tfew2020"
    assert title_of("houlsby2019") == "Houlsby et al. 2019"
