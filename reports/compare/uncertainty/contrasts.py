"""Differences between methods: standard errors, degrees of freedom, intervals, p-values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tunefront.reports.compare.uncertainty.crossed import ENOUGH, Estimate, Floats

if TYPE_CHECKING:
    from collections.abc import Sequence

PRIOR_DF = 4
"""Weight, in degrees of freedom, of the mean run variance of all pairs where a pair's own has fewer than `ENOUGH`."""
FEWEST_TASKS = 6
"""Fewest tasks for an interval about new tasks."""


@dataclass(frozen=True)
class Interval:
    """A difference of means and its interval. Units: those of the scores.

    `standard_error`, `df`: of the difference. `p`: two-sided p-value of no difference. `low`, `high`: the interval at
    `level`.
    """

    difference: float
    low: float
    high: float
    standard_error: float
    df: float
    p: float
    level: float

    @property
    def separates(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Several differences of means. Shapes: (contrasts,) each; units: those of the scores, variances their squares.

    `run` is 0 where it could not be estimated; `df` are Satterthwaite's degrees of freedom of `run + row`.
    """

    differences: Floats
    run: Floats
    row: Floats
    df: Floats

    @property
    def standard_errors(self) -> Floats:
        """Standard errors of the differences."""
        errors: Floats = np.sqrt(self.run + self.row)
        return errors

    @property
    def t(self) -> Floats:
        """t statistics: 0 for no difference, infinite for a difference without any variance."""
        with np.errstate(divide="ignore", invalid="ignore"):
            values: Floats = np.where(self.differences == 0, 0.0, self.differences / self.standard_errors)
        return values


def contrasts(known: Estimate, weights: Floats) -> Contrasts:
    """Differences of means with their variance by runs and by rows.

    Shapes: `weights` (contrasts, methods), each row summing to 0.

    The run variance is the contrast's own with n = `known.run_df` degrees of freedom if n is at least `ENOUGH`. Below,
    it is the larger of its own and the moderated one, (n own + 4 mean of all pairs) / (n + 4) with `moderated_df`: the
    moderated one alone is too small for a method that is less stable than the others.

    Errors: ValueError if weights do not sum to 0.

    Source: Satterthwaite 1946, An approximate distribution of estimates of variance components; the moderated variance
    is that of Smyth 2004, Linear models and empirical Bayes methods, with a fixed weight.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if weights.shape[1] != len(known.means) or not np.allclose(weights.sum(1), 0):
        raise ValueError(f"each contrast needs {len(known.means)} weights that sum to 0; got {weights.tolist()}")
    row = np.maximum(_forms(known.row, weights), 0.0)
    if known.run is None:
        return Contrasts(weights @ known.means, np.zeros_like(row), row, np.full_like(row, known.row_df))
    own = np.maximum(_forms(known.run, weights), 0.0)
    run, run_df = own, _own_df(known, weights)
    if known.run_df < ENOUGH:
        shared = mean_of_pairs(known.run) * (weights**2).sum(1) / 2  # of a pair: the mean of all pairs
        moderated = (run_df * own + PRIOR_DF * shared) / (run_df + PRIOR_DF)
        run = np.maximum(own, moderated)
        run_df = np.where(own > moderated, run_df, moderated_df(run_df, len(known.means)))
    return Contrasts(weights @ known.means, run, row, satterthwaite((run, run_df), (row, known.row_df)))


def interval(known: Estimate, first: int, second: int, *, level: float = 0.95) -> Interval:
    """The mean of method `first` minus that of `second`, with its t interval.

    It is about methods that are trained again, or, if `known.checkpoints_only`, about these checkpoints alone.

    >>> from tunefront.reports.compare.uncertainty.crossed import estimate
    >>> scores = np.random.default_rng(0).random((2, 3, 50)) + np.array([0.5, 0.0])[:, None, None]
    >>> gain = interval(estimate([scores]), 0, 1)
    >>> round(gain.difference, 2), round(gain.low, 2), round(gain.high, 2)
    (0.49, 0.4, 0.59)
    """
    return intervals(contrasts(known, pair_weights(len(known.means), [(first, second)])), level=level)[0]


def intervals(known: Contrasts, *, level: float = 0.95, critical: Floats | None = None) -> list[Interval]:
    """The interval of each contrast: by its own t quantile, or by `critical` values (contrasts,) of several at once.

    The p-values are those of single t tests in both cases.
    """
    own = stats.t.ppf((1 + level) / 2, known.df) if critical is None else critical
    halves = own * known.standard_errors
    p = 2 * stats.t.sf(np.abs(known.t), known.df)
    columns = zip(known.differences, halves, known.standard_errors, known.df, p, strict=True)
    return [
        Interval(
            difference=float(difference),
            low=float(difference - half),
            high=float(difference + half),
            standard_error=float(error),
            df=float(df),
            p=float(value),
            level=level,
        )
        for difference, half, error, df, value in columns
    ]


def mean_intervals(known: Estimate, *, level: float = 0.95) -> list[Interval]:
    """Each method's mean with its t interval, as `interval` for a difference from 0.

    With fewer than `ENOUGH` degrees of freedom the run variance of a mean is the larger of its own and the moderated
    one, with the mean over methods. `p` is that of a mean of 0.
    """
    row = np.maximum(np.diag(known.row), 0.0)
    if known.run is None:
        return intervals(Contrasts(known.means, np.zeros_like(row), row, np.full_like(row, known.row_df)), level=level)
    own = np.maximum(np.diag(known.run), 0.0)
    run, run_df = own, np.full(len(own), float(known.run_df))
    if known.own_run_df is not None:
        run_df = known.own_run_df.astype(np.float64)
    if known.run_df < ENOUGH:
        moderated = (run_df * own + PRIOR_DF * own.mean()) / (run_df + PRIOR_DF)
        run_df = np.where(own > moderated, run_df, np.minimum(run_df + PRIOR_DF, run_df * len(own)))
        run = np.maximum(own, moderated)
    return intervals(Contrasts(known.means, run, row, satterthwaite((run, run_df), (row, known.row_df))), level=level)


def new_tasks(known: Estimate, first: int, second: int, *, level: float = 0.95) -> Interval | None:
    """The interval of a difference on tasks like these that were not tried: t over the tasks' differences.

    None for fewer than `FEWEST_TASKS` tasks. Runs and rows are part of the spread over tasks.
    """
    gains = known.task_means[:, first] - known.task_means[:, second]
    return None if len(gains) < FEWEST_TASKS else over_tasks(gains[:, None], level=level)[0]


def over_tasks(gains: Floats, *, level: float = 0.95) -> list[Interval]:
    """The t interval of each mean over tasks, from the spread over tasks alone. Shapes: `gains` (tasks, contrasts)."""
    tasks, amount = gains.shape
    df = np.full(amount, tasks - 1.0)
    return intervals(Contrasts(gains.mean(0), np.zeros(amount), gains.var(0, ddof=1) / tasks, df), level=level)


def pair_weights(methods: int, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Weights of first minus second, (pairs, methods).

    >>> pair_weights(3, [(0, 2)]).tolist()
    [[1.0, 0.0, -1.0]]
    """
    weights = np.zeros((len(pairs), methods))
    for row, (first, second) in zip(weights, pairs, strict=True):
        row[first] += 1
        row[second] -= 1
    return weights


def all_pairs(methods: int) -> list[tuple[int, int]]:
    """Every pair of methods once, the smaller index first.

    >>> all_pairs(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    return [(first, second) for first in range(methods) for second in range(first + 1, methods)]


def mean_of_pairs(matrix: Floats) -> float:
    """The mean variance of the difference of two methods over all pairs, for a covariance (methods, methods).

    >>> mean_of_pairs(np.diag([1.0, 3.0]))
    4.0
    """
    methods = len(matrix)
    return 0.0 if methods < 2 else float(2 * (np.trace(matrix) - matrix.sum() / methods) / (methods - 1))


def moderated_df(run_df: Floats, methods: int) -> Floats:
    """Degrees of freedom of a moderated run variance: n + 4, but no more than the n (methods - 1) of all methods.

    With two methods there is no other pair, so that nothing is gained.

    >>> moderated_df(np.array([2.0]), 2).tolist(), moderated_df(np.array([2.0]), 6).tolist()
    ([2.0], [6.0])
    """
    return np.minimum(run_df + PRIOR_DF, run_df * max(1, methods - 1))


def satterthwaite(*parts: tuple[Floats, Floats | float]) -> Floats:
    """Degrees of freedom of a sum of variances, each given with its own; infinite where all variances are 0.

    >>> satterthwaite((np.array([1.0]), 4.0), (np.array([1.0]), 4.0)).tolist()
    [8.0]
    """
    total = np.sum([variance for variance, _ in parts], axis=0)
    spread = np.sum([variance**2 / df for variance, df in parts], axis=0)
    df: Floats = np.divide(total**2, spread, out=np.full_like(total, np.inf), where=spread > 0)
    return df


def _own_df(known: Estimate, weights: Floats) -> Floats:
    """Degrees of freedom of each contrast's run variance: Welch's if the methods had different runs."""
    if known.own_run_df is None or known.run is None:
        return np.full(len(weights), float(known.run_df))
    variances = weights**2 * np.diag(known.run)
    df = satterthwaite(*((variances[:, index], float(own)) for index, own in enumerate(known.own_run_df)))
    return np.where(np.isfinite(df), df, float(known.run_df))


def _forms(matrix: Floats, weights: Floats) -> Floats:
    forms: Floats = np.einsum("km,mn,kn->k", weights, matrix, weights)
    return forms
