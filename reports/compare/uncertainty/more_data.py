"""How many more runs, rows or tasks would separate two methods, and which of them pays most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from tunefront.reports.compare.uncertainty.contrasts import contrasts, moderated_df, pair_weights
from tunefront.reports.compare.uncertainty.crossed import ENOUGH, Estimate, Floats

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["runs", "rows", "tasks"]

MOST = {"runs": 1000, "rows": 10_000_000, "tasks": 1000}
"""The most that is tried of each."""
DEARER = 2.0
"""Tasks are advised only if runs and rows would have to grow by more than this many times the factor of tasks."""


@dataclass(frozen=True)
class Separation:
    """What would separate two methods, if their difference stayed as it is: each number alone, the others unchanged.

    `more_runs`: further runs of both methods on every task. `more_rows`: further test rows of every task (of the mean
    task, where they differ). `more_tasks`: further tasks like these, with as many runs and rows. None if no number up
    to `MOST` separates them, 0 if they are separated. `pays_most`: which of them to add; None if they are separated or
    nothing helps. `half_width`: of today's interval, in the units of the scores.
    """

    difference: float
    half_width: float
    more_runs: int | None
    more_rows: int | None
    more_tasks: int | None
    pays_most: Kind | None

    @property
    def separated(self) -> bool:
        """Whether the interval excludes 0 already."""
        return self.half_width < abs(self.difference)


def more_data(known: Estimate, first: int, second: int, *, level: float = 0.95) -> Separation:
    """How much more data would make the half-width of the interval smaller than the difference.

    The run variance falls by 1 / runs, and its share that is the interaction with rows by 1 / rows too; the row
    variance falls by 1 / rows; both by 1 / tasks. `pays_most` is the one of runs and rows that has to grow by the
    smaller factor; tasks, which are hardest to get, only if they need less than half of that factor.

    Without a run variance a second run comes first: no number is given, and `pays_most` is runs.
    """
    weights = pair_weights(len(known.means), [(first, second)])
    now = contrasts(known, weights)
    difference = float(now.differences[0])
    half = float(stats.t.ppf((1 + level) / 2, now.df[0]) * now.standard_errors[0])
    if known.run is None:
        return Separation(difference, half, None, None, None, "runs")
    if half < abs(difference):
        return Separation(difference, half, 0, 0, 0, None)
    run, row = float(now.run[0]), float(now.row[0])
    interaction = float(np.clip((weights @ known.residual @ weights.T)[0, 0], 0.0, run))
    tasks, runs, rows = len(known.runs), float(np.mean(known.runs)), float(np.mean(known.rows))

    def half_width(extra: Floats, kind: Kind) -> Floats:
        more_runs, more_rows, more_tasks = (extra if kind == name else np.zeros_like(extra) for name in MOST)
        by_runs, by_rows, by_tasks = runs / (runs + more_runs), rows / (rows + more_rows), tasks / (tasks + more_tasks)
        run_part = (run - interaction + interaction * by_rows) * by_runs * by_tasks
        row_part = row * by_rows * by_tasks
        run_df = np.maximum((runs + more_runs - 1) * (tasks + more_tasks), 1)  # one run: its variance is assumed
        run_df = np.where(run_df < ENOUGH, moderated_df(run_df, len(known.means)), run_df)
        row_df = (rows + more_rows - 1) * (tasks + more_tasks)
        spread = run_part**2 / run_df + row_part**2 / row_df
        df = np.divide((run_part + row_part) ** 2, spread, out=np.full_like(spread, np.inf), where=spread > 0)
        halves: Floats = stats.t.ppf((1 + level) / 2, df) * np.sqrt(run_part + row_part)
        return halves

    found = {kind: _fewest(lambda extra, k=kind: half_width(extra, k), abs(difference), MOST[kind]) for kind in MOST}  # type: ignore[misc]
    sizes = {"runs": runs, "rows": rows, "tasks": float(tasks)}
    factors = {kind: 1 + extra / sizes[kind] for kind, extra in found.items() if extra is not None}
    return Separation(difference, half, found["runs"], found["rows"], found["tasks"], _cheapest(factors))


def _cheapest(factors: dict[str, float]) -> Kind | None:
    runs, rows, tasks = (factors.get(kind, np.inf) for kind in MOST)
    if min(runs, rows, tasks) == np.inf:
        return None
    if min(runs, rows) > DEARER * tasks:
        return "tasks"
    return "runs" if runs <= rows else "rows"


def _fewest(half_width: Callable[[Floats], Floats], difference: float, most: int) -> int | None:
    """The fewest extra that give a half-width below the difference: the first of a grid, then refined inside it."""
    low, high = 1, most
    while low < high:
        grid = np.unique(np.geomspace(low, high, 200).astype(np.int64))
        below = np.flatnonzero(half_width(grid.astype(np.float64)) < difference)
        if not len(below):
            return None
        place = int(below[0])
        high = int(grid[place])
        if place == 0 or high - int(grid[place - 1]) == 1:
            return high
        low = int(grid[place - 1])
    return low
