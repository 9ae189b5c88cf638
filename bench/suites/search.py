"""A fair search: the same number of trials per method, spread over the ranges that the method declares."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import fields, replace

from tunefront.bench.settings import Scalar
from tunefront.methods.base import Method

Trial = tuple[Method, dict[str, Scalar]]
"""A method of a given size, and the recipe fields to try with it."""

RATE = "learning_rate"


def trials(method: Method, budget: int, given: Collection[str] = ()) -> Iterator[Trial]:
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
    sizes: list[Method] = [method]
    current = None if declared.size is None else getattr(method, declared.size)
    if declared.size is not None and current == _default(method, declared.size):
        rates_per_size = 1 if RATE in given else 2
        count = max(1, min(len(declared.sizes), budget // rates_per_size))
        values = [declared.sizes[index] for index in _spread(len(declared.sizes), count)]
        sizes = [replace(method, **{declared.size: int(size) if type(current) is int else size}) for size in values]
    for index, sized in enumerate(sizes):
        share = budget // len(sizes) + (index < budget % len(sizes))
        if RATE in given:
            yield sized, {}
            continue
        for rate in rates(min(declared.learning_rates), max(declared.learning_rates), share):
            yield sized, {RATE: rate}


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
