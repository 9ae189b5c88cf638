"""What is compared with what: a panel is a backbone with a number of shots, an entry a method in it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from bench.records import Record
from reports.checks import grouped, uneven_timing
from reports.units import finite

if TYPE_CHECKING:
    from reports.tuning import Selection

Measure = Callable[[Record], float | None]


@dataclass(frozen=True)
class Entry:
    """One method (a row) of a panel, its records by task. `trials` is the number of recipes tried, 1 without search."""

    label: str
    records: dict[str, tuple[Record, ...]]
    trials: int = 1

    @property
    def family(self) -> str:
        """The method's name without its hyper-parameters: entries of a family share a colour and a line."""
        return self.label.split(":")[0].split(" ")[0]

    @property
    def all(self) -> list[Record]:
        """The entry's records over all tasks."""
        return [record for records in self.records.values() for record in records]

    def scores(self, task: str) -> list[float]:
        """The headline scores on a task, one a run; runs without a finite score are left out."""
        return measured(self.records.get(task, ()), lambda record: record.score)

    def mean(self, task: str) -> float | None:
        """Mean score over the runs of a task."""
        return mean(self.scores(task))

    def spread(self, task: str) -> float | None:
        """Sample standard deviation over the runs of a task, None with fewer than two."""
        scores = self.scores(task)
        return statistics.stdev(scores) if len(scores) > 1 else None

    def average(self, tasks: Iterable[str]) -> float | None:
        """Mean over tasks of the task means; None where one is missing, since that average would not compare."""
        means = list(map(self.mean, tasks))
        return None if None in means else mean(value for value in means if value is not None)

    def median(self, measure: Measure) -> float | None:
        """Median of a cost over tasks and runs."""
        return quantile(measured(self.all, measure), 0.5)


@dataclass(frozen=True)
class Panel:
    """A backbone with a number of shots. `uneven` says why seconds may not be compared here, None where they may."""

    backbone: str
    shots: int | None
    tasks: tuple[str, ...]
    entries: tuple[Entry, ...]
    reference: Entry | None
    uneven: str | None

    @property
    def records(self) -> list[Record]:
        """All records of the panel."""
        return [record for entry in self.entries for record in entry.all]

    @cached_property
    def backbone_params(self) -> float | None:
        """The denominator of percentages, None where it is missing or not the same in all records."""
        found = set(measured(self.records, lambda record: record.backbone_params))
        return found.pop() if len(found) == 1 else None

    @cached_property
    def relative_tasks(self) -> tuple[str, ...]:
        """Tasks on which the reference has a score."""
        reference = self.reference
        return tuple(task for task in self.tasks if reference is not None and reference.mean(task) is not None)

    def differences(self, entry: Entry) -> list[float]:
        """Points above (or below) the reference's mean score on the same task, one a task and run."""
        found = []
        for task in self.relative_tasks:
            base = self.reference.mean(task) if self.reference is not None else None
            found += [100 * (score - base) for score in entry.scores(task) if base is not None]
        return found

    def difference(self, entry: Entry) -> float | None:
        """Mean over tasks of the mean difference to the reference in points, None where a task is missing."""
        if self.reference is None or not self.relative_tasks:
            return None
        ours, base = entry.average(self.relative_tasks), self.reference.average(self.relative_tasks)
        return None if ours is None or base is None else 100 * (ours - base)

    def heights(self, entry: Entry) -> list[float]:
        """What the plots draw: differences to the reference, else scores in points."""
        if self.relative_tasks:
            return self.differences(entry)
        return [100 * score for task in self.tasks for score in entry.scores(task)]

    def covers(self, entry: Entry) -> bool:
        """Whether an entry has a score on every task that is drawn."""
        return all(entry.scores(task) for task in self.relative_tasks or self.tasks)

    def seconds(self, entry: Entry, measure: Measure) -> float | None:
        """Median of a cost in seconds, None where the panel's seconds do not compare."""
        return None if self.uneven else entry.median(measure)

    @property
    def peak(self) -> tuple[str, str]:
        """The record fields of peak memory while training and scoring: the allocator's on CUDA, else the process's."""
        kind = "allocated" if any(r.train_peak_allocated_bytes is not None for r in self.records) else "resident"
        return f"train_peak_{kind}_bytes", f"eval_peak_{kind}_bytes"


def build(selection: Selection, reference: str = "full") -> list[Panel]:
    """The panels of the selected ok records, by backbone and shots; `reference` is the label that scores relate to."""
    trials: dict[tuple[str, str, int | None], int] = {}
    for choice in selection.choices:
        where = (choice.label, choice.backbone, choice.shots)
        trials[where] = max(trials.get(where, 1), choice.trials)
    panels = []
    for (backbone, shots), records in grouped(selection.records, lambda r: (r.backbone, r.shots)).items():
        entries = []
        for label, rows in grouped(records, selection.row).items():
            by_task = {task: tuple(sorted(found, key=_run)) for task, found in grouped(rows, lambda r: r.task).items()}
            entries.append(Entry(label, dict(sorted(by_task.items())), trials.get((rows[0].label, backbone, shots), 1)))
        tasks = tuple(sorted({record.task for record in records}))
        first = next((entry for entry in entries if entry.label == reference), None)
        entries.sort(key=lambda e: (e is not first, -(e.median(lambda r: r.trainable_params) or 0), e.label))
        panels.append(Panel(backbone, shots, tasks, tuple(entries), first, uneven_timing(records)))
    return sorted(panels, key=lambda panel: (panel.backbone, panel.shots is None, panel.shots or 0))


def baseline(panel: Panel, task: str) -> float | None:
    """Mean score of always answering the commonest training label."""
    return mean(measured((r for e in panel.entries for r in e.records.get(task, ())), baseline_score))


def baseline_score(record: Record) -> float | None:
    """The headline metric of always answering the commonest training label (the mean, for regression)."""
    return (record.baseline_scores or {}).get(record.headline or "")


def measured(records: Iterable[Record], measure: Measure) -> list[float]:
    """The finite values of a measure."""
    return [value for value in map(measure, records) if value is not None and finite(value)]


def mean(values: Iterable[float]) -> float | None:
    """The mean, None of nothing."""
    values = list(values)
    return statistics.fmean(values) if values else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """A quantile with linear interpolation, None of nothing.

    >>> quantile([1.0, 2.0, 4.0], 0.5), quantile([0.0, 10.0], 0.2), quantile([], 0.5)
    (2.0, 2.0, None)
    """
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _run(record: Record) -> tuple[int, int, str, str]:
    return record.draw_seed, record.seed, record.template or "", record.key
