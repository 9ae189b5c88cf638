"""Panels: the records of one backbone, number of shots and metric. The entries of a panel are methods."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tunefront.bench.records import Record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.compare.checks import find_timing_mismatch, group_by
from tunefront.reports.compare.entries import Entry, Measure
from tunefront.reports.compare.evidence import Evidence, weigh_each
from tunefront.reports.compare.factors import FACTORS, cell_of, levels, merge_orders, same_for_all_draws
from tunefront.reports.compare.statistics import finite_values, mean, mean_if_complete
from tunefront.reports.names import natural_key

if TYPE_CHECKING:
    from tunefront.reports.compare.recipe_choice import Selection
    from tunefront.reports.compare.uncertainty.contrasts import Interval


REFERENCE = "full"
"""The default label with which scores are compared."""


@dataclass(frozen=True)
class Height:
    """The height of a point in points, and the ends of its 95 % interval; None without one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """One backbone and number of shots, and the tasks of one metric: scores of different metrics are never averaged.

    `timing_mismatch` says why seconds cannot be compared here, None if they can. `few_shot`: some row has several
    templates, draws or orders on a task (see `Entry`). `several_metrics`: the same backbone and shots have other tasks
    with another metric, in a panel of their own. `evidence`: how sure the differences are; None where `no_evidence`
    says why this is not known. `task_evidence`: the same on each task alone, where it is known.
    """

    backbone: str
    shots: int | None
    tasks: tuple[str, ...]
    entries: tuple[Entry, ...]
    reference: Entry | None
    timing_mismatch: str | None
    few_shot: bool = False
    metric: str = ""
    several_metrics: bool = False
    evidence: Evidence | None = None
    no_evidence: str = ""
    task_evidence: Mapping[str, Evidence] = field(default_factory=dict)

    @property
    def by_metric(self) -> str:
        """The end of the title if panels differ in their metric, else an empty string."""
        return f", {self.metric or 'no metric'}" if self.several_metrics else ""

    @property
    def records(self) -> list[Record]:
        """All records of the panel."""
        return [record for entry in self.entries for record in entry.all]

    @cached_property
    def backbone_params(self) -> float | None:
        """The denominator of percentages; None if it is missing or differs between records."""
        sizes = set(finite_values(self.records, lambda record: record.parameters.backbone))
        return sizes.pop() if len(sizes) == 1 else None

    @cached_property
    def baselines(self) -> dict[str, float]:
        """The score of always giving the constant answer (the commonest label; the mean, for regression) by task.

        Mean over runs. Tasks without this score in their records are left out.
        """
        scores = {
            task: mean(finite_values((r for e in self.entries for r in e.records.get(task, ())), baseline_score))
            for task in self.tasks
        }
        return {task: value for task, value in scores.items() if value is not None}

    @property
    def baseline(self) -> float | None:
        """The average of the baselines over tasks; None if a task has none."""
        return mean_if_complete(self.baselines.get(task) for task in self.tasks)

    @property
    def baseline_name(self) -> str:
        """The constant answer of the baseline."""
        return " or ".join(sorted({record.baseline_answer for record in self.records}))

    @cached_property
    def worthwhile(self) -> tuple[Entry, ...]:
        """The entries of which fewer than half of the runs collapsed; others are never recommended, however cheap they
        are."""
        return tuple(entry for entry in self.entries if not entry.collapsed.mostly)

    @cached_property
    def relative_tasks(self) -> tuple[str, ...]:
        """Tasks on which the reference has a score."""
        reference = self.reference
        return tuple(task for task in self.tasks if reference is not None and reference.scores(task))

    @cached_property
    def _levels(self) -> dict[str, dict[tuple[Hashable, ...] | None, float]]:
        """The reference's mean score in each task's cells."""
        if self.reference is None:
            return {}
        return {
            task: {
                cell: statistics.fmean(map(_finite, cell_runs))
                for cell, cell_runs in group_by(runs, self._cell).items()
            }
            for task, runs in ((task, self.reference.runs(task)) for task in self.relative_tasks)
        }

    @cached_property
    def _tasks_without_draws(self) -> frozenset[str]:
        """The tasks on which a run of the reference stands for every draw and seed."""
        reference = self.reference
        if reference is None:
            return frozenset()
        return frozenset(task for task in reference.records if any(map(same_for_all_draws, reference.runs(task))))

    def _cell(self, record: Record) -> tuple[Hashable, ...] | None:
        """The cell that two scores must share to be compared: template, draw and seed. None if only seeds vary: a score
        is then compared with the reference's mean over seeds."""
        return cell_of(record) if self.few_shot else None

    def task_differences(self, entry: Entry, task: str) -> list[float]:
        """Differences to the reference on a task in points, one per run.

        In a few-shot panel the difference is to the reference's score with the same template, draw and seed; otherwise
        to its mean. Runs without a counterpart are left out. A run that used no rows stands for every draw and seed.
        """
        return [100 * (_finite(run) - level) for run in entry.runs(task) for level in self._counterparts(run, task)]

    def _counterparts(self, record: Record, task: str) -> list[float]:
        """The reference's scores that a run is compared with."""
        base, cell = self._levels.get(task, {}), self._cell(record)
        if self.few_shot and (task in self._tasks_without_draws or same_for_all_draws(record)):
            return [level for other, level in base.items() if other is not None and other[0] == record.template]
        return [base[cell]] if cell in base else []

    def differences(self, entry: Entry) -> list[float]:
        """The differences on all tasks on which the reference has a score."""
        return [gap for task in self.relative_tasks for gap in self.task_differences(entry, task)]

    def difference(self, entry: Entry) -> float | None:
        """Mean over tasks of the difference to the reference in points; None if a task is missing.

        With evidence it is that of the runs that the methods share. Else a task's difference is that of the means, in
        few-shot panels the mean over cells that both have.
        """
        if self.reference is None or not self.relative_tasks:
            return None
        if entry is self.reference:
            return None if entry.average(self.relative_tasks) is None else 0.0
        known = self.interval(entry)
        if known is not None:
            return known.difference
        if self.few_shot:
            return mean_if_complete(mean(self.task_differences(entry, task)) for task in self.relative_tasks)
        ours, base = entry.average(self.relative_tasks), self.reference.average(self.relative_tasks)
        return None if ours is None or base is None else 100 * (ours - base)

    def interval(self, entry: Entry) -> Interval | None:
        """The difference to the reference in points, with its simultaneous 95 % interval; None if it is not known."""
        return None if self.evidence is None else self.evidence.interval(entry.label)

    def is_tied(self, entry: Entry) -> bool:
        """Whether an entry has the highest mean or cannot be distinguished from it; False if not known."""
        return self.evidence is not None and entry.label in self.evidence.tied_labels

    def height(self, entry: Entry) -> Height | None:
        """The height in plots: the mean difference to the reference, or the mean score in points without a reference.

        Of an entry without a score on every task, the mean over those that it has, without an interval.
        """
        if entry is self.reference and self.relative_tasks:
            return Height(0.0)
        if self.relative_tasks:
            known, value = self.interval(entry), self.difference(entry)
        else:
            place = None if self.evidence is None else self.evidence.index(entry.label)
            known = None if self.evidence is None or place is None else self.evidence.means[place]
            average = entry.average(self.tasks)
            value = None if average is None else 100 * average
        if known is not None:
            return Height(known.difference, known.low, known.high)
        if value is None:
            tasks = self.relative_tasks or self.tasks
            by_task = [self._task_height(entry, task) for task in tasks]
            value = mean(height for height in by_task if height is not None)
        return None if value is None else Height(value)

    def _task_height(self, entry: Entry, task: str) -> float | None:
        if self.relative_tasks:
            return mean(self.task_differences(entry, task))
        center = entry.center(task)
        return None if center is None else 100 * center

    def covers(self, entry: Entry) -> bool:
        """Whether an entry has a height on every plotted task."""
        if self.relative_tasks:
            return all(self.task_differences(entry, task) for task in self.relative_tasks)
        return all(entry.scores(task) for task in self.tasks)

    def seconds(self, entry: Entry, measure: Measure) -> float | None:
        """Median of a cost in seconds; None if seconds cannot be compared in this panel."""
        return None if self.timing_mismatch else entry.median(measure)

    @property
    def peak(self) -> tuple[str, str]:
        """The record fields of peak memory in training and scoring: the allocator's on CUDA, else the process's."""
        kind = "allocated" if any(r.memory.train_peak_allocated_bytes is not None for r in self.records) else "resident"
        return f"memory.train_peak_{kind}_bytes", f"memory.eval_peak_{kind}_bytes"


