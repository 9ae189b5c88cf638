"""Several differences at once: intervals against a reference, and the methods that are tied with the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from tunefront.reports.compare.uncertainty.contrasts import (
    PRIOR_DF,
    Interval,
    all_pairs,
    contrasts,
    intervals,
    mean_of_pairs,
    pair_weights,
)
from tunefront.reports.compare.uncertainty.crossed import ENOUGH, Estimate, Floats

DRAWS = 4000
TIGHTER = 0.8
"""The bound leaves this share of 1 - level above it. With all of it, one of several identical methods is left out in up
to 7 % of comparisons at the level .95, because the covariance is estimated."""
NORMAL_DF = 1e6
"""Degrees of freedom that stand for infinitely many."""
NOTHING = 1e-10
"""A contrast whose variance is at most this share of the largest has none but for rounding."""
NUMBERS = 1_000_000
"""Most numbers of an array of draws."""


@dataclass(frozen=True)
class TiedSet:
    """The method with the highest mean, and all not distinguished from it, itself included: indices in order.

    `t`, `critical` (methods,): the t of `best` minus each method and the bound up to which it is tied; 0 for `best`.
    """

    best: int
    tied: tuple[int, ...]
    t: tuple[float, ...]
    critical: tuple[float, ...]


def tied_set(known: Estimate, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0) -> TiedSet:
    """The methods that cannot be distinguished from the one with the highest mean.

    The bound is that of the largest |t| over all pairs, because the best is chosen after the scores are seen: of
    identical methods, one or more are left out in about 1 - `level` of all comparisons.
    """
    methods, best = len(known.means), int(known.means.argmax())
    pairs = all_pairs(methods)
    bounds = np.zeros(methods)
    if pairs:
        critical = critical_values(known, pair_weights(methods, pairs), level=level, draws=draws, seed=seed)
        for (first, second), bound in zip(pairs, critical, strict=True):
            if best in (first, second):
                bounds[first + second - best] = bound
    t = contrasts(known, pair_weights(methods, [(best, other) for other in range(methods)])).t
    tied = tuple(int(index) for index in np.flatnonzero(t <= bounds))
    return TiedSet(best, tied, tuple(float(value) for value in t), tuple(float(bound) for bound in bounds))


def against_reference(
    known: Estimate, reference: int, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> list[Interval | None]:
    """Each method minus the reference, None for itself; all intervals hold at once with probability `level`.

    Errors: IndexError for a reference that is no index of a method.
    """
    methods = len(known.means)
    if not 0 <= reference < methods:
        raise IndexError(f"the reference is method {reference}, but the methods are 0 to {methods - 1}")
    others = [method for method in range(methods) if method != reference]
    if not others:
        return [None]
    weights = pair_weights(methods, [(other, reference) for other in others])
    critical = critical_values(known, weights, level=level, draws=draws, seed=seed)
    found: list[Interval | None] = [None] * methods
    for other, result in zip(others, intervals(contrasts(known, weights), level=level, critical=critical), strict=True):
        found[other] = result
    return found


def critical_values(
    known: Estimate, weights: Floats, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Bounds of |t| for several contrasts; of equal methods, any is exceeded with probability 1 - `level` at most.

    Shapes: `weights` (contrasts, methods), each row summing to 0 -> (contrasts,). A single contrast has its own t
    quantile. For several it is the larger of two quantiles 1 - `TIGHTER` (1 - `level`) of the largest |t|, from draws
    of the means with the estimated covariance:

    (1) Of the multivariate t distribution with this contrast's degrees of freedom.
    (2) Of t whose variances are estimated as in the data, each contrast with its own: from a run covariance drawn from
    the Wishart distribution with `known.run_df` degrees of freedom, and a row variance from chi-squared with
    `known.row_df`.

    Neither alone holds the level in simulations of identical methods at .95: (1) leaves out one or more in up to 9 % of
    comparisons with 5 tasks and 3 runs, and (2) in up to 11 % with 2 tasks and 2 runs where one method is unstable.
    The smallest degrees of freedom of all contrasts, in place of its own in (1), would nearly double the bounds of few
    runs.

    The drawn run covariance is the estimated one, moderated towards independent methods as the variance of a contrast
    is: with few runs the estimate makes contrasts seem more correlated than they are.

    Source: (1) Hasler and Hothorn 2008, Multiple contrast tests in the presence of heteroscedasticity; (2) Westfall and
    Young 1993, Resampling-based multiple testing.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    df = np.minimum(contrasts(known, weights).df, NORMAL_DF)
    if len(weights) == 1:
        single: Floats = stats.t.ppf((1 + level) / 2, df)
        return single
    generator = np.random.default_rng(seed)
    run = np.zeros_like(known.row) if known.run is None else _moderated(known.run, known.run_df)
    row_variance = np.maximum(np.einsum("km,mn,kn->k", weights, known.row, weights), 0.0)
    variance = row_variance + np.maximum(np.einsum("km,mn,kn->k", weights, run, weights), 0.0)
    varies = variance > NOTHING * variance.max()
    run_root, root = _square_root(run), _square_root(run + known.row)
    run_df = 0 if known.run is None else known.run_df
    at_once = max(1, NUMBERS // (len(weights) * max(1, min(run_df, len(run)))))
    of_normal, of_own = [], []
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        squares = _products(generator.standard_normal((size, len(run))) @ root, weights) ** 2
        of_normal.append(_largest(squares, variance[None], varies))
        drawn = row_variance * generator.chisquare(known.row_df, (size, 1)) / known.row_df
        if run_df:
            drawn = drawn + _run_variance(_wishart(generator, size, run_df, len(run)) @ run_root, weights, run_df)
        of_own.append(_largest(squares, drawn, varies))
    share = 1 - TIGHTER * (1 - level)
    own_bound = float(np.quantile(np.concatenate(of_own), share))
    critical: Floats = np.maximum(multivariate_t_quantiles(np.concatenate(of_normal), df, share), own_bound)
    return critical


def multivariate_t_quantiles(largest: Floats, df: Floats, share: float) -> Floats:
    """Quantiles `share` of the largest |t| of a multivariate t distribution, for several degrees of freedom.

    Shapes: `largest` (draws,), draws of the largest |z| of the normal distribution with the same correlations; `df` and
    result (contrasts,).

    The probability of at most c is the mean of P(chi-squared >= df z^2 / c^2) over the draws. It is solved for c by
    bisection on a grid of degrees of freedom, between which c is interpolated over 1 / df.
    """
    z = np.quantile(largest, (np.arange(300) + 0.5) / 300)
    grid = 1 / np.unique(np.clip(np.linspace(1 / df.max(), 1 / df.min(), 12), 1 / df.max(), 1 / df.min()))
    low, high = np.zeros(len(grid)), np.full(len(grid), np.log(1e6))
    for _ in range(30):
        middle = (low + high) / 2
        half = grid[:, None] / 2
        reached = special.gammaincc(half, half * (z / np.exp(middle)[:, None]) ** 2).mean(1)
        low, high = np.where(reached < share, middle, low), np.where(reached < share, high, middle)
    quantiles: Floats = np.interp(1 / df, 1 / grid, np.exp(high))
    return quantiles


def holm(p: Floats) -> Floats:
    """Holm's adjusted p-values, in the order of `p`: a test is significant at a if its adjusted value is at most a.

    Source: Holm 1979, A simple sequentially rejective multiple test procedure.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _largest(squares: Floats, variance: Floats, varies: NDArray[np.bool_]) -> Floats:
    """The largest |t| in each draw; contrasts without variance are left out."""
    largest: Floats = np.sqrt((squares / np.where(varies & (variance > 0), variance, np.inf)).max(1))
    return largest


