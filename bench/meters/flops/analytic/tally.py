"""FLOPs by purpose, and the tally that adds them up. One multiply-add is two FLOPs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class State:
    """The shape of a state in a model, (rows, seq, width), and whether anything below needs its gradient."""

    rows: int
    seq: int
    width: int
    grad: bool = False

    @property
    def tokens(self) -> int:
        """Number of vectors of `width` numbers."""
        return self.rows * self.seq

    @property
    def size(self) -> int:
        """Total number of elements."""
        return self.tokens * self.width


@dataclass(frozen=True)
class Flops:
    """FLOPs of one or more passes: `forward` and `backward` count only matrix products and attention.

    The backward pass consists of `activation_gradients`, which carry the loss to lower layers, and `weight_gradients`
    of trained weights. `elementwise` is the rest of the forward pass, by the table in `elementwise.py`. The elementwise
    work of the backward pass is not counted, since kernels differ in what they save and what they recompute. `parts`
    splits `forward`: projections, attention, feed_forward, embedding, pooler, head, output (the vocabulary) and
    inserted (the plugs of a method).
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
    """Adds up the costs of one walk through a model."""

    def __init__(self) -> None:
        self._parts: Counter[str] = Counter()
        self._activations = self._weights = self._elementwise = 0
        self._unused = self._paused = False

    def product(self, part: str, flops: int, activations: int = 0, weights: int = 0) -> None:
        """Adds a matrix product. Its backward pass is one product of the same size per factor that needs a gradient:
        `activations` of them are states, `weights` of them weights."""
        if self._paused:
            return
        self._parts[part] += flops
        if not self._unused:
            self._activations += activations * flops
            self._weights += weights * flops

    @contextmanager
    def unused(self, active: bool = True) -> Iterator[None]:
        """While `active`, products have no backward pass, because the loss does not depend on their results."""
        before, self._unused = self._unused, active
        try:
            yield
        finally:
            self._unused = before

    def elementwise(self, flops: int) -> None:
        """Adds elementwise work."""
        self._elementwise += 0 if self._paused else flops

    @contextmanager
    def paused(self, active: bool = True) -> Iterator[None]:
        """While `active`, nothing is added, because the work has been done before."""
        before, self._paused = self._paused, active
        try:
            yield
        finally:
            self._paused = before

    def flops(self, training: bool) -> Flops:
        """The total; without `training`, no backward pass."""
        activations, weights = (self._activations, self._weights) if training else (0, 0)
        return Flops(self._parts.total(), activations, weights, self._elementwise, dict(self._parts))