def build(selection: Selection, reference: str = REFERENCE, answers: AnswerFiles | None = None) -> list[Panel]:
    """The panels of the selected ok records by backbone, shots and metric. Scores relate to the label `reference`.

    `answers` reads the records' predictions, from which the panels know how sure differences are.
    """
    trials: dict[tuple[str, str, int | None], int] = {}
    for choice in selection.choices:
        where = (choice.label, choice.backbone, choice.shots)
        trials[where] = max(trials.get(where, 1), choice.trials)
    panels = []
    groups = group_by(selection.records, lambda r: (r.backbone, r.shots, r.scores.headline or ""))
    several = Counter((backbone, shots) for backbone, shots, _ in groups)
    for (backbone, shots, metric), records in groups.items():
        rows = {
            label: {
                task: tuple(sorted(task_records, key=_run))
                for task, task_records in group_by(row_records, lambda r: r.task).items()
            }
            for label, row_records in merge_orders(group_by(records, selection.row), reference).items()
        }
        few_shot = any(_varied(runs) for by_task in rows.values() for runs in by_task.values())
        entries = []
        for label, by_task in rows.items():
            first = next(iter(by_task.values()))[0]
            tried = trials.get((label, backbone, shots)) or trials.get((first.label, backbone, shots), 1)
            entries.append(Entry(label, dict(sorted(by_task.items())), tried))
        base = next((entry for entry in entries if entry.label == reference), None)
        entries.sort(
            key=lambda e: (e is not base, -(e.median(lambda r: r.parameters.trainable) or 0), natural_key(e.label))
        )
        tasks = tuple(sorted({record.task for record in records}))
        which = few_shot, metric, several[backbone, shots] > 1
        panel = Panel(backbone, shots, tasks, tuple(entries), base, find_timing_mismatch(records), *which)
        panels.append(_with_evidence(panel, answers or AnswerFiles({})))
    return sorted(panels, key=lambda panel: (panel.backbone, panel.shots is None, panel.shots or 0, panel.metric))


