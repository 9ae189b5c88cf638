"""How many test rows a difference takes to be seen: closed formulas, at 80 % power and a two-sided level of 5 %.

They are about two models as trained, scored on the same rows. Training again adds the noise of seeds and of drawn rows,
which no number of test rows lowers.
"""

from __future__ import annotations

import math

from tunefront.bench.check.findings import Baseline, Power
from tunefront.bench.data.task import Task

_ALPHA_Z, _POWER_Z = 1.959964, 0.841621
"""Normal quantiles of 97.5 % and of 80 %."""
DIFFERENCE = 0.02
_DISAGREEMENT, _LEAST, _MOST = 0.1, 0.04, 0.3
"""Assumed share of rows on which one model alone is right: without a baseline, and its limits with one."""
_CORRELATION = 0.8
"""Assumed correlation with the labels without a baseline."""


def rows_for_accuracy(difference: float, disagreement: float) -> int | None:
    """The rows at which McNemar's test sees this difference of two accuracies; None if the models disagree on too few.

    Args: difference, of the accuracies; disagreement, the share of rows on which exactly one model is right, at least
    the difference. Source: Connor 1987, Biometrics 43, 207-211, page 209.

    >>> rows_for_accuracy(0.02, 0.1)
    1960
    """
    if not 0 < difference <= disagreement <= 1:
        return None
    spread = _ALPHA_Z * math.sqrt(disagreement) + _POWER_Z * math.sqrt(disagreement - difference**2)
    return math.ceil((spread / difference) ** 2)


def rows_for_pearson(difference: float, correlation: float) -> int:
    """The rows at which a z test sees this difference of two correlations with the same labels.

    Args: correlation, of both models with the labels. Assumes that their predictions correlate halfway between what
    independent errors give, its square, and one. Source: the large-sample variances and covariance of correlations
    that share a variable (Pearson and Filon 1898), as in Steiger 1980, Psychological Bulletin 87, 245-251.

    >>> rows_for_pearson(0.02, 0.8)
    2137
    """
    return math.ceil(_pearson_spread(correlation) / difference**2)


def _pearson_spread(correlation: float) -> float:
    square = min(correlation**2, 0.998)
    between = (1 + square) / 2
    shared = between * (1 - 2 * square) - square / 2 * (1 - 2 * square - between**2)
    return (_ALPHA_Z + _POWER_Z) ** 2 * (2 * (1 - square) ** 2 - 2 * shared)


def power(task: Task, baseline: Baseline) -> Power:
    """The rows that a difference of two points takes on a task, and the difference that its test rows show.

    Two models are assumed to disagree on as many rows as the linear baseline has wrong: if both are as good as that,
    half of their errors are the same. In a regression both are assumed to correlate with the labels as it does.
    """
    test_rows = len(task.splits[task.eval_split])
    if task.kind == "regression":
        assumed = _CORRELATION if baseline.linear is None else min(max(baseline.linear, 0.1), 0.95)
        visible = min(1.0, math.sqrt(_pearson_spread(assumed) / test_rows))
        return Power("pearson", DIFFERENCE, assumed, rows_for_pearson(DIFFERENCE, assumed), test_rows, visible)
    accuracy = baseline.accuracy
    assumed = _DISAGREEMENT if accuracy is None else min(max(1 - accuracy, _LEAST), _MOST)
    return Power(
        "accuracy",
        DIFFERENCE,
        assumed,
        rows_for_accuracy(DIFFERENCE, assumed),
        test_rows,
        visible_difference(test_rows, assumed),
    )


def visible_difference(rows: int, disagreement: float) -> float | None:
    """The least difference of accuracies that so many rows show; None if not even one model's being always right where
    they disagree is enough.

    >>> round(visible_difference(1958, 0.1), 3)
    0.02
    """
    most = rows_for_accuracy(disagreement, disagreement)
    if most is None or most > rows:
        return None
    low, high = 0.0, disagreement
    for _ in range(50):
        middle = (low + high) / 2
        needed = rows_for_accuracy(middle, disagreement)
        low, high = (low, middle) if needed is not None and needed <= rows else (middle, high)
    return high
