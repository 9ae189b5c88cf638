"""The optimisers: which tensors decay, and Adafactor against the paper's algorithm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.toys import encode, fresh_copy, harness, toy_task
from tunefront.bench.training.optimizers import make_optimizer
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import parse

OPTIMIZERS = ("adamw", "adafactor")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_biases_norms_and_scales_are_not_decayed(optimizer: str, backbones: dict[str, str]) -> None:
    for spelled in ("full", "houlsby:bottleneck=4", "ia3"):
        backbone = fresh_copy(backbones["bert"])
        parse(spelled).attach(backbone)
        parameters = backbone.trainable()
        groups = make_optimizer(parameters, Recipe(optimizer=optimizer, weight_decay=0.1)).param_groups
        decayed = {id(p) for group in groups if group["weight_decay"] == 0.1 for p in group["params"]}
        kept = {id(p) for group in groups if group["weight_decay"] == 0 for p in group["params"]}
        assert decayed | kept == {id(p) for p in parameters.values()}
        assert not decayed & kept
        vectors = ("bias", "LayerNorm.weight", "scale")
        assert kept == {id(p) for name, p in parameters.items() if name.endswith(vectors)}, spelled


def _rms(tensor: Tensor) -> Tensor:
    return tensor.square().mean().sqrt()


class PlainAdafactor:
    """Algorithms 4 (matrices) and 5 (vectors) of Shazeer & Stern 2018 for one tensor, as printed."""

    def __init__(self, start: Tensor, decay: float = 0.0):
        self.x, self.decay, self.step, self.clipped = start.clone().double(), decay, 0, False
        self.v = torch.zeros_like(self.x)
        self.r, self.c = (torch.zeros_like(self.x.sum(dim, keepdim=True)) for dim in (-1, 0))

    def update(self, gradient: Tensor, rate: float) -> None:
        self.step += 1
        beta = 1 - self.step**-0.8
        squares = gradient.double() ** 2 + 1e-30
        if self.x.ndim == 2:
            self.r = beta * self.r + (1 - beta) * squares.sum(1, keepdim=True)
            self.c = beta * self.c + (1 - beta) * squares.sum(0, keepdim=True)
            self.v = self.r @ self.c / self.r.sum()
        else:
            self.v = beta * self.v + (1 - beta) * squares
        u = gradient.double() / self.v.sqrt()
        self.clipped |= bool(_rms(u) > 1.01)
        alpha = max(1e-3, _rms(self.x).item()) * rate
        self.x = self.x - alpha * self.decay * self.x - alpha * u / max(1.0, _rms(u).item())


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_three_steps_are_those_of_the_paper(decay: float) -> None:
    """A matrix, a vector, a number, and a vector of zeros, whose scale is the minimum; the last are clipped."""
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(4, 3, generator=generator), torch.randn(5, generator=generator), torch.tensor(2.0)]
    starts += [torch.zeros(3)]
    parameters = {str(place): nn.Parameter(start.clone()) for place, start in enumerate(starts)}
    recipe = Recipe(optimizer="adafactor", learning_rate=3e-2, weight_decay=decay)
    optimizer = make_optimizer(parameters, recipe)
    plain = [PlainAdafactor(start, decay if start.ndim > 1 else 0.0) for start in starts]
    assert {group["lr"] for group in optimizer.param_groups} == {3e-2}
    for size, rate in ((1.0, 3e-2), (0.5, 1e-2), (20.0, 2e-2)):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for parameter, reference in zip(parameters.values(), plain, strict=True):
            parameter.grad = size * torch.randn(parameter.shape, generator=generator)
            reference.update(parameter.grad, rate)
        optimizer.step()
        for parameter, reference in zip(parameters.values(), plain, strict=True):
            assert torch.allclose(parameter.double(), reference.x, rtol=1e-5, atol=1e-9)
    assert all(reference.clipped for reference in plain)
    for reference, start in zip(plain, starts, strict=True):
        assert not torch.allclose(reference.x, start.double(), atol=1e-5)


def test_the_first_step_of_a_vector_of_ones_is_the_rate() -> None:
    """By hand: the mean of squares is the square itself, so the update is the sign; the scale of ones is one."""
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.tensor([0.2, -7.0, 1e-6])
    make_optimizer({"scale": weight}, Recipe(optimizer="adafactor", learning_rate=3e-3)).step()
    assert weight.tolist() == pytest.approx([1 - 3e-3, 1 + 3e-3, 1 - 3e-3])


def test_bfloat16_parameters_are_updated_in_float32_and_rounded() -> None:
    start = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    low, high = nn.Parameter(start.clone()), nn.Parameter(start.float())
    gradient = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)).bfloat16()
    recipe = Recipe(optimizer="adafactor", learning_rate=0.05)
    for parameter in (low, high):
        parameter.grad = gradient.to(parameter.dtype)
        optimizer = make_optimizer({"weight": parameter}, recipe)
        optimizer.step()
        state = [value for value in optimizer.state[parameter].values() if isinstance(value, Tensor)]
        assert {value.dtype for value in state} == {torch.float32}
    assert torch.equal(low, high.bfloat16())
    assert not torch.equal(low, start)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spelled", ["full", "ia3"])
def test_the_loop_learns_with_adafactor(spelled: str, dtype: str, backbones: dict[str, str]) -> None:
    """It memorises six words that each determine the label."""
    method, task = parse(spelled), toy_task(words=(0, 0))
    backbone = fresh_copy(backbones["bert"], task, dropout=0.0)
    method.attach(backbone)
    before = {name: parameter.detach().clone() for name, parameter in backbone.trainable().items()}
    rate = {"full": 0.02, "ia3": 0.1}[spelled]
    recipe = {"optimizer": "adafactor", "learning_rate": rate, "steps": 40, "weight_decay": 0.0, "dtype": dtype}
    trainer = harness(backbone, method, **recipe)
    method.fit(backbone, encode(backbone, task), trainer)
    assert {parameter.dtype for parameter in backbone.trainable().values()} == {torch.float32}
    assert all(not torch.equal(parameter, before[name]) for name, parameter in backbone.trainable().items())
    losses = trainer.cost.losses
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses[-5:]) < 0.1 * sum(losses[:5])
