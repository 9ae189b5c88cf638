"""Optimiser steps: their number, their learning rates, and the parts of one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from tunefront.bench.training.optimizers import make_optimizer
from tunefront.methods.base import Batch, Recipe


class Step:
    """An optimiser step in separate parts, so that training and measuring do the same."""

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

    def update(self, after: Callable[[], None] | None = None) -> None:
        """Clips the gradients, updates the parameters, calls `after` and drops the gradients."""
        if self._recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self._recipe.clip_norm)
        self.optimizer.step()
        if after is not None:
            after()
        # Fused kernels do not count their writes, but `leads.KeptLead` compares the versions of parameters.
        torch.autograd.graph.increment_version(self.parameters)
        self.optimizer.zero_grad(set_to_none=True)


def total_steps(recipe: Recipe, rows: int) -> int:
    """Number of optimiser steps: `steps`, else `epochs` over the rows in batches, the last batch may be short."""
    return recipe.steps or max(1, math.ceil(recipe.epochs * math.ceil(rows / recipe.batch_size)))


def rate(recipe: Recipe, step: int, total: int) -> float:
    """The factor of the learning rate before step `step` (from 0): linear warm-up, then linear decay or constant."""
    warm = round(recipe.warmup * total)
    if step < warm:
        return (step + 1) / (warm + 1)
    return 1.0 if recipe.schedule == "constant" else max(0.0, (total - step) / max(1, total - warm))


class NotFinite(ArithmeticError):
    """The training loss or a gradient is no longer finite."""
