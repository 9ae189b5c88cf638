"""Optimiser steps: how many, at which rate, and what one of them does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from tunefront.bench.training.optimizers import make_optimizer
from tunefront.methods.base import Batch, Recipe


class Step:
    """An optimiser step in its parts, the same whether it trains or is only measured."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        recipe: Recipe,
        autocast: Callable[[], AbstractContextManager[object]],
    ):
        self.optimizer = make_optimizer(parameters, recipe)
        self.parameters = list(parameters.values())
        self._loss, self._recipe, self._autocast = loss, recipe, autocast

    def forward(self, batch: Batch) -> Tensor:
        """The loss, a scalar."""
        with self._autocast():
            return self._loss(batch)

    def update(self) -> None:
        """Clips the gradients, moves the parameters and drops the gradients."""
        if self._recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self._recipe.clip_norm)
        self.optimizer.step()
        # Fused kernels write without a word, and what is kept of weights is told by their versions (`leads.Kept`).
        torch.autograd.graph.increment_version(self.parameters)
        self.optimizer.zero_grad(set_to_none=True)


def total_steps(recipe: Recipe, rows: int) -> int:
    """Optimiser steps of a run: `steps`, else `epochs` over the rows in batches, the last one short."""
    return recipe.steps or max(1, math.ceil(recipe.epochs * math.ceil(rows / recipe.batch_size)))


def rate(recipe: Recipe, step: int, total: int) -> float:
    """The learning rate's factor before step `step` (from 0): a linear rise, then a linear fall or none."""
    warm = round(recipe.warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 1.0 if recipe.schedule == "constant" else max(0.0, (total - step) / max(1, total - warm))


class NotFinite(ArithmeticError):
    """The training loss is not a number any more."""
