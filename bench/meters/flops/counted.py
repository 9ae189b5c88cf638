"""FLOPs counted by torch's dispatcher: matrix products and attention only; one multiply-add is two FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from tunefront.bench.meters.fake_ops import Fakes
from tunefront.bench.models.shapes import CostModel, Shape
from tunefront.methods.torch_internals import (
    CPU_ATTENTION,
    CPU_ATTENTION_BACKWARD,
    DEVICE,
    GROUPED_PRODUCT,
    FakeTensor,
    TorchDispatchMode,
    packet_of,
)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Forward: scores and weighted values, 2 B H S_q S_k (d + d_v)."""
    batch, heads, queries, width = query.shape
    return 2 * batch * heads * queries * key.shape[2] * (width + value.shape[3])


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Backward in the flash kernel: scores again, then gradients of values, weights, queries and keys."""
    batch, heads, queries, width = query.shape
    return 2 * batch * heads * queries * key.shape[2] * (3 * width + 2 * value.shape[3])


def _grouped(left: Tensor, right: Tensor, *_: object, **__: object) -> int:
    """Products of many experts at once: each row (rows, inner) with the matrix of its group (groups, inner, outer), or
    in the backward pass the products of (inner, rows) with (rows, outer) by group, whose rows are part of one sum."""
    groups = right.shape[0] if left.dim() == right.dim() == 3 else 1  # otherwise every row belongs to one group
    return 2 * groups * left.shape[-2] * left.shape[-1] * right.shape[-1]


# torch 2.13 counts 0 for attention on CPU: it has formulas only for the CUDA kernels. It has none for grouped products.
OWN_FORMULAS = {
    CPU_ATTENTION: _attention,
    CPU_ATTENTION_BACKWARD: _attention_backward,
    GROUPED_PRODUCT: _grouped,
}


def flops_of(func: Any, args: Any, kwargs: Any, out: Any) -> int:  # Any: as torch dispatches
    """FLOPs of an operator by torch's own formulas, 0 if there is none."""
    formula: Any = OWN_FORMULAS.get(packet_of(func)) or flop_registry.get(packet_of(func))
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


class _Counter(TorchDispatchMode):
    """Applies torch's FLOP formulas to every dispatched operator. torch's `FlopCounterMode` gives the same numbers but
    also follows the module tree, which takes several times as long."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self._fakes: Fakes | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # Any: as torch's
        kwargs = kwargs or {}
        if func is DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # every operator reads it
        fake = FakeTensor in types and func.namespace == "aten"
        if fake and self._fakes is None:
            self._fakes = Fakes.among(args, kwargs)
        fakes = self._fakes if fake else None
        out = func(*args, **kwargs) if fakes is None else fakes.run(func, types, args, kwargs)
        self.flops += flops_of(func, args, kwargs, out)
        return out


def counted_flops(run: Callable[[], object]) -> int:
    """FLOPs of a call, as dispatched. Refuses `inference_mode`, under which the counter sees no operator."""
    if torch.is_inference_mode_enabled():
        raise RuntimeError("FLOPs cannot be counted under inference_mode; use torch.no_grad()")
    with _Counter() as counter:
        run()
    return counter.flops


def counted_step(forward: Callable[[], Tensor]) -> tuple[int, int]:
    """FLOPs of a forward pass to a scalar, and of forward and backward pass together."""
    with _Counter() as counter:
        loss = forward()
        forward_flops = counter.flops
        loss.backward()  # type: ignore[no-untyped-call]
    return forward_flops, counter.flops


class FlopMeter:
    """FLOPs of many batches of one kind, extrapolated from a few small counted ones.

    Args: identity, key of the counts, which are kept for the life of the process; count, counts one shape; laws, cost
    models tried in order: the first whose check agrees gives every shape exactly; if none does (the cost of a method
    depends on more), every distinct shape is counted; borrowed, counts of the same work from elsewhere (the forward
    half of a training step), used for the probes of a law and never for its check.
    """

    _known: ClassVar[dict[Hashable, dict[Shape, int]]] = {}

    def __init__(
        self,
        identity: Hashable,
        count: Callable[[Shape], int],
        laws: Sequence[CostModel],
        borrowed: Mapping[Shape, int] | None = None,
    ):
        self._counts = self._known.setdefault(identity, {})
        self._count, self._laws, self._borrowed = count, laws, borrowed or {}

    def total(self, shapes: Mapping[Shape, int]) -> int:
        """FLOPs of all batches; `shapes` maps each shape to its number of batches."""
        flops_of = self._flops_of()
        return round(sum(flops_of(shape) * times for shape, times in shapes.items()))

    def _flops_of(self) -> Callable[[Shape], Fraction | int]:
        for law in self._laws:
            for count in ([self._borrowed.__getitem__] if self._has_probes(law) else []) + [self._counted]:
                weights = _weights(law, count)
                if weights is not None and _value(law, weights, law.check) == self._counted(law.check):
                    return partial(_value, law, weights)
        return self._counted

    def _has_probes(self, law: CostModel) -> bool:
        return all(shape in self._borrowed for shape in law.probes)

    def _counted(self, shape: Shape) -> int:
        if shape not in self._counts:
            self._counts[shape] = self._count(shape)
        return self._counts[shape]


def _value(law: CostModel, weights: Sequence[Fraction], shape: Shape) -> Fraction:
    return sum((weight * term for weight, term in zip(weights, law.terms(shape), strict=True)), Fraction(0))


def _weights(law: CostModel, count: Callable[[Shape], int]) -> list[Fraction] | None:
    """The weights of the terms, by exact Gauss-Jordan elimination; None if the probes do not determine them."""
    rows = [[Fraction(term) for term in law.terms(probe)] + [Fraction(count(probe))] for probe in law.probes]
    size = len(rows[0]) - 1
    for column in range(size):
        pivot = next((index for index in range(column, len(rows)) if rows[index][column]), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for index, row in enumerate(rows):
            if index != column and row[column]:
                rows[index] = [value - row[column] * pivoted for value, pivoted in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows[:size]]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Restores the random state, the gradients and the mode of `model` at the end: counting changes no number."""
    gradients = {parameter: parameter.grad for parameter in model.parameters()}
    mode = model.training
    devices = {parameter.device for parameter in gradients if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=[device.index for device in devices if device.index is not None]):
        for parameter in gradients:
            parameter.grad = None
        try:
            yield
        finally:
            model.train(mode)
            for parameter, gradient in gradients.items():
                parameter.grad = gradient
