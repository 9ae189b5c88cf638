"""The gradients of single rows: their sums against a plain loop, and their costs in runs and in plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.toys import encode, fresh_copy, harness, toy_task
from tunefront.bench.forecast.fake_models import fake_pretrained
from tunefront.bench.forecast.harness import PredictingHarness
from tunefront.bench.meters.flops.by_phase import FlopLedger
from tunefront.bench.meters.flops.counted import counted_step
from tunefront.bench.training.harness import CellHarness, MeasuringHarness
from tunefront.bench.training.instruments import Subject
from tunefront.bench.training.step import NotFinite
from tunefront.methods.features import Features
from tunefront.methods.full import Full

NAMES = ("bert", "gpt2", "t5")
LENGTHS = toy_task(rows=(6, 4), words=(2, 9))


def backbone_of(folder: str, dropout: float | None = 0.0) -> tuple[Any, dict[str, nn.Parameter]]:
    """A frozen backbone without dropout, and its weights without those of a head."""
    backbone = fresh_copy(folder, LENGTHS, dropout=dropout)
    backbone.freeze(keep=backbone.head)
    weights = {name: p for name, p in backbone.model.named_parameters() if not name.startswith("head.")}
    return backbone, weights


@pytest.mark.parametrize("name", NAMES)
def test_sums_are_those_of_a_plain_loop_over_rows(name: str, folders: dict[str, str]) -> None:
    backbone, weights = backbone_of(folders[name])
    rows = encode(backbone, LENGTHS)
    flags = {key: p.requires_grad for key, p in backbone.model.named_parameters()}
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    trainer = harness(backbone, Full(), dropout=0.0)
    sums = trainer.gradients(weights, backbone.loss, rows, torch.square)
    assert {key: p.requires_grad for key, p in backbone.model.named_parameters()} == flags
    assert all(p.grad is None for p in backbone.model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in backbone.model.state_dict().items())
    assert not any(module.training for module in backbone.model.modules())
    expected = {key: torch.zeros_like(value) for key, value in weights.items()}
    for parameter in weights.values():
        parameter.requires_grad_(True)
    backbone.model.train()
    for row in range(len(rows)):
        backbone.model.zero_grad()
        backbone.loss(rows.batch([row])).backward()
        for key, parameter in weights.items():
            expected[key] += 0 if parameter.grad is None else parameter.grad.square()
    assert sums.keys() == weights.keys()
    for key, value in expected.items():
        assert torch.allclose(sums[key], value, rtol=1e-4, atol=1e-10), key
        assert not sums[key].requires_grad
    assert sum(value.sum() for value in sums.values()) > 0


@pytest.mark.parametrize("dropout", [None, 0.0])
@pytest.mark.parametrize("name", NAMES)
def test_their_flops_are_those_of_every_row_alone(name: str, dropout: float | None, folders: dict[str, str]) -> None:
    """With gradients of every weight, although none of them is trained."""
    backbone, weights = backbone_of(folders[name], dropout)
    rows = encode(backbone, LENGTHS)
    trainer = harness(backbone, Full(), dropout=dropout)
    trainer.gradients(weights, backbone.loss, rows, torch.square)
    backbone.freeze()
    phases = trainer.cost.flops_by_phase
    for parameter in weights.values():
        parameter.requires_grad_(True)
    backbone.model.train()
    halves = [counted_step(lambda r=r: backbone.loss(rows.batch([r]))) for r in range(len(rows))]
    forward, whole = (sum(part) for part in zip(*halves, strict=True))
    assert (phases["forward"].counted, phases["backward"].counted) == (forward, whole - forward)
    assert (phases["forward"].analytic, phases["backward"].analytic) == (forward, whole - forward)
    assert trainer.cost.flops == whole
    assert phases["backward"].weight_gradients > 0


def test_they_are_on_the_clock_and_no_steps(backbones: dict[str, str]) -> None:
    backbone, weights = backbone_of(backbones["bert"])
    rows = encode(backbone, LENGTHS)
    reports: list[tuple[str, int, int]] = []
    subject = Subject(backbone.model, Full.recipe, 0, ("gradients",))
    trainer = MeasuringHarness(subject, report=lambda *step: reports.append(step))
    trainer.gradients(weights, backbone.loss, rows, torch.square)
    cost = trainer.cost
    assert cost.clock.seconds > 0
    assert (cost.examples, cost.steps, cost.losses, cost.final_loss) == (6, 0, [], None)
    assert all(clock.laps == [] for clock in cost.clocks.values())
    assert reports == [("gradients", row, 6) for row in range(1, 7)]


def measure(
    backbone: Any, rows: Any, weights: dict[str, nn.Parameter], kind: Callable[[Subject], CellHarness]
) -> dict[str, Any]:
    identity = (type(backbone.model).__name__, str(kind))
    trainer = kind(Subject(backbone.model, Full.recipe, 0, identity, flop_ledger=FlopLedger(backbone)))
    trainer.gradients(weights, backbone.loss, rows, torch.square)
    entries = {phase: entry.analytic for phase, entry in trainer.cost.flops_by_phase.items()}
    return {"memory": trainer.memory.measure().owners, "flops": entries, "counted": trainer.cost.flops}


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_plan_predicts_the_costs_of_a_run(name: str, folders: dict[str, str]) -> None:
    """Weights, their gradients and the sums, in the same bytes."""
    backbone, weights = backbone_of(folders[name])
    run = measure(backbone, encode(backbone, LENGTHS), weights, MeasuringHarness)
    pretrained = fake_pretrained(folders[name])
    fake = pretrained.fresh_copy(LENGTHS, 0, 0.0)
    fake.freeze(keep=fake.head)
    without = {key: p for key, p in fake.model.named_parameters() if not key.startswith("head.")}
    assert measure(fake, encode(fake, LENGTHS), without, PredictingHarness) == run
    size = sum(parameter.nbytes for parameter in weights.values())
    forward, backward = run["memory"]["forward"], run["memory"]["backward"]
    assert forward["trained_weights"] == forward["gradients"] == size  # the gradients here are the sums
    assert backward["trained_weights"] == size
    assert backward["gradients"] > size
    assert "optimizer" not in run["memory"]


def test_only_the_gradients_of_one_row_are_in_memory_at_a_time(backbones: dict[str, str]) -> None:
    peaks = []
    for count in (2, 12):
        task = toy_task(rows=(count, 4), words=(5, 5))
        backbone = fresh_copy(backbones["bert"], task)
        weights = {name: p for name, p in backbone.model.named_parameters() if not name.startswith("head.")}
        memory = measure(backbone, encode(backbone, task), weights, MeasuringHarness)["memory"]
        peaks.append({phase: {**owners, "inputs": 0} for phase, owners in memory.items()})  # a view of all rows' labels
    assert peaks[0] == peaks[1]


def test_gradients_that_are_not_finite_are_an_error(backbones: dict[str, str]) -> None:
    backbone, weights = backbone_of(backbones["bert"])

    def loss(batch: Any) -> Tensor:
        return backbone.loss(batch) * float("inf")

    with pytest.raises(NotFinite, match="gradients of one of 6 rows"):
        harness(backbone, Features(), dropout=0.0).gradients(weights, loss, encode(backbone, LENGTHS), torch.square)


@pytest.mark.parametrize(
    ("each", "got"), [(lambda gradient: gradient[:1], r"\(1"), (lambda gradient: None, "NoneType")]
)
def test_each_keeps_the_shape_of_a_gradient(each: Any, got: str, backbones: dict[str, str]) -> None:
    """Another shape would be broadcast to a wrong sum."""
    backbone, weights = backbone_of(backbones["bert"])
    with pytest.raises(ValueError, match=rf"`each` must return a tensor \(.*, got {got}"):
        harness(backbone, Full()).gradients(weights, backbone.loss, encode(backbone, LENGTHS), each)


@pytest.mark.parametrize(
    ("parameters", "facts"),
    [({}, "got none"), ([], "got list"), ({"a": nn.Parameter(torch.zeros(3))}, "'a' is not one of them")],
)
def test_gradients_are_of_the_models_own_parameters(parameters: Any, facts: str, backbones: dict[str, str]) -> None:
    backbone, _ = backbone_of(backbones["bert"])
    with pytest.raises(ValueError, match=facts):
        harness(backbone, Full()).gradients(parameters, backbone.loss, encode(backbone, LENGTHS), torch.square)
