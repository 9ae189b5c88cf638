"""The training loop: its schedule, its steps against a plain reimplementation, and when it stops."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.toys import encode, fresh_copy, harness, toy_task
from tunefront.bench.models.examples import training_order
from tunefront.bench.models.tiny import FAMILIES
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.bench.training.instruments import Subject
from tunefront.bench.training.step import NotFinite, rate, total_steps
from tunefront.methods.base import Batch, Recipe
from tunefront.methods.spelling import parse


def test_the_rate_rises_and_falls_as_worked_out_by_hand() -> None:
    """Ten steps, two of them warm-up: up to the peak by thirds, then down by eighths."""
    recipe = Recipe(warmup=0.2)
    expected = [1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0]
    assert [rate(recipe, step, 10) for step in range(11)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("recipe", "total", "expected"),
    [
        (Recipe(warmup=0.0), 4, [1, 3 / 4, 2 / 4, 1 / 4]),
        (Recipe(warmup=0.0, schedule="constant"), 4, [1, 1, 1, 1]),
        (Recipe(warmup=0.5, schedule="constant"), 4, [1 / 3, 2 / 3, 1, 1]),
        (Recipe(warmup=0.1), 1, [1]),
        (Recipe(warmup=0.9), 1, [1 / 2]),
        (Recipe(warmup=0.9), 2, [1 / 3, 2 / 3]),
    ],
)
def test_the_rate_at_the_edges(recipe: Recipe, total: int, expected: list[float]) -> None:
    factors = [rate(recipe, step, total) for step in range(total)]
    assert factors == pytest.approx(expected)
    assert all(0 < factor <= 1 for factor in factors), "no step is without effect"


@pytest.mark.parametrize(
    ("recipe", "rows", "steps"),
    [
        (Recipe(epochs=3, batch_size=32), 64, 6),
        (Recipe(epochs=3, batch_size=32), 65, 9),
        (Recipe(epochs=0.5, batch_size=32), 320, 5),
        (Recipe(epochs=0.01, batch_size=32), 32, 1),
        (Recipe(epochs=3, steps=7, batch_size=32), 64, 7),
        (Recipe(epochs=1.1, batch_size=10), 100, 11),
    ],
)
def test_steps_are_epochs_in_batches_or_given(recipe: Recipe, rows: int, steps: int) -> None:
    assert total_steps(recipe, rows) == steps


def _plain_adamw(
    weights: list[Tensor], gradients: list[list[Tensor]], recipe: Recipe, factors: list[float]
) -> list[Tensor]:
    """Decoupled weight decay with Adam, from the paper; one list of gradients per step."""
    weights = [weight.clone() for weight in weights]
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    for step, (step_gradients, factor) in enumerate(zip(gradients, factors, strict=True), 1):
        lr = recipe.learning_rate * factor
        for place, gradient in enumerate(step_gradients):
            decay = recipe.weight_decay if weights[place].ndim > 1 else 0.0
            weights[place] *= 1 - lr * decay
            first[place] = recipe.beta1 * first[place] + (1 - recipe.beta1) * gradient
            second[place] = recipe.beta2 * second[place] + (1 - recipe.beta2) * gradient**2
            mean = first[place] / (1 - recipe.beta1**step)
            spread = second[place] / (1 - recipe.beta2**step)
            weights[place] -= lr * mean / (spread.sqrt() + recipe.epsilon)
    return weights


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_training_is_plain_adamw_on_the_clipped_gradients(clip_norm: float, backbones: dict[str, str]) -> None:
    """A head trained by the loop, and by hand: schedule, clipping by the norm of all gradients, decay of matrices."""
    recipe = {"steps": 5, "learning_rate": 0.02, "weight_decay": 0.3, "warmup": 0.4, "clip_norm": clip_norm}
    method = parse("features")
    backbone = fresh_copy(backbones["roberta"], dropout=0.0)
    method.attach(backbone)
    rows = encode(backbone)
    names = list(backbone.trainable())
    start = [p.detach().clone() for p in backbone.trainable().values()]
    trainer = harness(backbone, method, **recipe)
    trainer.train(backbone.trainable(), backbone.loss, rows)
    ends = [p.detach().clone() for p in backbone.trainable().values()]

    by_hand, gradients, norms = start, [], []
    order = training_order(rows, 16, torch.Generator().manual_seed(0))
    factors = [rate(trainer.recipe, step, 5) for step in range(5)]
    for batch in itertools.islice(order, 5):
        parameters = backbone.trainable()
        with torch.no_grad():
            for name, weight in zip(names, by_hand, strict=True):
                parameters[name].copy_(weight)
        unclipped = torch.autograd.grad(backbone.loss(rows.batch(batch)), list(parameters.values()))
        norms.append(math.sqrt(sum(gradient.square().sum().item() for gradient in unclipped)))
        scale = min(1.0, clip_norm / norms[-1]) if clip_norm else 1.0
        gradients.append([gradient * scale for gradient in unclipped])
        by_hand = _plain_adamw(start, gradients, trainer.recipe, factors[: len(gradients)])
    assert min(norms) > 0.05, "clipping must have an effect"
    for name, ours, theirs in zip(names, by_hand, ends, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5), name


class Wall(nn.Module):
    """A loss that is finite for the first `good` steps."""

    def __init__(self, good: int, then: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))
        self.good, self.then, self.steps = good, then, 0

    def loss(self, batch: Batch) -> Tensor:
        self.steps += 1
        return self.weight.sum() * (1.0 if self.steps <= self.good else self.then)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_nonfinite_loss_stops_at_once_with_advice(bad: float, backbones: dict[str, str]) -> None:
    rows = encode(fresh_copy(backbones["bert"]))
    wall = Wall(2, bad)
    trainer = MeasuringHarness(Subject(wall, Recipe(steps=50, learning_rate=0.5, warmup=0.0), 0, ("wall",)))
    with pytest.raises(
        NotFinite, match=r"the loss is -?(nan|inf) at step 3 of 50; lower the learning rate \(now 0.5\)"
    ):
        trainer.train(dict(wall.named_parameters()), wall.loss, rows)
    assert wall.steps == 3
    assert wall.weight.isfinite().all()


def test_nonfinite_weights_after_the_last_step_are_noticed(backbones: dict[str, str]) -> None:
    """A gradient can overflow although the loss does not; the scores would be noise with an ok record."""

    class Cliff(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def loss(self, batch: Batch) -> Tensor:
            return self.weight.abs().sqrt().sum() * 0.0  # finite, but its gradient is not

    rows = encode(fresh_copy(backbones["bert"]))
    cliff = Cliff()
    trainer = MeasuringHarness(Subject(cliff, Recipe(steps=1), 0, ("cliff",)))
    with pytest.raises(NotFinite, match="a gradient overflowed in the last of 1 steps; lower the learning rate"):
        trainer.train(dict(cliff.named_parameters()), cliff.loss, rows)


def test_nothing_to_train_is_an_error(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    with pytest.raises(ValueError, match="nothing to train"):
        harness(backbone, parse("full")).train({}, backbone.loss, encode(backbone))


def test_foreign_examples_are_an_error(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    with pytest.raises(TypeError, match=r"train on the examples passed to fit\(\)"):
        harness(backbone, parse("full")).train(backbone.trainable(), backbone.loss, [1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_autocast_trains_and_scores_close_to_float32(family: str, backbones: dict[str, str]) -> None:
    scores = {}
    for dtype in ("float32", "bfloat16"):
        backbone = fresh_copy(backbones[family], dropout=0.0)
        method = parse("houlsby:bottleneck=4")
        method.attach(backbone)
        trainer = harness(backbone, method, steps=4, dtype=dtype)
        scorer = method.fit(backbone, encode(backbone), trainer)
        scores[dtype] = trainer.score(scorer, encode(backbone, split="test")).values
        assert {p.dtype for p in backbone.model.parameters()} == {torch.float32}
        assert all(math.isfinite(loss) for loss in trainer.cost.losses)
    assert scores["bfloat16"].dtype == torch.float32
    assert not torch.equal(scores["bfloat16"], scores["float32"])
    assert torch.allclose(scores["bfloat16"], scores["float32"], atol=0.15)


def test_balanced_training_sees_labels_in_equal_shares(backbones: dict[str, str]) -> None:
    task = toy_task()
    kept = [row for row in task.splits["train"] if row.label == 0 or int(row.id) % 16 == 1]  # 32 of one, 4 of the other
    task = replace(task, splits={"train": kept, "test": task.splits["test"]})
    seen: dict[bool, Counter[int]] = {}
    for balanced in (False, True):
        backbone = fresh_copy(backbones["bert"], task)
        trainer = harness(backbone, parse("full"), steps=20, balanced=balanced)
        shares = seen.setdefault(balanced, Counter())
        steps = trainer.tools.steps(backbone.trainable(), backbone.loss, encode(backbone, task), 20)
        for _, batch, _ in itertools.islice(steps, 20):
            shares.update(batch.labels.tolist())
    assert seen[False][1] / seen[False].total() == pytest.approx(4 / 36, abs=0.05)
    assert seen[True][0] == seen[True][1]


def test_every_step_and_every_scored_batch_is_reported(backbones: dict[str, str]) -> None:
    reports: list[tuple[str, int, int]] = []
    method = parse("features")
    backbone = fresh_copy(backbones["bert"])
    method.attach(backbone)
    trainer = harness(backbone, method, steps=3, report=lambda *step: reports.append(step))
    scorer = method.fit(backbone, encode(backbone), trainer)
    trainer.score(scorer, encode(backbone, split="test"))
    assert reports == [
        *(("features", done, 4) for done in (1, 2, 3, 4)),
        *(("train", done, 3) for done in (1, 2, 3)),
        *(("evaluate", done, 3) for done in (1, 2, 3)),
    ]


def test_costs_add_up(backbones: dict[str, str]) -> None:
    method = parse("ia3")
    backbone = fresh_copy(backbones["bert"])
    method.attach(backbone)
    trainer = harness(backbone, method, epochs=2, batch_size=24)  # 24 + 24 + 16 rows per epoch
    method.fit(backbone, encode(backbone), trainer)
    cost = trainer.cost
    assert (cost.steps, cost.examples, len(cost.losses)) == (6, 128, 6)
    assert cost.final_loss == cost.losses[-1]
    assert cost.flops > 0
    assert cost.clock.seconds > 0
    assert not backbone.model.training


def test_scoring_is_not_on_the_training_clock(backbones: dict[str, str]) -> None:
    method = parse("full")
    backbone = fresh_copy(backbones["bert"])
    method.attach(backbone)
    trainer = harness(backbone, method, steps=1)
    scorer = method.fit(backbone, encode(backbone), trainer)
    seconds, flops = trainer.cost.clock.seconds, trainer.cost.flops
    scored = trainer.score(scorer, encode(backbone, split="test"))
    assert (trainer.cost.clock.seconds, trainer.cost.flops) == (seconds, flops)
    assert scored.seconds > 0
    assert scored.flops > 0


def test_scores_are_in_the_rows_own_order(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    rows = encode(backbone, split="test")
    scored = harness(backbone, parse("full")).score(backbone.score, rows).values
    backbone.model.eval()
    with torch.no_grad():
        alone = torch.cat([backbone.score(rows.batch([row])) for row in range(len(rows))])
    assert torch.allclose(scored, alone, rtol=1e-4, atol=1e-5)


def test_the_final_loss_is_the_mean_of_the_last_tenth(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    trainer = harness(backbone, parse("full"))
    assert trainer.cost.final_loss is None
    trainer.cost.losses = [9.0] * 18 + [1.0, 2.0]
    assert trainer.cost.final_loss == 1.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("epochs", 0),
        ("epsilon", 0.0),
        ("weight_decay", -1.0),
        ("clip_norm", -1.0),
        ("warmup", 1.0),
        ("beta1", 1.0),
        ("batch_size", 0),
        ("steps", 0),
        ("dropout", 1.0),
        ("optimizer", "sgd"),
        ("schedule", "cosine"),
        ("dtype", "float16"),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("clip_norm", float("nan")),
        ("likelihood_weight", -1.0),
        ("unlikelihood_weight", -0.5),
        ("length_normalised_weight", float("inf")),
    ],
)
def test_an_impossible_recipe_names_its_field(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        Recipe(**{field: value})  # type: ignore[arg-type]


def test_a_recipe_without_any_loss_names_the_three_weights() -> None:
    off = {"likelihood_weight": 0, "unlikelihood_weight": 0}
    assert Recipe(**off).length_normalised_weight == 1.0
    with pytest.raises(ValueError, match="one of likelihood_weight, unlikelihood_weight, length_normalised_weight"):
        Recipe(**off, length_normalised_weight=0)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize(("name", "spelled"), [("gpt2", "prompt_tuning:length=3"), ("bert", "prefix_tuning:hidden=0")])
def test_a_kept_lead_is_computed_again_after_more_training(
    name: str, spelled: str, optimizer: str, folders: dict[str, str]
) -> None:
    """The kept keys and values of a prompt are dropped when an optimiser, fused or not, changes the prompt."""
    method = parse(spelled)
    backbone = fresh_copy(folders[name], dropout=0.0)
    method.attach(backbone)
    trainer = harness(backbone, method, steps=2, learning_rate=0.3, optimizer=optimizer, scale_parameter=False)
    rows, test = encode(backbone), encode(backbone, split="test")
    before = trainer.score(backbone.score, test).values
    trainer.train(backbone.trainable(), backbone.loss, rows)
    after = trainer.score(backbone.score, test).values
    backbone._kept = None
    assert torch.equal(after, trainer.score(backbone.score, test).values)
    assert not torch.equal(after, before)
