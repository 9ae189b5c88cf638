"""Means, medians and quartiles of available values (None if there are none), and the sources of spread in scores."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.factors import FACTORS, levels
from tunefront.reports.units import finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record


def finite_values(records: Iterable[Record], measure: Callable[[Record], float | None]) -> list[float]:
    """The finite values of a measure."""
    return [value for value in map(measure, records) if value is not None and finite(value)]


def complete_rows(records: Iterable[Record], *measures: Callable[[Record], float | None]) -> list[tuple[float, ...]]:
    """The finite values of several measures, one tuple per record.

    Empty if a record has only some of the measures: medians over different records would not be comparable.
    """
    rows = [tuple(measure(record) for measure in measures) for record in records]
    known = [row for row in rows if any(finite(value) for value in row)]
    complete = [tuple(value for value in row if value is not None and finite(value)) for row in known]
    return complete if all(len(row) == len(measures) for row in complete) else []


def mean(values: Iterable[float]) -> float | None:
    """The mean; None if there are no values."""
    values = list(values)
    return statistics.fmean(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation; None for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """A quantile with linear interpolation as in `numpy.quantile`; None if there are no values.

    >>> quantile([1.0, 2.0, 4.0], 0.5), quantile([0.0, 10.0], 0.2), quantile([], 0.5)
    (2.0, 2.0, None)
    """
    return float(np.quantile([float(value) for value in values], share)) if values else None


def median(values: Sequence[float]) -> float | None:
    """The median; None if there are no values."""
    return quantile(values, 0.5)


def interquartile_range(values: Sequence[float]) -> float | None:
    """The 75th minus the 25th percentile with linear interpolation, as in `scipy.stats.iqr`; None for fewer than two.

    >>> interquartile_range([1.0, 2.0, 4.0, 10.0]), interquartile_range([1.0])
    (3.75, None)
    """
    if len(values) < 2:
        return None
    low, high = quantile(values, 0.25), quantile(values, 0.75)
    return None if low is None or high is None else high - low


def mean_if_complete(values: Iterable[float | None]) -> float | None:
    """The mean; None if any value is missing."""
    values = list(values)
    return None if None in values else mean(value for value in values if value is not None)


@dataclass(frozen=True)
class Spread:
    """The spread of the scores of one row on one task. `median` and `iqr` are over all runs; `levels` counts the values
    of each factor; `runs` equals `combinations` if every combination of levels ran."""

    median: float | None
    iqr: float | None
    runs: int
    levels: Mapping[str, int]
    deviations: Mapping[str, float | None]

    @property
    def combinations(self) -> int:
        """The number of combinations of the levels."""
        return math.prod(max(1, amount) for amount in self.levels.values())


def spread_of(runs: Sequence[Record]) -> Spread:
    """The spread of records with finite scores."""
    scores = finite_values(runs, lambda record: record.score)
    return Spread(
        median(scores),
        interquartile_range(scores),
        len(runs),
        {factor: levels(runs, factor) for factor in FACTORS},
        {factor: _deviation_of_means(runs, factor) for factor in FACTORS},
    )


def _deviation_of_means(runs: Sequence[Record], factor: str) -> float | None:
    """Sample standard deviation of the mean scores of a factor's levels; None for a single level."""
    means = [
        mean(finite_values(level_runs, lambda record: record.score))
        for level_runs in group_by(runs, FACTORS[factor]).values()
    ]
    return deviation([value for value in means if value is not None])