def _wishart(generator: np.random.Generator, size: int, df: int, methods: int) -> Floats:
    """Factors F, (size, k, methods), with F'F Wishart distributed: identity scale, `df` degrees of freedom.

    From `methods` degrees of freedom on they are triangular (Bartlett 1933, On the theory of statistical regression),
    with k = methods; below, `df` rows of normal numbers.
    """
    if df < methods:
        return generator.standard_normal((size, df, methods))
    factors = np.triu(generator.standard_normal((size, methods, methods)), 1)
    place = np.arange(methods)
    factors[:, place, place] = np.sqrt(generator.chisquare(df - place, (size, methods)))
    return factors


def _run_variance(factors: Floats, weights: Floats, run_df: int) -> Floats:
    """Each contrast's run variance as `contrasts` has it, for factors (draws, k, methods) of `run_df` covariances."""
    methods = factors.shape[2]
    own = _quadratic(factors, weights) / run_df
    if run_df >= ENOUGH:
        return own
    trace, total = (factors**2).sum((1, 2)) / run_df, np.sum(factors.sum(2) ** 2, axis=1) / run_df
    pairs = 2 * (trace - total / methods) / (methods - 1)
    shared = pairs[:, None] * (weights**2).sum(1) / 2
    larger: Floats = np.maximum(own, (run_df * own + PRIOR_DF * shared) / (run_df + PRIOR_DF))
    return larger


@dataclass(frozen=True)
class _Pairs:
    """Contrasts of at most two methods each: the places of these, and their weights. Shapes: (contrasts,)."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    left: Floats
    right: Floats


def _as_pairs(weights: Floats) -> _Pairs | None:
    """The contrasts (contrasts, methods) as pairs; None if one has more than two methods."""
    if (np.count_nonzero(weights, axis=1) > 2).any():
        return None
    order = np.argsort(weights == 0, axis=1, kind="stable")[:, :2]  # the places of the two that are not 0
    first, second, rows = order[:, 0], order[:, -1], np.arange(len(weights))
    return _Pairs(first, second, weights[rows, first], np.where(first == second, 0.0, weights[rows, second]))


def _products(values: Floats, weights: Floats) -> Floats:
    """Values (draws, methods) times each row of `weights`, (draws, contrasts).

    Picking the two numbers of a pair takes a fraction of the time of a product of matrices.
    """
    pairs = _as_pairs(weights)
    if pairs is None:
        return values @ weights.T
    return pairs.left * values[:, pairs.first] + pairs.right * values[:, pairs.second]


def _quadratic(factors: Floats, weights: Floats) -> Floats:
    """w'F'Fw for factors F (draws, k, methods) and each row w of `weights`, (draws, contrasts).

    A pair needs three numbers of F'F: for all pairs of 40 methods this takes a twentieth of the time of the products
    with every contrast.
    """
    pairs = _as_pairs(weights)
    if pairs is None:
        whole: Floats = np.sum((factors @ weights.T) ** 2, axis=1)
        return whole
    gram = factors.transpose(0, 2, 1) @ factors
    left, right = pairs.left, pairs.right
    found: Floats = left**2 * gram[:, pairs.first, pairs.first] + right**2 * gram[:, pairs.second, pairs.second]
    found += 2 * left * right * gram[:, pairs.first, pairs.second]
    return np.maximum(found, 0.0)  # rounding


def _moderated(run: Floats, run_df: int) -> Floats:
    prior = mean_of_pairs(run) / 2 * np.eye(len(run))
    moderated: Floats = (run_df * run + PRIOR_DF * prior) / (run_df + PRIOR_DF)
    return moderated


def _square_root(matrix: Floats) -> Floats:
    """The symmetric square root; unlike a Cholesky factor it exists for a singular matrix too."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root