def _with_evidence(panel: Panel, answers: AnswerFiles) -> Panel:
    costs = {entry.label: entry.median(lambda record: record.parameters.trainable) for entry in panel.entries}
    known, each = weigh_each(panel.entries, panel.relative_tasks or panel.tasks, panel.reference, costs, answers)
    if isinstance(known, str):
        return replace(panel, no_evidence=known, task_evidence=each)
    return replace(panel, evidence=known, task_evidence=each)


def on_task(panel: Panel, task: str) -> Panel:
    """The panel with one of its tasks alone."""
    entries = {
        entry.label: replace(entry, records={task: entry.records[task]})
        for entry in panel.entries
        if task in entry.records
    }
    known = panel.task_evidence.get(task)
    base = None if panel.reference is None else entries.get(panel.reference.label)
    why = panel.no_evidence or "the methods cannot be compared on this task"
    return replace(
        panel,
        tasks=(task,),
        entries=tuple(entries.values()),
        reference=base,
        evidence=known,
        no_evidence="" if known is not None else why,
        task_evidence={} if known is None else {task: known},
    )


def baseline_score(record: Record) -> float | None:
    """The headline metric of always giving the constant answer."""
    return record.baseline_score


def _varied(runs: Iterable[Record]) -> bool:
    runs = list(runs)
    return any(levels(runs, factor) > 1 for factor in FACTORS if factor != "seed")


def _finite(record: Record) -> float:
    """The score of a record that has one."""
    assert record.score is not None
    return record.score


def _run(record: Record) -> tuple[str, int, str, int, str]:
    return record.template or "", record.draw_seed, record.label, record.seed, record.key
