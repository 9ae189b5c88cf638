"""Amounts of memory and lists of sizes as a person types them."""

from __future__ import annotations

import math
import re

from tunefront.bench.errors import Mistake

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BINARY = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
SWEPT = ("batch", "length")
MOST_SWEPT = 32
_FEWEST_BARE = 10**6
"""Fewer bytes than any device has, so that a bare number below is one whose unit was left out."""


def memory_bytes(text: str) -> int:
    """`24GB` (decimal), `24GiB` (binary) or a number of bytes, from a million; Mistake for anything else.

    >>> memory_bytes("24GB"), memory_bytes("80 GiB"), memory_bytes("1e9")
    (24000000000, 85899345920, 1000000000)
    """
    found = re.fullmatch(r"\s*([0-9][0-9.]*(?:e[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    factor = None if found is None else {**_UNITS, **_BINARY}.get(found[2])
    try:
        amount = float(found[1]) * factor if found and factor else 0.0
    except ValueError:
        amount = 0.0
    if not 1 <= amount < math.inf:
        raise Mistake(f"{text!r} is no amount of memory; give for example 24GB (10^9 bytes) or 24GiB (2^30 bytes).")
    if found and not found[2] and amount < _FEWEST_BARE:
        raise Mistake(f"{text.strip()} without a unit would be bytes; give it one, for example {found[1]}GB.")
    return round(amount)


def swept(text: str) -> tuple[str, tuple[int, ...]]:
    """`batch=1,2,4` -> the name and the sizes in order, each once; Mistake for anything else.

    >>> swept("batch=4,1,2")
    ('batch', (1, 2, 4))
    """
    name, _, listed = text.partition("=")
    if name.strip() not in SWEPT:
        raise Mistake(f"--sweep takes batch=... or length=..., got {text!r}; for example --sweep batch=1,2,4,8.")
    parts = [part.strip() for part in listed.split(",") if part.strip()]
    wrong = [part for part in parts if not re.fullmatch(r"[0-9]{1,7}", part) or int(part) < 1]
    if wrong or not parts:
        told = f"{wrong[0]!r} is none" if wrong else "there is none"
        raise Mistake(f"--sweep {name.strip()} takes whole numbers from 1, and {told}; for example {name}=1,2,4,8.")
    if len(parts) > MOST_SWEPT:
        raise Mistake(f"--sweep takes at most {MOST_SWEPT} sizes, got {len(parts)}.")
    return name.strip(), tuple(sorted({int(part) for part in parts}))
