"""The variance of methods' mean scores, where runs (draw and seed) and test rows are crossed random factors.

Source: Obuchowski and Rockette 1995, Hypothesis testing of diagnostic accuracy for multiple readers and multiple tests;
Hillis 2007, A comparison of denominator degrees of freedom methods for multiple observer ROC analysis. Readers are runs
here, cases are test rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]

ENOUGH = 8
"""Degrees of freedom of the run variance from which on a contrast uses its own variance alone."""
ABOUT_METHODS = 2
"""Degrees of freedom of the run variance from which on an interval is about methods. One task with two runs has 1."""


@dataclass(frozen=True, eq=False)
class TaskParts:
    """What one task contributes to an `Estimate`.

    Shapes, M methods: `means` (M,). `one_run` (M, M): covariance of the score of one run, None if no method has two.
    `run` (M, M): the same for the mean of the runs. `total` (M, M): covariance over rows of the mean of these runs.
    `residual` (M, M): the part of `total` that is the interaction of runs and rows, which `run` contains too.
    `runs` (M,): number of runs of each method. `rows`: number of test rows.
    """

    means: Floats
    one_run: Floats | None
    run: Floats | None
    total: Floats
    residual: Floats
    runs: NDArray[np.int64]
    rows: int


@dataclass(frozen=True, eq=False)
class Estimate:
    """Mean scores of methods over tasks, with their covariance. Units: those of the scores, and their squares.

    Shapes, M methods and T tasks: `means` (M,), `task_means` (T, M). `run` (M, M): covariance by runs; None if it
    cannot be estimated. `row` (M, M): covariance by test rows. Without `run` it is that of the mean of these very runs.
    `residual` (M, M): the part of `run` that falls with more rows too. `run_df`: degrees of freedom of `run`, T (S - 1)
    with S runs per task; 0 without a second run. `row_df`: those of `row`, the sum of N - 1 over tasks with N rows.
    `runs`, `rows` (T,): the smallest number of runs of a method, and the number of rows, of each task.
    `own_run_df` (M,): degrees of freedom of each method's run variance if the methods had different runs, else None;
    `run_df` is the smallest of them then. `assumed`: methods without a second run on any task while others have one;
    their run variance is taken from these, which is wrong for a method that is less stable.
    """

    means: Floats
    task_means: Floats
    run: Floats | None
    row: Floats
    residual: Floats
    run_df: int
    row_df: int
    runs: tuple[int, ...]
    rows: tuple[int, ...]
    own_run_df: NDArray[np.int64] | None = None
    assumed: tuple[int, ...] = ()

    @property
    def covariance(self) -> Floats:
        """Covariance of `means`, (M, M): by runs and by rows."""
        return self.row if self.run is None else self.run + self.row

    @property
    def checkpoints_only(self) -> bool:
        """Whether nothing can be said about methods, only about the checkpoints of these runs."""
        return self.run is None

    @property
    def approximate(self) -> bool:
        """Whether the run variance has fewer than `ENOUGH` degrees of freedom, or is assumed for a method.

        Coverage of a 95 % interval may fall to .90 in the first case. In the second it is unknown.
        """
        return self.run is not None and (self.run_df < ENOUGH or bool(self.assumed))

    @property
    def shared_runs(self) -> bool:
        """Whether the methods were compared on runs that they share. If not, the comparison is Welch's."""
        return self.own_run_df is None

    def of(self, methods: Sequence[int]) -> Estimate:
        """The estimate of some of the methods, in the order of their indices here."""
        pairs = np.ix_(methods, methods)
        return replace(
            self,
            means=self.means[list(methods)],
            task_means=self.task_means[:, list(methods)],
            run=None if self.run is None else self.run[pairs],
            row=self.row[pairs],
            residual=self.residual[pairs],
            own_run_df=None if self.own_run_df is None else self.own_run_df[list(methods)],
            assumed=tuple(place for place, method in enumerate(methods) if method in self.assumed),
        )


