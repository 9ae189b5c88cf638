"""Sums of the gradients of single rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from tunefront.methods.base import Batch


def check_parameters(model: nn.Module, parameters: object) -> None:
    """ValueError unless `parameters` maps names to parameters of the model, at least one: others have no gradient."""
    if not isinstance(parameters, Mapping) or not parameters:
        got = "none" if isinstance(parameters, Mapping) else type(parameters).__name__
        raise ValueError(f"gradients need a mapping from names to parameters of the backbone's model, got {got}")
    own = set(map(id, model.parameters()))
    foreign = [str(name) for name, parameter in parameters.items() if id(parameter) not in own]
    if foreign:
        raise ValueError(f"gradients need parameters of the backbone's model; {foreign[0]!r} is not one of them")


class RowGradients:
    """Sums `each(gradient)` over rows, in separate parts, so that running and measuring do the same."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        loss: Callable[[Batch], Tensor],
        each: Callable[[Tensor], Tensor],
        autocast: Callable[[], AbstractContextManager[object]],
    ):
        self.parameters, self.loss = dict(parameters), loss
        self.sums = {name: torch.zeros_like(parameter, requires_grad=False) for name, parameter in parameters.items()}
        self._each, self._autocast = each, autocast

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a row, a scalar."""
        with self._autocast():
            return self.loss(batch)

    def update(self) -> None:
        """Adds `each` of the gradients to the sums and drops the gradients, one after another."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter.grad is not None:
                    self.sums[name] += self._check_shape(name, self._each(parameter.grad))
                    parameter.grad = None

    def _check_shape(self, name: str, output: object) -> Tensor:
        """The output of `each`; ValueError for another shape, which torch would broadcast to a wrong sum."""
        shape = self.sums[name].shape
        if not isinstance(output, Tensor) or output.shape != shape:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"`each` must return a tensor {tuple(shape)} for a gradient of {name}, got {got}")
        return output
