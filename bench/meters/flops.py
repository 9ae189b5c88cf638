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
_CHECKED_LENGTH = 20
"""The lengths that are counted and checked; short ones, since counting takes as long as the work itself."""


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
        flops_of = self._law(tokens=any(length for _, length in shapes))
        return round(sum(flops_of(shape) * times for shape, times in shapes.items()))

    def _law(self, tokens: bool) -> Callable[[Shape], Fraction | int]:
        """The simplest way that also gives a count it was not made from; counting itself where neither does."""
        if tokens and self._longest < max(_LENGTHS):
            return self._at
        for law, rows in ((self._rows_alone, 2), (self._rows_and_batch, 3)):
            check = (rows, _CHECKED_LENGTH if tokens else 0)
            if law(check) == self._at(check):
                return law
        return self._at

    def _at(self, shape: Shape) -> int:
        if shape not in self._counts:
            self._counts[shape] = self._count(shape)
        return self._counts[shape]

    def _rows_alone(self, shape: Shape) -> Fraction:
        """Work of one row, `rows` times, as in most methods."""
        return shape[0] * self._of_rows(1, shape[1])

    def _rows_and_batch(self, shape: Shape) -> Fraction:
        """Beside the rows' own, work that a batch costs whatever its rows."""
        rows, length = shape
        one, two = self._of_rows(1, length), self._of_rows(2, length)
        return one + (rows - 1) * (two - one)

    def _of_rows(self, rows: int, length: int) -> Fraction:
        points = {x: self._at((rows, x)) for x in _LENGTHS} if length else {0: self._at((rows, 0))}
        return _polynomial(points, length)


def _polynomial(points: Mapping[int, int], x: int) -> Fraction:
    """Lagrange's polynomial through the points, in exact arithmetic."""
    total = Fraction(0)
    for a, value in points.items():
        term = Fraction(value)
        for b in points:
            if b != a:
                term *= Fraction(x - b, a - b)
        total += term
    return total


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
