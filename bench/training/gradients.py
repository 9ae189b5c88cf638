"""The gradients of single rows, added up over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from tunefront.methods.base import Batch


def check_own(model: nn.Module, parameters: object) -> None:
    """ValueError unless they are parameters of the model by name, one at least: no other has a gradient."""
    if not isinstance(parameters, Mapping) or not parameters:
        got = "none" if isinstance(parameters, Mapping) else type(parameters).__name__
        raise ValueError(f"gradients need a mapping from names to parameters of the backbone's model, got {got}")
    own = set(map(id, model.parameters()))
    foreign = [str(name) for name, parameter in parameters.items() if id(parameter) not in own]
    if foreign:
        raise ValueError(f"gradients are taken of parameters of the backbone's model; {foreign[0]!r} is none of them")


class RowGradients:
    """Sums over rows of `each` of their gradients, in its parts, the same whether it runs or is only measured."""

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
        """Adds the gradients to the sums and drops them, one after another."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter.grad is not None:
                    self.sums[name] += self._like(name, self._each(parameter.grad))
                    parameter.grad = None

    def _like(self, name: str, made: object) -> Tensor:
        """What `each` made of a gradient; of another shape torch would broadcast it to a wrong sum."""
        shape = self.sums[name].shape
        if not isinstance(made, Tensor) or made.shape != shape:
            got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise ValueError(f"`each` must make a tensor {tuple(shape)} of a gradient of {name}, got {got}")
        return made
