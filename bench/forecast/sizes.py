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
_FEWEST_BYTES = 10**6
"""Fewer bytes than any device has: a smaller number without a unit must lack its unit."""


def memory_bytes(amount: str | int) -> int:
    """Bytes of `24GB` (decimal), `24GiB` (binary) or a number, at least a million; UserError for anything else.

    >>> memory_bytes("24GB"), memory_bytes("80 GiB"), memory_bytes("1e9")
    (24000000000, 85899345920, 1000000000)
    """
    text = str(amount)
    match = re.fullmatch(r"\s*([0-9][0-9.]*(?:e[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    factor = None if match is None else {**_UNITS, **_BINARY}.get(match[2])
    try:
        size = float(match[1]) * factor if match and factor else 0.0
    except ValueError:
        size = 0.0
    if not 1 <= size < math.inf:
        raise UserError(
            f"{text!r} is not an amount of memory; write for example 24GB (10^9 bytes) or 24GiB (2^30 bytes)."
        )
    if match and not match[2] and size < _FEWEST_BYTES:
        raise UserError(f"{text.strip()} without a unit means bytes; add a unit, for example {match[1]}GB.")
    return round(size)


@dataclass(frozen=True)
class Sweep:
    """Sizes at which every cell is planned, sorted and unique: rows per `batch`, or the `length` of synthetic rows.

    Errors: UserError for another name, no sizes, too many, or one that is not a whole number from 1.
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
        """Parses `batch=1,2,4`.

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
        """Makes a sweep from `{"batch": [1, 2, 4]}`."""
        if not isinstance(sizes, Mapping) or len(sizes) != 1:
            raise _no_sweep(sizes)
        ((name, values),) = sizes.items()
        return cls(name, tuple(values))


def _no_sweep(value: object) -> UserError:
    return UserError(f"--sweep takes batch=... or length=..., got {value!r}; for example --sweep batch=1,2,4,8.")


def _no_sizes(name: str, wrong: Sequence[object]) -> UserError:
    got = repr(wrong[0]) if wrong else "none"
    return UserError(f"--sweep {name} takes whole numbers from 1, got {got}; for example {name}=1,2,4,8.")
