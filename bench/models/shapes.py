"""What the cost of a batch depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Shape = tuple[int, ...]
"""What the FLOPs of a batch depend on: (rows, tokens a row), tokens 0 for precomputed features, or whatever else the
examples' own `Law` reads."""


@dataclass(frozen=True)
class CostModel:
    """FLOPs that are linear in `terms` of a shape: counts at `probes` give the weights, and the one at `check`, from
    which nothing was made, must agree."""

    terms: Callable[[Shape], tuple[int, ...]]
    probes: tuple[Shape, ...]
    check: Shape
