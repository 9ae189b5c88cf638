"""Ranks of methods over tasks: Friedman's test, the critical difference of mean ranks, and Wilcoxon's test of pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tunefront.reports.compare.uncertainty.crossed import Floats
from tunefront.reports.compare.uncertainty.simultaneous import holm

FEWEST_TASKS = 8
"""With fewer tasks rank tests have next to no power: the smallest p of Wilcoxon's test with 5 tasks is 0.0625."""
MOST_EXACT = 13
"""Most tasks for which all signs are tried."""
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Ranks:
    """Mean ranks over tasks, (methods,), 1 is the best and ties share their mean.

    `p`: of Friedman's test that all methods have equal ranks; None for two methods, and 1 if all are tied everywhere.
    `critical_difference`: mean ranks further apart differ at the level .05 (Nemenyi). `wilcoxon` (methods,): p-value of
    the signed-rank test of each method against the reference, adjusted by Holm; NaN for the reference, None without.
    """

    mean: Floats
    p: float | None
    critical_difference: float
    wilcoxon: Floats | None


def rank(task_means: Floats, reference: int | None = None, *, level: float = 0.95) -> Ranks | None:
    """The ranks of methods by their means on every task; None for fewer than `FEWEST_TASKS` tasks.

    Shapes: `task_means` (tasks, methods); higher is better.

    Source: Demsar 2006, Statistical comparisons of classifiers over multiple data sets.
    """
    tasks, methods = task_means.shape
    if tasks < FEWEST_TASKS or methods < 2:
        return None
    ranks = stats.rankdata(-task_means, axis=1)
    spread = ranks.std()
    p = None
    if methods > 2:
        p = float(stats.friedmanchisquare(*ranks.T).pvalue) if spread > 0 else 1.0
    q = float(stats.studentized_range.ppf(level, methods, np.inf)) / math.sqrt(2)
    difference = q * math.sqrt(methods * (methods + 1) / (6 * tasks))
    return Ranks(ranks.mean(0), p, difference, None if reference is None else _wilcoxon(task_means, reference))


def _wilcoxon(task_means: Floats, reference: int) -> Floats:
    others = [method for method in range(task_means.shape[1]) if method != reference]
    p = np.full(task_means.shape[1], np.nan)
    p[others] = holm(np.array([_signed_rank(task_means[:, other] - task_means[:, reference]) for other in others]))
    return p


def _signed_rank(differences: Floats) -> float:
    """The two-sided p-value; the rank of a difference of 0 is split between both signs.

    Exact for few tasks, also with ties: over all signs of the other differences, which `scipy.stats.wilcoxon` tries one
    by one, a hundred times slower.
    """
    differences = differences.round(9)  # so that equal differences are ties
    if not differences.any():
        return 1.0
    if len(differences) > MOST_EXACT:
        return float(stats.wilcoxon(differences, zero_method="zsplit", method="approx").pvalue)
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    signs = 1 - 2.0 * np.array(list(np.ndindex(*(2,) * len(ranks))))
    found = abs(ranks @ np.sign(differences[differences != 0]))
    return float(np.mean(np.abs(signs @ ranks) >= found - ROUNDING))
