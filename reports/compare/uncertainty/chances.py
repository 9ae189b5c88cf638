"""How probable it is that a method is the best or on the Pareto front, its expected rank and its expected regret."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tunefront.reports.compare.uncertainty.crossed import ENOUGH, Estimate, Floats

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAWS = 20_000


@dataclass(frozen=True, eq=False)
class Chances:
    """What is known of the order of the methods' true means. Shapes: (methods,) each.

    `best`: probability of the highest mean. `front`: probability that no other method has at least the same mean at no
    higher cost; NaN for a method whose cost is not known, None without costs. `rank`: expected rank, 1 is the best.
    `regret`: expected distance from the highest mean, in the units of the scores.

    All are None if the run variance has fewer than `ENOUGH` degrees of freedom, or is assumed for a method: they would
    be overconfident.
    `missing_runs` is the number of runs that each task needs in addition, 0 if they are known.
    """

    best: Floats | None
    front: Floats | None
    rank: Floats | None
    regret: Floats | None
    missing_runs: int


def chances(
    known: Estimate, costs: Sequence[float | None] | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Chances:
    """The chances of each method, from draws of a multivariate t distribution around the estimated means.

    Its covariance is that by runs and rows, its degrees of freedom are those of the run variance. Higher scores are
    better, and lower costs.

    Shapes: `costs` (methods,), in any unit.

    Errors: ValueError for another number of costs than of methods.
    """
    if costs is not None and len(costs) != len(known.means):
        raise ValueError(f"{len(costs)} costs are given for {len(known.means)} methods")
    missing = missing_runs(known)
    if missing:
        return Chances(None, None, None, None, missing)
    means = _draw(known, draws, seed)
    highest = means.max(1, keepdims=True)
    is_best = means == highest
    return Chances(
        best=(is_best / is_best.sum(1, keepdims=True)).mean(0),
        front=None if costs is None else _on_front(means, costs),
        rank=stats.rankdata(-means, axis=1).mean(0),
        regret=(highest - means).mean(0),
        missing_runs=0,
    )


def front_chances(
    known: Estimate, costs: Sequence[Sequence[float | None]], *, draws: int = DRAWS, seed: int = 0
) -> list[Floats] | None:
    """`Chances.front` for each of several kinds of cost, from the same draws; None if the run variance has too few
    degrees of freedom."""
    if missing_runs(known):
        return None
    means = _draw(known, draws, seed)
    return [_on_front(means, method_costs) for method_costs in costs]


def _draw(known: Estimate, draws: int, seed: int) -> Floats:
    """Means (draws, methods) of the multivariate t distribution around the estimated ones."""
    generator = np.random.default_rng(seed)
    normal = generator.multivariate_normal(np.zeros(len(known.means)), known.covariance, size=draws, method="eigh")
    drawn: Floats = known.means + normal * np.sqrt(known.run_df / generator.chisquare(known.run_df, size=(draws, 1)))
    return drawn


def missing_runs(known: Estimate) -> int:
    """The fewest further runs of every task with which the run variance has `ENOUGH` degrees of freedom.

    Of the method with the fewest runs, if they differ.
    """
    run_df = 0 if known.assumed else known.run_df
    return max(0, math.ceil((ENOUGH - run_df) / len(known.runs)))


def _on_front(means: Floats, method_costs: Sequence[float | None]) -> Floats:
    """The share of draws (draws, methods) in which a method is on the front."""
    costs = np.array([np.nan if cost is None else cost for cost in method_costs])
    shares = np.full(len(costs), np.nan)
    for method, cost in enumerate(costs):
        if np.isnan(cost):
            continue
        own = means[:, [method]]
        cheaper, equal = means[:, costs < cost], means[:, costs == cost]
        shares[method] = 1 - ((cheaper >= own).any(1) | (equal > own).any(1)).mean()
    return shares
