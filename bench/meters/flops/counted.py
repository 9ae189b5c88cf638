"""Counted FLOPs, from torch's dispatcher; one multiply-add is two. Matrix products and attention only."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from tunefront.bench.models.shapes import CostModel, Shape
from tunefront.methods.torch_internals import CPU_ATTENTION, CPU_ATTENTION_BACKWARD, TorchDispatchMode, packet_of


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Forward: scores and weighted values, 2 B H S_q S_k (d + d_v)."""
    batch, heads, queries, width = query.shape
    return 2 * batch * heads * queries * key.shape[2] * (width + value.shape[3])


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Backward as the flash kernel runs it: scores again, and the gradients of values, weights, queries and keys."""
    batch, heads, queries, width = query.shape
    return 2 * batch * heads * queries * key.shape[2] * (3 * width + 2 * value.shape[3])


# torch 2.13 counts nothing for attention on CPU: its formulas know the CUDA kernels only.
ON_CPU = {
    CPU_ATTENTION: _attention,
    CPU_ATTENTION_BACKWARD: _attention_backward,
}


def flops_of(func: Any, args: Any, kwargs: Any, out: Any) -> int:  # Any: as torch dispatches
    """FLOPs of an operator by torch's own formulas, 0 where it has none."""
    formula: Any = ON_CPU.get(packet_of(func)) or flop_registry.get(packet_of(func))
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


class _Counter(TorchDispatchMode):
    """torch's own FLOP formulas, applied to every operator that is dispatched. torch's `FlopCounterMode` gives the same
    numbers; following the module tree as well, it takes several times as long."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # Any: as torch's
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.flops += flops_of(func, args, kwargs, out)
        return out


def counted_flops(run: Callable[[], object]) -> int:
    """FLOPs of a call, as dispatched. Never under `inference_mode`, where the counter sees nothing."""
    if torch.is_inference_mode_enabled():
        raise RuntimeError("FLOPs cannot be counted under inference_mode; use torch.no_grad()")
    with _Counter() as counter:
        run()
    return counter.flops


def counted_step(forward: Callable[[], Tensor]) -> tuple[int, int]:
    """FLOPs of a forward pass to a scalar, and of it with its backward pass."""
    with _Counter() as counter:
        loss = forward()
        half = counter.flops
        loss.backward()  # type: ignore[no-untyped-call]
    return half, counter.flops


class FlopMeter:
    """FLOPs of many batches of one kind from a few counted small ones.

    Args: identity, under which known counts are kept for the life of the process; count, which counts one shape; laws,
    tried in order: the first whose check agrees gives every shape exactly, and where none does (a method whose cost
    depends on more) every distinct shape is counted itself; borrowed, counts of the same work that something else came
    by (the forward half of a training step), taken for a law's probes and never for its check.
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
        """FLOPs of all batches, given how often each shape ran."""
        flops_of = self._flops_of()
        return round(sum(flops_of(shape) * times for shape, times in shapes.items()))

    def _flops_of(self) -> Callable[[Shape], Fraction | int]:
        for law in self._laws:
            for at in ([self._borrowed.__getitem__] if self._lends(law) else []) + [self._at]:
                weights = _weights(law, at)
                if weights is not None and _value(law, weights, law.check) == self._at(law.check):
                    return partial(_value, law, weights)
        return self._at

    def _lends(self, law: CostModel) -> bool:
        return all(shape in self._borrowed for shape in law.probes)

    def _at(self, shape: Shape) -> int:
        if shape not in self._counts:
            self._counts[shape] = self._count(shape)
        return self._counts[shape]


def _value(law: CostModel, weights: Sequence[Fraction], shape: Shape) -> Fraction:
    return sum((weight * term for weight, term in zip(weights, law.terms(shape), strict=True)), Fraction(0))


def _weights(law: CostModel, at: Callable[[Shape], int]) -> list[Fraction] | None:
    """The terms' weights by Gauss-Jordan elimination in exact arithmetic; None where the probes do not tell them."""
    rows = [[Fraction(term) for term in law.terms(probe)] + [Fraction(at(probe))] for probe in law.probes]
    size = len(rows[0]) - 1
    for column in range(size):
        pivot = next((place for place in range(column, len(rows)) if rows[place][column]), None)
        if pivot is None:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for place, row in enumerate(rows):
            if place != column and row[column]:
                rows[place] = [value - row[column] * lead for value, lead in zip(row, rows[column], strict=True)]
    return [row[-1] for row in rows[:size]]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Keeps the random state and the gradients of `model` as they were, so that counting changes no number."""
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
