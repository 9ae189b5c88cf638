"""Runs a model without computing: its weights become fake tensors, which have shapes and no values.

FLOPs and bytes depend on shapes alone, so a pass over fake weights counts what a real one would, in a fraction of
the time: a pass of a 135-million-parameter model over 1,500 tokens takes seconds, over fake weights a tenth of one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor, nn

from tunefront.methods.torch_internals import (
    FakeTensor,
    ForgetfulMode,
    NoValues,
    fake_like,
    own_buffers,
    own_parameters,
)

log = logging.getLogger("tunefront")

LEAST_PARAMETERS = 1_000_000
"""Fewest parameters of a model that is run on fake weights: a smaller one computes faster than operators are faked."""

Result = TypeVar("Result")


def measured(model: nn.Module, run: Callable[[], Result]) -> Result:
    """The result of `run`, which counts what `model` does: on fake weights if that is faster, else on real ones.

    Where a method cannot run without values (it reads a number off the device), real weights are used. On CUDA they
    always are, because the allocator's own peaks are measured too.
    """
    if _is_faster(model):
        try:
            with fake_weights(model):
                return run()
        except Exception as error:  # whatever a user's method makes of tensors without values
            log.debug("cannot be measured on fake weights: %s", error)
    return run()


def _is_faster(model: nn.Module) -> bool:
    parameters = list(model.parameters())
    on_cpu = all(parameter.device.type == "cpu" and not isinstance(parameter, FakeTensor) for parameter in parameters)
    return on_cpu and sum(parameter.numel() for parameter in parameters) >= LEAST_PARAMETERS


@contextmanager
def fake_weights(model: nn.Module) -> Iterator[None]:
    """Within the block, the parameters and buffers of `model` are fake; they require gradients as the real ones do.
    Shared tensors stay shared."""
    mode = ForgetfulMode()
    made: dict[int, Tensor] = {}
    real: list[tuple[dict[str, Tensor | None], dict[str, Tensor | None]]] = []
    try:
        for module in model.modules():
            for tensors in (own_parameters(module), own_buffers(module)):
                own: dict[str, Tensor | None] = tensors  # type: ignore[assignment]
                real.append((own, own.copy()))
                for name, tensor in own.items():
                    if tensor is not None:
                        if id(tensor) not in made:
                            made[id(tensor)] = fake_like(tensor, mode).requires_grad_(tensor.requires_grad)
                        own[name] = made[id(tensor)]
        with mode, NoValues():
            yield
    finally:
        for own, before in real:
            own.update(before)
