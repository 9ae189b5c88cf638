"""Batch shapes, and how FLOPs follow from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Shape = tuple[int, ...]
"""The numbers that the FLOPs of a batch depend on: (rows, tokens per row), 0 tokens for precomputed features, or others
that the examples' `CostModel` reads."""


@dataclass(frozen=True)
class CostModel:
    """FLOPs that are linear in `terms` of a shape: counts at `probes` give the weights, and the count at `check`, which
    is not used for them, must agree."""

    terms: Callable[[Shape], tuple[int, ...]]
    probes: tuple[Shape, ...]
    check: Shape
