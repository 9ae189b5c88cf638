"""One method in a panel: its records by task, with their centres and spreads."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tunefront.bench.records import Record
from tunefront.reports.compare.collapse import Collapsed, count_collapsed
from tunefront.reports.compare.factors import draw_of
from tunefront.reports.compare.statistics import (
    complete_rows,
    deviation,
    finite_values,
    mean,
    mean_if_complete,
    median,
)
from tunefront.reports.units import finite

Measure = Callable[[Record], float | None]
_PEFT = re.compile(r"peft:type=(\w+)")
_VARIANTS = {"use_dora:true": "DORA", "init_lora_weights:pissa": "PISSA"}
"""What a label has for a variant of LORA with a name of its own."""


def family_of(label: str) -> str:
    """The method's name in a label, without hyper-parameters; of the method that runs any of peft's types, with the
    type or the variant of LORA.

    >>> family_of("ia3"), family_of("icl:k=4, shots 8"), family_of("ia3, shots 8")
    ('ia3', 'icl', 'ia3')
    >>> family_of("peft:type=VERA, seed 1"), family_of("peft:type=LORA,config={r:4,use_dora:true}")
    ('peft VERA', 'peft DORA')
    """
    if of_peft := _PEFT.match(label):
        variant = next((name for part, name in _VARIANTS.items() if part in label), of_peft[1])
        return f"peft {variant}"
    return label.split(":")[0].split(" ")[0].rstrip(",")


@dataclass(frozen=True)
class Entry:
    """One method (a row) of a panel, with its records by task. `trials`: recipes tried, 1 without a search."""

    label: str
    records: dict[str, tuple[Record, ...]]
    trials: int = 1

    @property
    def family(self) -> str:
        """The method's name without hyper-parameters. Entries of a family share a colour and a line."""
        return family_of(self.label)

    @property
    def all(self) -> list[Record]:
        """The entry's records over all tasks."""
        return [record for records in self.records.values() for record in records]

    @property
    def share(self) -> tuple[float, float] | None:
        """Trained parameters and the backbone's parameters, medians over the same records; None if one is missing."""
        pairs = complete_rows(
            self.all, lambda record: record.parameters.trainable, lambda record: record.parameters.backbone
        )
        return (statistics.median(part for part, _ in pairs), statistics.median(w for _, w in pairs)) if pairs else None

    @property
    def collapsed(self) -> Collapsed:
        """The collapsed runs over all tasks."""
        return count_collapsed(self.all)

    @cached_property
    def _scored(self) -> dict[str, list[tuple[Record, float]]]:
        """The records with a finite score, and that score, by task."""
        scored = {task: [(run, run.score) for run in runs] for task, runs in self.records.items()}
        return {
            task: [(run, score) for run, score in pairs if score is not None and finite(score)]
            for task, pairs in scored.items()
        }

    def runs(self, task: str) -> list[Record]:
        """The records of a task that have a finite score."""
        return [record for record, _ in self._scored.get(task, ())]

    def scores(self, task: str) -> list[float]:
        """The headline scores on a task, one per run; runs without a finite score are left out."""
        return [score for _, score in self._scored.get(task, ())]

    def center(self, task: str) -> float | None:
        """Mean score over the runs of a task."""
        return mean(self.scores(task))

    def spread(self, task: str) -> float | None:
        """Sample standard deviation over the runs of a task; None for fewer than two."""
        return deviation(self.scores(task))

    def average(self, tasks: Iterable[str]) -> float | None:
        """Mean of the tasks' centres; None if one is missing, since such an average is not comparable."""
        return mean_if_complete(map(self.center, tasks))

    def median(self, measure: Measure) -> float | None:
        """Median of a cost over tasks and runs."""
        return median(finite_values(self.all, measure))


def on_shared_cells(entries: Sequence[Entry], measure: Measure) -> list[Entry]:
    """The entries, restricted to cells (task, template, draw) in which every entry has the measure.

    A method that ran only on small tasks is thus not compared with another's large ones. Entries that share no cell
    become empty.
    """
    cells = [{_cell(record) for record in entry.all if finite_values([record], measure)} for entry in entries]
    common = set.intersection(*cells) if cells else set()
    return [replace(entry, records=_records_in_cells(entry, common, measure)) for entry in entries]


def _records_in_cells(entry: Entry, cells: set[Hashable], measure: Measure) -> dict[str, tuple[Record, ...]]:
    kept = {
        task: tuple(record for record in records if _cell(record) in cells and finite_values([record], measure))
        for task, records in entry.records.items()
    }
    return {task: records for task, records in kept.items() if records}


def _cell(record: Record) -> Hashable:
    """Task, template and draw. Seeds repeat a cell and its costs."""
    return record.task, record.template, draw_of(record)
