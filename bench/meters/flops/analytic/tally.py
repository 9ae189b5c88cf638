"""FLOPs by what they are for, and the tally that they are added up in. One multiply-add is two FLOPs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class State:
    """What flows through a model: (rows, seq, width), and whether anything below it needs its gradient."""

    rows: int
    seq: int
    width: int
    grad: bool = False

    @property
    def tokens(self) -> int:
        """Vectors of `width` numbers."""
        return self.rows * self.seq

    @property
    def size(self) -> int:
        """Numbers in all."""
        return self.tokens * self.width


@dataclass(frozen=True)
class Flops:
    """FLOPs of one or more passes: `forward` and `backward` are matrix products and attention alone.

    Of the backward pass, `activation_gradients` pass the loss on to what lies below, `weight_gradients` go to weights
    that are trained. `elementwise` is everything else of the forward pass, by the table in `elementwise.py`; that of
    the backward pass is not counted, since what an operator keeps and what it computes again differs from kernel to
    kernel. `parts` splits `forward`: projections, attention, feed_forward, embedding, pooler, head, output (the
    vocabulary) and inserted (what a method plugged in).
    """

    forward: int = 0
    activation_gradients: int = 0
    weight_gradients: int = 0
    elementwise: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)

    @property
    def backward(self) -> int:
        """FLOPs of the backward pass."""
        return self.activation_gradients + self.weight_gradients

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.forward + other.forward,
            self.activation_gradients + other.activation_gradients,
            self.weight_gradients + other.weight_gradients,
            self.elementwise + other.elementwise,
            dict(Counter(self.parts) + Counter(other.parts)),
        )

    def __mul__(self, times: int) -> Flops:
        return Flops(
            self.forward * times,
            self.activation_gradients * times,
            self.weight_gradients * times,
            self.elementwise * times,
            {part: flops * times for part, flops in self.parts.items()},
        )

    __rmul__ = __mul__


class Tally:
    """Adds up what one walk through a model comes across."""

    def __init__(self) -> None:
        self._parts: Counter[str] = Counter()
        self._activations = self._weights = self._elementwise = 0
        self._unused = self._done = False

    def product(self, part: str, flops: int, activations: int = 0, weights: int = 0) -> None:
        """A matrix product; its backward pass is one product of the same size for each factor that needs a gradient,
        `activations` of them states and `weights` of them weights."""
        if self._done:
            return
        self._parts[part] += flops
        if not self._unused:
            self._activations += activations * flops
            self._weights += weights * flops

    @contextmanager
    def unused(self, whether: bool = True) -> Iterator[None]:
        """Whether products within have no backward pass, because the loss does not depend on what comes of them."""
        before, self._unused = self._unused, whether
        try:
            yield
        finally:
            self._unused = before

    def elementwise(self, flops: int) -> None:
        """Work that is no product."""
        self._elementwise += 0 if self._done else flops

    @contextmanager
    def nothing(self, whether: bool = True) -> Iterator[None]:
        """Whether nothing is added within, because it has been done before."""
        before, self._done = self._done, whether
        try:
            yield
        finally:
            self._done = before

    def flops(self, training: bool) -> Flops:
        """All of it; without `training` there is no backward pass."""
        activations, weights = (self._activations, self._weights) if training else (0, 0)
        return Flops(self._parts.total(), activations, weights, self._elementwise, dict(self._parts))
