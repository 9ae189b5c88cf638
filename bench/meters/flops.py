"""Counted FLOPs, from torch's dispatcher; one multiply-add is two. Matrix products and attention only."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Shape = tuple[int, int]
"""(rows, tokens a row); tokens are 0 where the inputs are precomputed features."""


def _attention(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **named: Any) -> int:
    """Forward: scores and weighted values, 2 B H S_q S_k (d + d_v). Any: torch passes shapes, untyped."""
    batch, heads, queries, width = query
    return int(2 * batch * heads * queries * key[2] * (width + value[3]))


def _attention_backward(
    grad: Any, query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **_: Any
) -> int:
    """Backward as the flash kernel runs it: scores again, and the gradients of values, weights, queries and keys."""
    batch, heads, queries, width = query
    return int(2 * batch * heads * queries * key[2] * (3 * width + 2 * value[3]))


# torch 2.13 counts nothing for attention on CPU: its formulas know the CUDA kernels only.
_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def counted_flops(run: Callable[[], object]) -> int:
    """FLOPs of a call, as dispatched. Never under `inference_mode`, where the counter sees nothing."""
    if torch.is_inference_mode_enabled():
        raise RuntimeError("FLOPs cannot be counted under inference_mode; use torch.no_grad()")
    with FlopCounterMode(display=False, custom_mapping=_ON_CPU) as counter:
        run()
    return counter.get_total_flops()


class FlopMeter:
    """FLOPs of many steps of one kind from a few counted small ones.

    A transformer's FLOPs are linear in the rows and quadratic in the tokens a row, so counts at two numbers of rows and
    three lengths give every shape exactly; a further count checks it, and where it does not hold (a method whose
    cost depends on more) every distinct shape is counted itself. Known counts are kept by `identity` for the process.
    """

    _known: dict[Hashable, dict[Shape, int]] = {}  # noqa: RUF012  shared on purpose: one count a process
    _exact: dict[Hashable, bool] = {}  # noqa: RUF012

    def __init__(self, identity: Hashable, count: Callable[[Shape], int], longest: int):
        self._counts = self._known.setdefault(identity, {})
        self._identity, self._count, self._longest = identity, count, longest

    def total(self, shapes: Mapping[Shape, int]) -> int:
        """FLOPs of all steps, given how often each shape ran."""
        if set(shapes) <= set(self._counts):
            return sum(self._counts[shape] * times for shape, times in shapes.items())
        lengths = sorted({min(length, self._longest) for length in (8, 16, 24)})
        if any(length for _, length in shapes) and len(lengths) < 3:
            return self._one_by_one(shapes)
        if not self._is_polynomial(any(length for _, length in shapes)):
            return self._one_by_one(shapes)
        return sum(self._interpolated(shape) * times for shape, times in shapes.items())

    def _is_polynomial(self, tokens: bool) -> bool:
        if self._identity not in self._exact:
            check = (3, min(30, self._longest) if tokens else 0)
            self._exact[self._identity] = self._interpolated(check) == self._at(check)
        return self._exact[self._identity]

    def _one_by_one(self, shapes: Mapping[Shape, int]) -> int:
        return sum(self._at(shape) * times for shape, times in shapes.items())

    def _at(self, shape: Shape) -> int:
        if shape not in self._counts:
            self._counts[shape] = self._count(shape)
        return self._counts[shape]

    def _interpolated(self, shape: Shape) -> int:
        rows, length = shape
        if length == 0:
            one, two = self._at((1, 0)), self._at((2, 0))
        else:
            one, two = (round(_quadratic({x: self._at((n, x)) for x in (8, 16, 24)}, length)) for n in (1, 2))
        return one + (rows - 1) * (two - one)


def _quadratic(points: Mapping[int, int], x: int) -> Fraction:
    """Lagrange's polynomial through three points, exactly."""
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
