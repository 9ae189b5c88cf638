"""What is compared with what: a panel is a backbone with a number of shots; its entries are methods."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tunefront.bench.records import Record
from tunefront.reports.compare.checks import grouped, uneven_timing
from tunefront.reports.compare.entries import Entry, Measure
from tunefront.reports.compare.factors import FACTORS, cell_of, levels, over_orders
from tunefront.reports.compare.statistics import mean, measured, median, whole_mean
from tunefront.reports.names import natural

if TYPE_CHECKING:
    from tunefront.reports.compare.recipe_choice import Selection


REFERENCE = "full"
"""The label that scores relate to where nothing else is asked for."""


@dataclass(frozen=True)
class Panel:
    """A backbone with a number of shots. `uneven` says why seconds may not be compared here, None where they may.

    `few_shot`: some row has several templates, draws or orders on a task (see `Entry`).
    """

    backbone: str
    shots: int | None
    tasks: tuple[str, ...]
    entries: tuple[Entry, ...]
    reference: Entry | None
    uneven: str | None
    few_shot: bool = False

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
        return tuple(task for task in self.tasks if reference is not None and reference.scores(task))

    @cached_property
    def _levels(self) -> dict[str, dict[object, float]]:
        """The reference's mean score in each task's cells."""
        if self.reference is None:
            return {}
        return {
            task: {cell: statistics.fmean(map(_finite, alike)) for cell, alike in grouped(runs, self._cell).items()}
            for task, runs in ((task, self.reference.runs(task)) for task in self.relative_tasks)
        }

    def _cell(self, record: Record) -> object:
        """What two scores must share to be compared: template, draw and seed. Where only seeds vary that is nothing, so
        that a score relates to the reference's mean over seeds."""
        return cell_of(record) if self.few_shot else None

    def task_differences(self, entry: Entry, task: str) -> list[float]:
        """Points above (or below) the reference on a task, one a run: above its score with the same template, draw and
        seed in a few-shot panel, else above its mean. Runs without a counterpart are left out."""
        base = self._levels.get(task, {})
        pairs = ((_finite(record), base.get(self._cell(record))) for record in entry.runs(task))
        return [100 * (score - level) for score, level in pairs if level is not None]

    def differences(self, entry: Entry) -> list[float]:
        """The same over all tasks on which the reference has a score."""
        return [gap for task in self.relative_tasks for gap in self.task_differences(entry, task)]

    def difference(self, entry: Entry) -> float | None:
        """Mean over tasks of the difference to the reference in points (few-shot: of the median over cells that both
        have), None where a task is missing."""
        if self.reference is None or not self.relative_tasks:
            return None
        if self.few_shot:
            return whole_mean(median(self.task_differences(entry, task)) for task in self.relative_tasks)
        ours, base = entry.average(self.relative_tasks), self.reference.average(self.relative_tasks)
        return None if ours is None or base is None else 100 * (ours - base)

    def alone(self, entry: Entry) -> int:
        """Runs that have a score where the reference has one on the task, but not in the same cell."""
        return sum(len(entry.scores(task)) for task in self.relative_tasks) - len(self.differences(entry))

    def heights(self, entry: Entry) -> list[float]:
        """What the plots draw: differences to the reference, else scores in points."""
        if self.relative_tasks:
            return self.differences(entry)
        return [100 * score for task in self.tasks for score in entry.scores(task)]

    def covers(self, entry: Entry) -> bool:
        """Whether an entry has a height on every task that is drawn."""
        if self.relative_tasks:
            return all(self.task_differences(entry, task) for task in self.relative_tasks)
        return all(entry.scores(task) for task in self.tasks)

    def seconds(self, entry: Entry, measure: Measure) -> float | None:
        """Median of a cost in seconds, None where the panel's seconds do not compare."""
        return None if self.uneven else entry.median(measure)

    @property
    def peak(self) -> tuple[str, str]:
        """The record fields of peak memory while training and scoring: the allocator's on CUDA, else the process's."""
        kind = "allocated" if any(r.train_peak_allocated_bytes is not None for r in self.records) else "resident"
        return f"train_peak_{kind}_bytes", f"eval_peak_{kind}_bytes"


def build(selection: Selection, reference: str = REFERENCE) -> list[Panel]:
    """The panels of the selected ok records, by backbone and shots; `reference` is the label that scores relate to."""
    trials: dict[tuple[str, str, int | None], int] = {}
    for choice in selection.choices:
        where = (choice.label, choice.backbone, choice.shots)
        trials[where] = max(trials.get(where, 1), choice.trials)
    panels = []
    for (backbone, shots), records in grouped(selection.records, lambda r: (r.backbone, r.shots)).items():
        rows = {
            label: {task: tuple(sorted(found, key=_run)) for task, found in grouped(alike, lambda r: r.task).items()}
            for label, alike in over_orders(grouped(records, selection.row), reference).items()
        }
        few_shot = any(_varied(runs) for by_task in rows.values() for runs in by_task.values())
        entries = []
        for label, by_task in rows.items():
            first = next(iter(by_task.values()))[0]
            tried = trials.get((first.label, backbone, shots), 1)
            entries.append(Entry(label, dict(sorted(by_task.items())), tried, few_shot))
        base = next((entry for entry in entries if entry.label == reference), None)
        entries.sort(key=lambda e: (e is not base, -(e.median(lambda r: r.trainable_params) or 0), natural(e.label)))
        tasks = tuple(sorted({record.task for record in records}))
        panels.append(Panel(backbone, shots, tasks, tuple(entries), base, uneven_timing(records), few_shot))
    return sorted(panels, key=lambda panel: (panel.backbone, panel.shots is None, panel.shots or 0))


def baseline(panel: Panel, task: str) -> float | None:
    """Mean score of always answering the commonest training label, the median in few-shot panels."""
    values = measured((r for e in panel.entries for r in e.records.get(task, ())), baseline_score)
    return median(values) if panel.few_shot else mean(values)


def baseline_score(record: Record) -> float | None:
    """The headline metric of always answering the commonest training label (the mean, for regression)."""
    return (record.baseline_scores or {}).get(record.headline or "")


def _varied(runs: Iterable[Record]) -> bool:
    runs = list(runs)
    return any(levels(runs, factor) > 1 for factor in FACTORS if factor != "seed")


def _finite(record: Record) -> float:
    """The score of a record that is known to have one."""
    assert record.score is not None
    return record.score


def _run(record: Record) -> tuple[str, int, str, int, str]:
    return record.template or "", record.draw_seed, record.label, record.seed, record.key
