"""A fair search: the same number of trials per method, over the ranges that the method declares."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from tunefront.bench.settings import Scalar
from tunefront.methods.base import Method

Tried = tuple[Method, dict[str, Scalar]]
"""A method of a given size, and the recipe fields to try with it."""

RATE = "learning_rate"
SIZE = "size"
"""The name of the size among what is drawn; no field of a recipe has it."""


def trials(method: Method, budget: int, given: Collection[str] = ()) -> Iterator[Tried]:
    """Exactly `budget` trials of a method over its sizes and learning rates; fewer only if it has no more.

    Each size gets at least two rates, so a small budget tries only some sizes, including the first and the last. The
    rates of a size are logarithmically spaced between the lowest and the highest that the method declares. A size other
    than the method's default is kept. The rate is not searched if it is in `given`, the recipe fields that are set
    elsewhere. A method that declares no search (`icl`) gets one trial.
    """
    declared = method.search
    if declared is None:
        yield method, {}
        return
    sizes = sizes_of(method)
    if len(sizes) > 1:
        rates_per_size = 1 if RATE in given else 2
        count = max(1, min(len(sizes), budget // rates_per_size))
        sizes = [sizes[index] for index in _spread(len(sizes), count)]
    for index, sized in enumerate(sizes):
        share = budget // len(sizes) + (index < budget % len(sizes))
        if RATE in given:
            yield sized, {}
            continue
        for rate in rates(min(declared.learning_rates), max(declared.learning_rates), share):
            yield sized, {RATE: rate}


def sizes_of(method: Method) -> list[Method]:
    """The method in each size that it declares; the method alone if it has none, or another than its default."""
    declared = method.search
    if declared is None or declared.size is None:
        return [method]
    current = getattr(method, declared.size)
    if current != _default(method, declared.size):
        return [method]
    return [replace(method, **{declared.size: int(size) if type(current) is int else size}) for size in declared.sizes]


@dataclass(frozen=True)
class Space:
    """What a search may change of a method: its size, one of `sizes`; its learning rate, between the ends of `rates`,
    None if that is given elsewhere; and recipe fields with listed values."""

    method: Method
    sizes: Sequence[Method]
    rates: tuple[float, float] | None
    listed: Mapping[str, Sequence[Scalar]]

    @classmethod
    def of(
        cls, method: Method, given: Collection[str] = (), listed: Mapping[str, Sequence[Scalar]] | None = None
    ) -> Space:
        """The space of a method. `given` are the recipe fields that are set elsewhere; a method that trains nothing has
        no recipe to search."""
        listed = dict(listed or {}) if method.trains else {}
        declared = method.search
        searched = declared is not None and RATE not in {*given, *listed}
        rates = (min(declared.learning_rates), max(declared.learning_rates)) if declared and searched else None
        return cls(method, sizes_of(method), rates, listed)

    @property
    def trials(self) -> float:
        """The number of different trials; infinite if the rate is searched."""
        drawn = len(self.sizes) * math.prod(map(len, self.listed.values()))
        return math.inf if self.rates else drawn + (self.method not in self.sizes)

    @property
    def own_size(self) -> str:
        """The size of a method that has one, if it is not searched; else empty."""
        name = None if self.method.search is None else self.method.search.size
        return "" if name is None or len(self.sizes) > 1 else str(getattr(self.method, name))

    def at(self, size: int, rate: float | None, values: Mapping[str, Scalar]) -> Tried:
        """The trial with the size of this index. Rates have three digits."""
        return self.sizes[size], {**values, **({} if rate is None else {RATE: float(f"{rate:.3g}")})}


def random_trials(space: Space, seed: int = 0) -> Iterator[Tried]:
    """Different trials of a space without end, or until all are drawn: first the method as it is, then rates drawn
    evenly in their logarithm, and sizes and listed values evenly.

    A longer search begins with the trials of a shorter one. A draw depends on the seed, the number of the trial and
    what is drawn, not on the method: trial 3 lies at the same place of every method's range, so none has the luckier
    draws. Only a method of a size of its own draws others, for else its trials would be cells of the same method with
    that size drawn.
    """
    first: Tried = (space.method, {name: values[0] for name, values in space.listed.items()})
    seen = [first]
    yield first
    for number in itertools.count(2):
        if len(seen) >= space.trials:
            return
        drawn = _drawn(space, seed, number)
        if drawn not in seen:
            seen.append(drawn)
            yield drawn


def _drawn(space: Space, seed: int, number: int) -> Tried:
    """The trial that a number draws."""

    def share(name: str) -> float:
        return random.Random(f"{seed}/{number}/{name}{space.own_size}").random()  # seeded by the text's sha512

    def one_of(name: str, values: Sequence[object]) -> int:
        return int(share(name) * len(values))

    rate = None
    if space.rates is not None:
        low, high = map(math.log, space.rates)
        rate = math.exp(low + share(RATE) * (high - low))
    values = {name: values[one_of(name, values)] for name, values in space.listed.items()}
    return space.at(one_of(SIZE, space.sizes), rate, values)


def rates(low: float, high: float, count: int) -> list[float]:
    """`count` rates from low to high, logarithmically spaced and rounded to two digits; a single rate is the middle.

    >>> rates(1e-4, 1e-2, 3)
    [0.0001, 0.001, 0.01]
    >>> rates(1e-4, 1e-2, 1)
    [0.001]
    """
    steps = [0.5] if count == 1 else [index / (count - 1) for index in range(count)]
    spaced = [math.exp(math.log(low) + step * (math.log(high) - math.log(low))) for step in steps]
    return list(dict.fromkeys(float(f"{rate:.2g}") for rate in spaced))


def _spread(size: int, count: int) -> list[int]:
    """`count` evenly spaced indices of a list of this size, including the first and the last; a single one is the
    middle."""
    if count == 1:
        return [size // 2]
    return [round(index * (size - 1) / (count - 1)) for index in range(count)]


def _default(method: Method, name: str) -> object:
    return next(field.default for field in fields(method) if field.name == name)
