"""Whether two checkpoints differ on the same test rows: not whether the methods do that trained them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class CheckpointTest:
    """McNemar's exact test of two checkpoints.

    `only_first`, `only_second`: numbers of rows that only this one has right. `rows`: all. `p`: two-sided. It answers
    which of these checkpoints to deploy. Trained again, either method gives another checkpoint: if scores deviate by 5
    points between seeds, this test calls identical methods different in half of all cases.
    """

    only_first: int
    only_second: int
    rows: int
    p: float

    @property
    def difference(self) -> float:
        """Accuracy of the first minus that of the second."""
        return (self.only_first - self.only_second) / self.rows


def compare_checkpoints(first: ArrayLike, second: ArrayLike, labels: ArrayLike) -> CheckpointTest:
    """McNemar's exact test: of the rows that one checkpoint alone has right, whether half are the first's.

    Shapes: predictions `first`, `second` and `labels`, (rows,) each, of any type with equality.

    Errors: ValueError for shapes that differ, or no rows.

    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions.

    >>> compare_checkpoints([1, 1, 0, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 1, 1])
    CheckpointTest(only_first=4, only_second=0, rows=5, p=0.125)
    """
    one, two, expected = np.asarray(first), np.asarray(second), np.asarray(labels)
    if expected.ndim != 1 or not one.shape == two.shape == expected.shape or not len(expected):
        raise ValueError(
            f"the predictions have shapes {one.shape} and {two.shape}, the labels {expected.shape}; all must be "
            "(rows,) with at least one row"
        )
    right, other = one == expected, two == expected
    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    differing = only_first + only_second
    p = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return CheckpointTest(only_first, only_second, len(expected), p)
