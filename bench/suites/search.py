"""A fair search: the same number of trials for every method, spread over the ranges that the method declares."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import fields, replace

from tunefront.bench.settings import Scalar
from tunefront.methods.base import Method

Trial = tuple[Method, dict[str, Scalar]]
"""A method, its size set, and the recipe fields that are tried with it."""

RATE = "learning_rate"


def trials(method: Method, budget: int, given: Collection[str] = ()) -> Iterator[Trial]:
    """Exactly `budget` trials of a method, over its sizes and learning rates; fewer only where there are no more.

    Each size gets at least two rates, so that of a small budget only some sizes are tried, the first and the last among
    them. The rates of a size are evenly spaced in their logarithm between the lowest and the highest that the method
    names. A size that is not the method's default is kept; the rate is not searched where `given` has it, the fields of
    the recipe that are set elsewhere. A method that declares no search (`icl`) is one trial.
    """
    declared = method.search
    if declared is None:
        yield method, {}
        return
    sizes: list[Method] = [method]
    now = None if declared.size is None else getattr(method, declared.size)
    if declared.size is not None and now == _default(method, declared.size):
        each = 1 if RATE in given else 2
        count = max(1, min(len(declared.sizes), budget // each))
        values = [declared.sizes[place] for place in _spread(len(declared.sizes), count)]
        sizes = [replace(method, **{declared.size: int(size) if type(now) is int else size}) for size in values]
    for place, sized in enumerate(sizes):
        share = budget // len(sizes) + (place < budget % len(sizes))
        if RATE in given:
            yield sized, {}
            continue
        for rate in rates(min(declared.learning_rates), max(declared.learning_rates), share):
            yield sized, {RATE: rate}


def rates(low: float, high: float, count: int) -> list[float]:
    """So many rates from low to high, evenly spaced in their logarithm and rounded to two digits; of one, the middle.

    >>> rates(1e-4, 1e-2, 3)
    [0.0001, 0.001, 0.01]
    >>> rates(1e-4, 1e-2, 1)
    [0.001]
    """
    steps = [0.5] if count == 1 else [place / (count - 1) for place in range(count)]
    found = [math.exp(math.log(low) + step * (math.log(high) - math.log(low))) for step in steps]
    return list(dict.fromkeys(float(f"{rate:.2g}") for rate in found))


def _spread(size: int, count: int) -> list[int]:
    """So many places of a list of this size, the first and the last among them; of one, the middle."""
    if count == 1:
        return [size // 2]
    return [round(place * (size - 1) / (count - 1)) for place in range(count)]


def _default(method: Method, name: str) -> object:
    return next(field.default for field in fields(method) if field.name == name)
