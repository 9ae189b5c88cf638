"""Amounts of memory, and sizes to sweep over."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunefront.bench.errors import UserError

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
BATCH, LENGTH = "batch", "length"
SWEPT = (BATCH, LENGTH)
MOST_SWEPT, LARGEST_SIZE = 32, 9_999_999
_FEWEST_BARE = 10**6
"""Fewer bytes than any device has, so that a bare number below is one whose unit was left out."""


def memory_bytes(amount: str | int) -> int:
    """`24GB` (decimal), `24GiB` (binary) or a number of bytes, from a million; UserError for anything else.

    >>> memory_bytes("24GB"), memory_bytes("80 GiB"), memory_bytes("1e9")
    (24000000000, 85899345920, 1000000000)
    """
    text = str(amount)
    found = re.fullmatch(r"\s*([0-9][0-9.]*(?:e[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    factor = None if found is None else {**_UNITS, **_BINARY}.get(found[2])
    try:
        size = float(found[1]) * factor if found and factor else 0.0
    except ValueError:
        size = 0.0
    if not 1 <= size < math.inf:
        raise UserError(f"{text!r} is no amount of memory; give for example 24GB (10^9 bytes) or 24GiB (2^30 bytes).")
    if found and not found[2] and size < _FEWEST_BARE:
        raise UserError(f"{text.strip()} without a unit would be bytes; give it one, for example {found[1]}GB.")
    return round(size)


@dataclass(frozen=True)
class Sweep:
    """Sizes at which every cell is planned: rows a `batch`, or the `length` of made-up rows; in order, each once.

    Errors: UserError for another name, no sizes, too many, or one that is no whole number from 1.
    """

    name: str
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.name not in SWEPT:
            raise _no_sweep(self.name)
        wrong = [size for size in self.sizes if type(size) is not int or not 1 <= size <= LARGEST_SIZE]
        if wrong or not self.sizes:
            raise _no_sizes(self.name, wrong)
        if len(self.sizes) > MOST_SWEPT:
            raise UserError(f"--sweep takes at most {MOST_SWEPT} sizes, got {len(self.sizes)}.")
        object.__setattr__(self, "sizes", tuple(sorted(set(self.sizes))))

    @classmethod
    def from_text(cls, text: str) -> Sweep:
        """Of `batch=1,2,4`.

        >>> Sweep.from_text("batch=4,1,2")
        Sweep(name='batch', sizes=(1, 2, 4))
        """
        name, _, listed = text.partition("=")
        if name.strip() not in SWEPT:
            raise _no_sweep(text)
        parts = [part.strip() for part in listed.split(",") if part.strip()]
        wrong = [part for part in parts if not re.fullmatch(r"[0-9]{1,7}", part)]
        if wrong:
            raise _no_sizes(name.strip(), wrong)
        return cls(name.strip(), tuple(map(int, parts)))

    @classmethod
    def from_mapping(cls, sizes: Mapping[str, Sequence[int]]) -> Sweep:
        """Of `{"batch": [1, 2, 4]}`."""
        if not isinstance(sizes, Mapping) or len(sizes) != 1:
            raise _no_sweep(sizes)
        ((name, values),) = sizes.items()
        return cls(name, tuple(values))


def _no_sweep(given: object) -> UserError:
    return UserError(f"--sweep takes batch=... or length=..., got {given!r}; for example --sweep batch=1,2,4,8.")


def _no_sizes(name: str, wrong: Sequence[object]) -> UserError:
    found = f"{wrong[0]!r} is none" if wrong else "there is none"
    return UserError(f"--sweep {name} takes whole numbers from 1, and {found}; for example {name}=1,2,4,8.")
