"""Where the spread of a row's scores on one task comes from: templates, draws of rows, orders, seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.averages import deviation, interquartile_range, mean, measured, median
from reports.checks import grouped
from reports.conditions import FACTORS, levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.records import Record


@dataclass(frozen=True)
class Spread:
    """Scores of one row on one task. `median` and `iqr` are over all runs at once, as scores; `levels` are how many
    values of each factor occur; `runs` and `combinations` are equal where every combination of levels ran."""

    median: float | None
    iqr: float | None
    runs: int
    levels: Mapping[str, int]
    deviations: Mapping[str, float | None]

    @property
    def combinations(self) -> int:
        """How many runs every combination of the levels would make."""
        return math.prod(max(1, amount) for amount in self.levels.values())


def split(runs: Sequence[Record]) -> Spread:
    """The spread of records that have finite scores."""
    scores = measured(runs, lambda record: record.score)
    return Spread(
        median(scores),
        interquartile_range(scores),
        len(runs),
        {factor: levels(runs, factor) for factor in FACTORS},
        {factor: _between(runs, factor) for factor in FACTORS},
    )


def _between(runs: Sequence[Record], factor: str) -> float | None:
    """Sample standard deviation of the levels' mean scores, each over all else that varies; None with one level."""
    means = [mean(measured(alike, lambda record: record.score)) for alike in grouped(runs, FACTORS[factor]).values()]
    return deviation([value for value in means if value is not None])