def estimate(tasks: Sequence[Floats]) -> Estimate:
    """Means over tasks and their covariance, from the score of every test row.

    Shapes: one array per task, (methods, runs, rows): 0/1, or any score of a row whose mean over rows is the score of
    a run. Methods are the same in all tasks; runs and rows may differ in number. Run s of a task is the same draw and
    seed for every method. Units: those of the row scores.

    With one run in every task, and for one task with two runs, `run` is None. If only some tasks have a second run, the
    others are given the mean run variance of those.

    Errors: ValueError for no task, a shape that is not (methods, runs, rows), numbers of methods that differ, fewer
    than two rows, no run, or a value that is not finite.

    >>> scores = np.array([[[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]], [[1, 0, 0, 1], [0, 0, 0, 1], [1, 1, 0, 0]]])
    >>> known = estimate([scores])
    >>> known.means.round(3).tolist(), known.run_df, known.row_df
    ([0.667, 0.417], 2, 3)
    """
    arrays = [np.asarray(scores, dtype=np.float64) for scores in tasks]
    if not arrays:
        raise ValueError("no task is given; give one array (methods, runs, rows) per task")
    for index, scores in enumerate(arrays):
        if scores.ndim != 3 or scores.shape[0] < 1 or scores.shape[1] < 1 or scores.shape[2] < 2:
            raise ValueError(
                f"the scores of task {index} have shape {scores.shape}, not (methods, runs, rows) with at least one "
                "method, one run and two rows"
            )
        if not np.isfinite(scores).all():
            raise ValueError(f"the scores of task {index} are not all finite; give the runs that every method has")
    return combine([_parts(scores) for scores in arrays])


def _parts(scores: Floats) -> TaskParts:
    methods, runs, rows = scores.shape
    of_runs, of_rows = scores.mean(2), scores.mean(1)
    total = covariance(of_rows) / rows
    counts = np.full(methods, runs)
    if runs == 1:
        return TaskParts(scores.mean((1, 2)), None, None, total, np.zeros_like(total), counts, rows)
    left = scores - of_runs[:, :, None] - of_rows[:, None, :] + scores.mean((1, 2))[:, None, None]
    flat = left.reshape(methods, runs * rows)
    residual = flat @ flat.T / ((runs - 1) * (rows - 1))  # np.cov would divide by runs * rows - 1
    one_run = covariance(of_runs)
    return TaskParts(scores.mean((1, 2)), one_run, one_run / runs, total, residual / (runs * rows), counts, rows)


def combine(parts: Sequence[TaskParts], *, shared_runs: bool = True) -> Estimate:
    """The estimate over tasks from what each of them contributes.

    Errors: ValueError if the tasks have different numbers of methods.
    """
    if len({len(part.means) for part in parts}) != 1:
        raise ValueError(
            f"the tasks have {', '.join(str(len(part.means)) for part in parts)} methods; give the methods that every "
            "task has"
        )
    share = 1 / len(parts) ** 2
    own_df = np.sum([part.runs - 1 for part in parts], axis=0)
    run_df = int(own_df[own_df > 0].min()) if own_df.any() else 0
    total = np.sum([part.total for part in parts], axis=0) * share
    run, row, residual = None, total, np.zeros_like(total)
    if run_df >= ABOUT_METHODS:
        known = np.mean([part.one_run for part in parts if part.one_run is not None], axis=0)
        run = np.sum([known if part.run is None else part.run for part in parts], axis=0) * share
        row = np.sum([nearest_psd(part.total - part.residual) for part in parts], axis=0) * share
        residual = np.sum([part.residual for part in parts], axis=0) * share
    task_means = np.stack([part.means for part in parts])
    return Estimate(
        means=task_means.mean(0),
        task_means=task_means,
        run=run,
        row=row,
        residual=residual,
        run_df=run_df,
        row_df=sum(part.rows - 1 for part in parts),
        runs=tuple(int(part.runs.min()) for part in parts),
        rows=tuple(part.rows for part in parts),
        own_run_df=None if shared_runs else np.where(own_df > 0, own_df, run_df),
        assumed=tuple(int(method) for method in np.flatnonzero(own_df == 0)) if run is not None else (),
    )


def covariance(values: Floats) -> Floats:
    """Sample covariance of variables (k, n) over n observations, (k, k), also for k = 1."""
    centred = values - values.mean(1, keepdims=True)
    matrix: Floats = centred @ centred.T / (values.shape[1] - 1)
    return matrix


def nearest_psd(matrix: Floats) -> Floats:
    """The nearest positive semidefinite matrix: negative eigenvalues become 0.

    >>> nearest_psd(np.array([[1.0, 0.0], [0.0, -2.0]])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    nearest: Floats = (vectors * np.maximum(values, 0)) @ vectors.T
    return nearest
