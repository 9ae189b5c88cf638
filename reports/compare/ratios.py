"""The ratio of two methods' costs that vary between runs, with its interval, from runs of the same cell."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import stats

from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.factors import cell_of
from tunefront.reports.units import finite, significant

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from tunefront.bench.records import Record, Spread

LEVEL = 0.95
FARTHEST, NEAREST = 1e4, 1e-5
"""Ends of intervals beyond these are not written out."""
EQUAL = 1e-9
"""Logarithms that differ by less are equal."""
RESOLUTION = 0.01
"""How well a ratio is known at best that was the same in all runs: as FLOPs that differ by less count as equal."""
IQR_OF_NORMAL = 1.349
"""Interquartile range of a normal distribution of standard deviation 1."""
MEDIAN_FACTOR = math.sqrt(math.pi / 2)
"""Standard error of a median relative to that of a mean, for many normal values."""


@dataclass(frozen=True)
class Ratio:
    """A ratio and its 95 % interval; `low` and `high` are None if nothing is known of the noise.

    `pairs`: number of pairs of runs. With a single pair, the interval comes from the spread between the steps of these
    two runs alone.
    """

    value: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def smaller(self) -> bool:
        """Whether the whole interval is below 1."""
        return self.high is not None and self.high < 1

    @property
    def larger(self) -> bool:
        """Whether the whole interval is above 1."""
        return self.low is not None and self.low > 1


def ratio(
    ours: Iterable[Record],
    reference: Iterable[Record],
    measure: Callable[[Record], float | None],
    error: Callable[[Record], float | None] = lambda record: None,
) -> Ratio | None:
    """The ratio of a measure in two methods' records, over runs with the same task, template, draw and seed.

    The geometric mean over the pairs of each task and template, then over these. Its interval is a t interval of the
    logarithm: from the spread between the pairs of the same task and template, pooled; if none has two pairs, from the
    spread between tasks, which contains real differences between tasks and so is rather too wide. With a single pair it
    comes from `error`, the relative standard error of the measure in a record.

    None without a pair of positive values.
    """
    pairs = _pairs(ours, reference, measure)
    groups = list(group_by(pairs, lambda pair: (pair[0].task, pair[0].template)).values())
    if not groups:
        return None
    logs = [[value for *_, value in group] for group in groups]
    means = [statistics.fmean(group) for group in logs]
    middle, half = statistics.fmean(means), _half_width(logs, means)
    if len(pairs) == 1:
        errors = [error(record) for record in pairs[0][:2]]
        known = [value for value in errors if value is not None and finite(value)]
        half = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.hypot(*known) if len(known) == len(errors) else None
    if half is None:
        return Ratio(math.exp(middle), None, None, len(pairs))
    return Ratio(math.exp(middle), _exp(middle - half), _exp(middle + half), len(pairs))


def relative_error(spread: Spread) -> float | None:
    """The standard error of a median relative to the median, from its quartiles, for independent normal values.

    Steps of a run are not independent (neighbours share the load of the machine), so that this is a lower bound. None
    if it is unknown: for a single value, a median of 0, or equal quartiles, which show the clock's resolution.
    """
    if spread.count < 2 or spread.median <= 0 or spread.high <= spread.low:
        return None
    deviation = (spread.high - spread.low) / IQR_OF_NORMAL
    return MEDIAN_FACTOR * deviation / math.sqrt(spread.count) / spread.median


def bound_text(value: float) -> str:
    """The end of an interval of a ratio: two runs that differ much give ends of many digits.

    >>> bound_text(0.722), bound_text(3.5e19), bound_text(1e-9)
    ('0.722', '>10,000', '<0.00001')
    """
    return f">{FARTHEST:,.0f}" if value > FARTHEST else f"<{NEAREST:.5f}" if value < NEAREST else significant(value)


def _pairs(
    ours: Iterable[Record], reference: Iterable[Record], measure: Callable[[Record], float | None]
) -> list[tuple[Record, Record, float]]:
    """A record of each method and the logarithm of their ratio, for every cell in which both have the measure.

    Several records of a method in a cell (orders of demonstrations) count as one, their geometric mean. Methods that
    share no seed are paired by task, template and draw.
    """

    def by_cell(records: Iterable[Record], seeds: bool) -> dict[Hashable, list[tuple[Record, float]]]:
        known = [(record, value) for record in records if (value := measure(record)) is not None and finite(value)]
        positive = [(record, math.log(value)) for record, value in known if value > 0]
        return group_by(positive, lambda pair: (pair[0].task, *cell_of(pair[0])[: None if seeds else -1]))

    ours, reference = list(ours), list(reference)
    left, right = by_cell(ours, True), by_cell(reference, True)
    if not left.keys() & right.keys():
        left, right = by_cell(ours, False), by_cell(reference, False)
    return [
        (
            left[cell][0][0],
            right[cell][0][0],
            statistics.fmean(value for _, value in left[cell]) - statistics.fmean(value for _, value in right[cell]),
        )
        for cell in left
        if cell in right
    ]


def _half_width(logs: list[list[float]], means: list[float]) -> float | None:
    """Half the interval of the mean of `means`, the means of the groups `logs`.

    None for a single value. Equal ones show the resolution of a clock, and nothing of the noise: they are taken to be
    known within `RESOLUTION`.
    """
    df = sum(len(group) - 1 for group in logs)
    if df:
        squares = sum((value - mean) ** 2 for group, mean in zip(logs, means, strict=True) for value in group)
        variance = squares / df * sum(1 / len(group) for group in logs) / len(logs) ** 2
    elif len(means) > 1:
        df, variance = len(means) - 1, statistics.variance(means) / len(means)
    else:
        return None
    if variance < EQUAL**2:
        return math.log1p(RESOLUTION)
    return float(stats.t.ppf((1 + LEVEL) / 2, df)) * math.sqrt(variance)


def _exp(value: float) -> float:
    return math.exp(min(value, 300.0))  # two runs that differ much have intervals beyond the largest float
