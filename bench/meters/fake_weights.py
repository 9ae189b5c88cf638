"""Runs a model without computing: its weights become fake tensors, which have shapes and no values.

FLOPs and bytes depend on shapes alone, so a pass over fake weights counts what a real one would, in a fraction of
the time: a pass of a 135-million-parameter model over 1,500 tokens takes seconds, over fake weights a tenth of one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from tunefront.bench.models.families.leads import NAME as LEAD
from tunefront.methods.torch_internals import FakeTensor, NoValues, make_fake, own_tensors

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
            with fake_weights(model), NoValues():
                return run()
        except Exception as error:  # whatever a user's method makes of tensors without values
            log.debug("cannot be measured on fake weights: %s", error)
    return run()


def current(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> Callable[[], dict[str, nn.Parameter]]:
    """A function that returns these parameters as they are when it is called: fake ones while the weights are fake."""
    paths = {id(parameter): path for path, parameter in model.named_parameters()}
    places = {name: paths.get(id(parameter)) for name, parameter in parameters.items()}

    def look_up() -> dict[str, nn.Parameter]:
        return {
            name: parameter if (path := places[name]) is None else model.get_parameter(path)
            for name, parameter in parameters.items()
        }

    return look_up


def _is_faster(model: nn.Module) -> bool:
    parameters = list(model.parameters())
    on_cpu = all(parameter.device.type == "cpu" and not isinstance(parameter, FakeTensor) for parameter in parameters)
    if hasattr(model, LEAD):  # a lead is kept for these very weights, and would be computed again for others
        return False
    return on_cpu and sum(parameter.numel() for parameter in parameters) >= LEAST_PARAMETERS


@contextmanager
def fake_weights(model: nn.Module) -> Iterator[None]:
    """Within the block, the parameters and buffers of `model` are fake tensors; they require gradients as the real ones
    do, and shared tensors stay shared. Their mode is not entered, so that what only reads a batch (its lengths, say) is
    computed as ever."""
    real = [(own, own.copy()) for own in own_tensors(model)]
    try:
        make_fake(model)
        yield
    finally:
        for own, before in real:
            own.update(before)
