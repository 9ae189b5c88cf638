"""Seconds of each phase of a step, on a clock that only the work itself advances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tunefront.bench.meters.time import spread
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.bench.training.instruments import Subject
from tunefront.methods.base import Batch, Recipe

SECONDS = {"data": 1.0, "forward": 10.0, "backward": 100.0, "optimizer": 1000.0, "evaluation": 10_000.0}


@pytest.fixture
def now() -> Iterator[list[float]]:
    """The time, which only the work of a phase advances."""
    moment = [0.0]

    def stepping(*_: object) -> None:
        moment[0] += SECONDS["optimizer"]

    hook = register_optimizer_step_pre_hook(stepping)
    yield moment
    hook.remove()


@dataclass(frozen=True)
class SlowRows(EncodedExamples):
    """Rows whose batches take the seconds of `data`."""

    now: Sequence[list[float]] = ()

    def batch(self, rows: Sequence[int], device: torch.device | None = None) -> Batch:
        for moment in self.now:
            moment[0] += SECONDS["data"]
        return super().batch(rows, device)


class Slow(nn.Module):
    """One weight whose passes take the seconds of their phase; the first pass takes three times as long."""

    def __init__(self, now: list[float]):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.now, self.passes = now, 0

    def loss(self, batch: Batch) -> Tensor:
        self.passes += 1
        first = 3 if self.passes == 1 else 1
        self.now[0] += SECONDS["forward"] * first

        def backward(gradient: Tensor) -> None:
            self.now[0] += SECONDS["backward"] * first

        value = self.weight.sum()
        value.register_hook(backward)
        return value

    def score(self, batch: Batch) -> Tensor:
        self.now[0] += SECONDS["evaluation"]
        return torch.zeros(len(batch.labels), 2)


def slow_trainer(now: list[float], **recipe: int) -> tuple[MeasuringHarness, Slow]:
    model, settings = Slow(now), Recipe(batch_size=4, **recipe)  # type: ignore[arg-type]
    return MeasuringHarness(Subject(model, settings, 0, ("slow",), 4, now=lambda: now[0])), model


def rows(count: int, *now: list[float]) -> EncodedExamples:
    tokens = {"input_ids": [torch.tensor([1, 2, 3])] * count}
    return SlowRows(tokens, {"input_ids": 0}, torch.zeros(count, dtype=torch.long), now=now)


def test_each_phase_has_its_own_seconds_and_training_all_of_its_own(now: list[float]) -> None:
    trainer, model = slow_trainer(now, steps=4)
    trainer.train({"weight": model.weight}, model.loss, rows(8, now))
    scored = trainer.score(model.score, rows(16))
    phases = trainer.step_seconds(scored)
    assert {name: (phase.low, phase.median, phase.high, phase.count) for name, phase in phases.items()} == {
        name: (seconds, seconds, seconds, 3) for name, seconds in SECONDS.items()
    }, "the first step and batch are warm-up"
    training = sum(seconds for name, seconds in SECONDS.items() if name != "evaluation")
    slow_first = 2 * (SECONDS["forward"] + SECONDS["backward"])
    assert trainer.cost.clock.seconds == 4 * training + slow_first
    assert scored.seconds == 4 * SECONDS["evaluation"]


def test_scoring_while_fitting_counts_in_no_phase_of_a_step(now: list[float]) -> None:
    trainer, model = slow_trainer(now, steps=3)
    trainer.train({"weight": model.weight}, model.loss, rows(8, now))
    before = {name: list(clock.laps) for name, clock in trainer.cost.clocks.items()}
    trainer.score(model.score, rows(40))
    scored = trainer.score(model.score, rows(12))
    assert {name: clock.laps for name, clock in trainer.cost.clocks.items()} == before
    assert trainer.step_seconds(scored)["evaluation"].count == 2, "only of the rows scored last"


def test_a_cell_without_training_has_only_seconds_of_evaluation(now: list[float]) -> None:
    trainer, model = slow_trainer(now)
    assert set(trainer.step_seconds(trainer.score(model.score, rows(4)))) == {"evaluation"}


@pytest.mark.parametrize(
    ("laps", "median", "low", "high", "count"),
    [
        ([9.0], 9.0, 9.0, 9.0, 1),
        ([9.0, 1.0], 5.0, 3.0, 7.0, 2),  # too few to omit any
        ([9.0, 1.0, 2.0], 1.5, 1.25, 1.75, 2),
        ([9.0, 1.0, 2.0, 3.0, 4.0, 5.0], 3.0, 2.0, 4.0, 5),
        ([9.0] * 2 + [1.0] * 18, 1.0, 1.0, 1.0, 18),
        ([9.0] * 5 + [1.0] * 195, 1.0, 1.0, 1.0, 195),  # never more than five
    ],
)
def test_spread_omits_the_warm_up(laps: list[float], median: float, low: float, high: float, count: int) -> None:
    distribution = spread(laps)
    assert distribution is not None
    assert (distribution.median, distribution.low, distribution.high, distribution.count) == (median, low, high, count)


def test_without_laps_there_is_no_spread() -> None:
    assert spread([]) is None
