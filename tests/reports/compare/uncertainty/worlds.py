"""Simulated comparisons of methods whose truth is known: binary rows, with runs and rows crossed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

EQUAL = (0.05,) * 6
UNSTABLE = (0.01,) * 5 + (0.11,)
"""Standard deviations between runs of six methods: equal, and one that is much less stable."""
DESIGNS = ((1, 3), (2, 2), (5, 3), (5, 5))
"""Tasks and runs per task."""


def probabilities(
    generator: np.random.Generator, deviations: Sequence[float], runs: int, rows: int, means: Floats | None = None
) -> Floats:
    """The probability (methods, runs, rows) that a run has a row right, 1/2 plus `means` (methods,) on average.

    Rows differ in difficulty, mostly for all methods together; a run moves all rows of its method by the same amount.
    """
    methods = len(deviations)
    ease = 0.84 * generator.standard_normal((1, 1, rows)) + 0.55 * generator.standard_normal((methods, 1, rows))
    moved = np.asarray(deviations)[:, None, None] * generator.standard_normal((methods, runs, 1))
    shift = 0.0 if means is None else means[:, None, None]
    chances: Floats = np.clip(0.15 + 0.7 * special.ndtr(1.2 * ease) + shift + moved, 0, 1)
    return chances


def comparisons(
    repetitions: int,
    design: tuple[int, int],
    deviations: Sequence[float],
    *,
    rows: int = 300,
    means: Floats | None = None,
    seed: int = 0,
) -> Iterator[list[Floats]]:
    """The row scores of each task, (methods, runs, rows), of several repetitions."""
    generator = np.random.default_rng(seed)
    tasks, runs = design
    for _ in range(repetitions):
        chances = [probabilities(generator, deviations, runs, rows, means) for _ in range(tasks)]
        yield [(generator.random(chance.shape) < chance).astype(np.float64) for chance in chances]
