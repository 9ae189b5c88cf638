"""Counted FLOPs, from torch's dispatcher; one multiply-add is two. Matrix products and attention only."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Shape = tuple[int, int]
"""(rows, tokens a row); tokens are 0 where the inputs are precomputed features."""


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Forward: scores and weighted values, 2 B H S_q S_k (d + d_v)."""
    batch, heads, queries, width = query.shape
    return 2 * batch * heads * queries * key.shape[2] * (width + value.shape[3])


def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: object, **__: object) -> int:
    """Backward as the flash kernel runs it: scores again, and the gradients of values, weights, queries and keys."""
    batch, heads, queries, width = query.shape
    return 2 * batch * heads * queries * key.shape[2] * (3 * width + 2 * value.shape[3])


# torch 2.13 counts nothing for attention on CPU: its formulas know the CUDA kernels only.
_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}

_LENGTHS = (8, 16, 24)
"""The lengths that are counted; short ones, since counting takes as long as the work itself."""


class _Counter(TorchDispatchMode):
    """torch's own FLOP formulas, applied to every operator that is dispatched. torch's `FlopCounterMode` gives the same
    numbers; following the module tree as well, it takes several times as long."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # Any: as torch's
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula: Any = _ON_CPU.get(func._overloadpacket) or flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


def counted_flops(run: Callable[[], object]) -> int:
    """FLOPs of a call, as dispatched. Never under `inference_mode`, where the counter sees nothing."""
    if torch.is_inference_mode_enabled():
        raise RuntimeError("FLOPs cannot be counted under inference_mode; use torch.no_grad()")
    with _Counter() as counter:
        run()
    return counter.flops


class FlopMeter:
    """FLOPs of many steps of one kind from a few counted small ones.

    A transformer's FLOPs are linear in the rows and quadratic in the tokens a row, so a few counts give every shape
    exactly; one more checks it. Where it does not hold (a method whose cost depends on more) every distinct shape is
    counted itself. Known counts are kept by `identity` for the life of the process.
    """

    _known: ClassVar[dict[Hashable, dict[Shape, int]]] = {}

    def __init__(self, identity: Hashable, count: Callable[[Shape], int], longest: int):
        self._counts = self._known.setdefault(identity, {})
        self._count, self._longest = count, longest

    def total(self, shapes: Mapping[Shape, int]) -> int:
        """FLOPs of all steps, given how often each shape ran."""
        exact = self._is_polynomial(tokens=any(length for _, length in shapes))
        return sum((self._polynomial(shape) if exact else self._at(shape)) * times for shape, times in shapes.items())

    def _is_polynomial(self, tokens: bool) -> bool:
        if tokens and self._longest < max(_LENGTHS):
            return False
        check = (3, min(30, self._longest) if tokens else 0)
        return self._polynomial(check) == self._at(check)

    def _at(self, shape: Shape) -> int:
        if shape not in self._counts:
            self._counts[shape] = self._count(shape)
        return self._counts[shape]

    def _polynomial(self, shape: Shape) -> int:
        """Work of one row, `rows` times, and work that a batch costs whatever its rows (none, for most methods)."""
        rows, length = shape
        if length == 0:
            one, two = self._at((1, 0)), self._at((2, 0))
            return one + (rows - 1) * (two - one)
        one = _quadratic({x: self._at((1, x)) for x in _LENGTHS}, length)
        middle = _LENGTHS[1]
        if self._at((2, middle)) == 2 * self._at((1, middle)):
            return rows * one
        two = _quadratic({x: self._at((2, x)) for x in _LENGTHS}, length)
        return one + (rows - 1) * (two - one)


def _quadratic(points: Mapping[int, int], x: int) -> int:
    """Lagrange's polynomial through three points, in exact arithmetic; integers at the whole numbers we ask for."""
    total = Fraction(0)
    for a, value in points.items():
        term = Fraction(value)
        for b in points:
            if b != a:
                term *= Fraction(x - b, a - b)
        total += term
    return round(total)


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
