"""A method in a panel: its records by task, their centres and spreads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tunefront.bench.records import Record
from tunefront.reports.compare.statistics import deviation, interquartile_range, mean, measured, median, whole_mean

Measure = Callable[[Record], float | None]


def family_of(label: str) -> str:
    """A label without hyper-parameters and whatever follows it.

    >>> family_of("ia3"), family_of("icl:k=4, shots 8"), family_of("ia3, shots 8")
    ('ia3', 'icl', 'ia3')
    """
    return label.split(":")[0].split(" ")[0].rstrip(",")


@dataclass(frozen=True)
class Entry:
    """One method (a row) of a panel, its records by task. `trials` is the number of recipes tried, 1 without search.

    `few_shot`: its panel has several templates, draws or orders, so its centres are medians and its spreads
    interquartile ranges, over all of them at once (T-Few, Liu et al. 2022); else means and standard deviations.
    """

    label: str
    records: dict[str, tuple[Record, ...]]
    trials: int = 1
    few_shot: bool = False

    @property
    def family(self) -> str:
        """The method's name without its hyper-parameters: entries of a family share a colour and a line."""
        return family_of(self.label)

    @property
    def all(self) -> list[Record]:
        """The entry's records over all tasks."""
        return [record for records in self.records.values() for record in records]

    def runs(self, task: str) -> list[Record]:
        """The records of a task that have a finite score."""
        return [record for record in self.records.get(task, ()) if measured([record], _score)]

    def scores(self, task: str) -> list[float]:
        """The headline scores on a task, one a run; runs without a finite score are left out."""
        return measured(self.records.get(task, ()), _score)

    def center(self, task: str) -> float | None:
        """Mean score over the runs of a task, in few-shot panels the median."""
        return median(self.scores(task)) if self.few_shot else mean(self.scores(task))

    def spread(self, task: str) -> float | None:
        """Sample standard deviation over the runs of a task, in few-shot panels the interquartile range; None with
        fewer than two."""
        return interquartile_range(self.scores(task)) if self.few_shot else deviation(self.scores(task))

    def average(self, tasks: Iterable[str]) -> float | None:
        """Mean over tasks of the tasks' centres; None where one is missing, since that average would not compare."""
        return whole_mean(map(self.center, tasks))

    def median(self, measure: Measure) -> float | None:
        """Median of a cost over tasks and runs."""
        return median(measured(self.all, measure))


def _score(record: Record) -> float | None:
    return record.score
