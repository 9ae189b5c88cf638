"""The columns of the terminal's summary, over the rows of all its panels.

A reader asks which method to use, so the columns come in this order: how good each method is, how far it is from the
reference and how sure that is, then what it costs: the share of parameters to store, training, a query. The scores of
single tasks explain the mean and are in the report, so they come last. The row with the best mean comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tunefront.reports import units
from tunefront.reports.compare import measures
from tunefront.reports.compare.collapse import count_collapsed, mark
from tunefront.reports.names import elide, natural_key
from tunefront.reports.sections.columns import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tunefront.reports.compare.collapse import Collapsed
    from tunefront.reports.compare.entries import Entry
    from tunefront.reports.compare.panels import Panel

TRAINED, TIME, PER_QUERY, TRAINING, TASKS, PARAMETERS = 1, 2, 3, 4, 5, 7
"""The levels of the columns: those with the highest are left out first. Method, mean and difference always stay."""
TIED = "*"
"""Stands after the best mean and after those that cannot be distinguished from it."""
HEAD = 16
"""The most characters of a task's or the reference's name in a column's head."""


def ranked(panel: Panel) -> list[Entry]:
    """The entries from the best mean to the worst, then those without a score on every task."""

    def rank(entry: Entry) -> tuple[bool, float, float, list[tuple[int, str]]]:
        average, trained = entry.average(panel.tasks), measures.PARAMETERS.median(panel, entry)
        return average is None, -(average or 0.0), trained or 0.0, natural_key(entry.label)

    return sorted(panel.entries, key=rank)


@dataclass(frozen=True)
class SummaryColumns:
    """The columns over all rows: the entries of each panel, then its constant answer if that has a known score.

    `names` are the tasks' short names, `reference` the label that differences are to.
    """

    panels: tuple[Panel, ...]
    names: Mapping[str, str]
    reference: str

    @cached_property
    def tasks(self) -> list[str]:
        """All tasks, in the order of their short names."""
        return sorted({task for panel in self.panels for task in panel.tasks}, key=lambda task: self.names[task])

    @cached_property
    def rows(self) -> list[str]:
        """The name of each row."""
        return [
            name
            for panel in self.panels
            for name in (*(entry.label for entry in ranked(panel)), *([panel.baseline_name] if panel.baselines else ()))
        ]

    @cached_property
    def has_ties(self) -> bool:
        """Whether it is known of any panel which means cannot be distinguished."""
        return any(panel.evidence is not None for panel in self.panels)

    @cached_property
    def all(self) -> list[Column]:
        """The columns after the method's name."""
        columns = [self._means(), *self._differences()]
        columns.append(self._column("trained", TRAINED, lambda _, entry: _share(entry)))
        costs = [
            ("parameters", PARAMETERS, measures.PARAMETERS, units.count),
            ("training", TRAINING, measures.TRAIN_FLOPS, _flops),
            ("time", TIME, measures.TRAIN_SECONDS, units.seconds),
        ]
        if any(record.prompt.demonstration_ids for panel in self.panels for record in panel.records):
            costs.append(("per query", PER_QUERY, measures.INFERENCE_FLOPS, _flops))
        columns += [self._cost(*cost) for cost in costs if self._is_known(cost[2])]
        several = any(len(panel.tasks) > 1 for panel in self.panels)
        return columns + ([self._scores(task, TASKS) for task in self.tasks] if several else [])

    def _means(self) -> Column:
        """The mean over tasks, or the scores of the only task."""
        if len(self.tasks) == 1:
            return self._scores(self.tasks[0], 0)
        return self._column(
            "mean" if any(len(panel.tasks) > 1 for panel in self.panels) else "score",
            0,
            lambda panel, entry: self._score(entry.collapsed, entry.average(panel.tasks), panel.is_tied(entry)),
            lambda panel: self._score(None, panel.baseline),
        )

    def _scores(self, task: str, level: int) -> Column:
        """The scores of a task; blank in panels without it. Those of the only task carry the marks of ties."""
        alone = level == 0

        def text(panel: Panel, entry: Entry) -> str:
            if task not in panel.tasks:
                return ""
            value, collapsed = entry.center(task), count_collapsed(entry.runs(task))
            return self._score(collapsed, value, alone and panel.is_tied(entry), alone)

        return self._column(
            "score" if alone else elide(self.names[task], HEAD),  # the title names an only task
            level,
            text,
            lambda panel: self._score(None, panel.baselines.get(task), room=alone) if task in panel.tasks else "",
            lambda _, entry: units.spread(entry.spread(task)),
        )

    def _score(self, collapsed: Collapsed | None, value: float | None, tied: bool = False, room: bool = True) -> str:
        """A score with its marks; `room`: it leaves room for the mark of a tie, so that digits line up."""
        after = TIED if tied else " " if room and self.has_ties else ""
        return f"{mark(collapsed) if collapsed else ''}{units.points(value)}{after}"

    def _differences(self) -> list[Column]:
        """The differences to the reference with their intervals, so that signs and brackets stand below each other."""
        if not any(panel.relative_tasks and len(panel.entries) > 1 for panel in self.panels):
            return []
        rows = [(panel, entry) for panel in self.panels for entry in ranked(panel)]
        known = [found for panel, entry in rows if (found := panel.interval(entry)) is not None]
        shown = _widest(panel.difference(entry) for panel, entry in rows)
        low, high = _widest(found.low for found in known), _widest(found.high for found in known)

        def brief(panel: Panel, entry: Entry) -> str:
            return units.signed(panel.difference(entry)) if panel.relative_tasks else ""

        def text(panel: Panel, entry: Entry) -> str:
            found, ends = panel.interval(entry), ""
            if found is not None:
                ends = f" [{units.signed(found.low).rjust(low)}, {units.signed(found.high).rjust(high)}]"
            elif known:
                ends = " " * (low + high + len(" [, ]"))
            return brief(panel, entry).rjust(shown) + ends if panel.relative_tasks else ""

        column = self._column(f"against {elide(self.reference, HEAD)}", 0, text)
        return [replace(column, brief=self._column("", 0, brief).cells)]

    def _cost(self, head: str, level: int, cost: measures.Cost, text: Callable[[float | None], str]) -> Column:
        return self._column(head, level, lambda panel, entry: text(cost.median(panel, entry)))

    def _is_known(self, cost: measures.Cost) -> bool:
        return any(cost.median(panel, entry) is not None for panel in self.panels for entry in panel.entries)

    def _column(
        self,
        head: str,
        level: int,
        text: Callable[[Panel, Entry], str],
        baseline: Callable[[Panel], str] = lambda _: "",
        minor: Callable[[Panel, Entry], str] = lambda _, __: "",
    ) -> Column:
        cells, more = [], []
        for panel in self.panels:
            entries = ranked(panel)
            cells += [text(panel, entry) for entry in entries] + ([baseline(panel)] if panel.baselines else [])
            more += [minor(panel, entry) for entry in entries] + ([""] if panel.baselines else [])
        return Column(head, tuple(cells), level, tuple(more))


def _widest(values: Iterable[float | None]) -> int:
    """The most characters of differences."""
    return max((cell_len(units.signed(value)) for value in values), default=0)


def _share(entry: Entry) -> str:
    return units.percent(*entry.share) if entry.share else units.MISSING


def _flops(value: float | None) -> str:
    return units.si(value, "FLOP")
