"""The mean of a few records over tasks, and how far its runs reach."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunefront.bench.records import Record
from tunefront.reports import units
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.factors import cell_of
from tunefront.reports.compare.statistics import mean, mean_if_complete
from tunefront.reports.names import join_names
from tunefront.reports.sections.few_shot import describe_levels
from tunefront.reports.sections.studies.study import Point
from tunefront.reports.tables import Cell
from tunefront.reports.units import finite


def about_bars(points: Iterable[Point]) -> str:
    """What the bars of points are, in a sentence after others; empty if no point has one."""
    return " Bars: from the lowest to the highest of these runs." if any(p.low is not None for p in points) else ""


@dataclass(frozen=True)
class Center:
    """A mean over tasks of means over runs, in points: `low` and `high` are the lowest and the highest mean over tasks
    of one run (its template, draw and seed), both None for a single run. `keys` are those of its records."""

    mean: float
    low: float | None = None
    high: float | None = None
    keys: tuple[str, ...] = ()

    def at(self, x: float) -> Point:
        """The point at a place of a chart."""
        return Point(x, self.mean, self.low, self.high)


def score_of(record: Record) -> float | None:
    """The headline score in points."""
    return None if record.score is None else 100 * record.score


def center(
    records: Sequence[Record], tasks: Collection[str], value: Callable[[Record], float | None] = score_of
) -> Center | None:
    """The mean over tasks of the mean over runs of a value; None if a task has none."""
    by_task = group_by(records, lambda record: record.task)
    overall = mean_if_complete(_mean(by_task.get(task, ()), value) for task in tasks)
    if overall is None:
        return None
    runs = group_by([record for record in records if record.task in tasks], cell_of).values()
    by_run = [
        mean_if_complete(_mean([record for record in run if record.task == task], value) for task in tasks)
        for run in runs
    ]
    whole = [one for one in by_run if one is not None]
    keys = tuple(record.key for record in records if record.task in tasks)
    return Center(overall, min(whole), max(whole), keys) if len(whole) > 1 else Center(overall, keys=keys)


def shared_tasks(groups: Sequence[Sequence[Record]]) -> tuple[str, ...]:
    """The tasks on which every group has a score: only over these their means can be compared."""
    scored = [{record.task for record in group if finite(record.score)} for group in groups]
    return tuple(sorted(set.intersection(*scored))) if scored else ()


def says_over(records: Sequence[Record], tasks: Collection[str], names: Mapping[str, str]) -> str:
    """What a mean over these tasks is over: `2 tasks (cr and trec), each over 2 draws × 1 seed`."""
    own = [record for record in records if record.task in tasks]
    runs = describe_levels(group_by(own, lambda record: (record.task, record.label, record.shots)).values())
    rows = sorted({record.data.n_test for record in own if record.data.n_test})
    scored = "" if not rows else f" and {_range(rows)} scored rows"
    listed = join_names([names[task] for task in sorted(tasks)])
    return f"{units.plural(len(tasks), 'task')} ({listed}), each over {runs}{scored}"


def score_cell(found: Center | None, signed: bool = False) -> Cell:
    """A mean in a table, followed by its lowest and highest run."""
    if found is None:
        return Cell(units.MISSING)
    text = units.signed(found.mean) if signed else units.points(found.mean / 100)
    if found.low is None or found.high is None:
        return Cell(text, title=f"{found.mean:.6g}", keys=found.keys)
    low, high = (units.signed(end) if signed else units.points(end / 100) for end in (found.low, found.high))
    return Cell(text, f"({low} to {high})", f"{found.mean:.6g}", keys=found.keys)


def _mean(records: Sequence[Record], value: Callable[[Record], float | None]) -> float | None:
    return mean([known for record in records if finite(known := value(record))])


def _range(values: Sequence[int]) -> str:
    return units.count(values[0]) if len(values) == 1 else f"{units.count(values[0])}–{units.count(values[-1])}"
