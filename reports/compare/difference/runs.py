"""The old and new runs of one method on one task, as the numbers that estimators take."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunefront.bench.records.answers import AnswerFiles, Answers
from tunefront.reports.compare.checks import group_by
from tunefront.reports.compare.entries import Entry
from tunefront.reports.compare.factors import draw_of, same_for_all_draws
from tunefront.reports.compare.row_scores import EVERY, Cell, TaskAnswers, Values, gather, runs_of, shared_cells

if TYPE_CHECKING:
    from tunefront.bench.records import Record
    from tunefront.reports.compare.difference.pairs import Pair

OTHER_ROWS = "other test rows were scored"


class BothAnswers(AnswerFiles):
    """The answers of both sides, whose records may have the same keys: new ones have keys that begin with `new`."""

    def __init__(self, old: Mapping[str, str], new: Mapping[str, str]):
        super().__init__({})
        self._old, self._new = AnswerFiles(old), AnswerFiles(new)

    def knows(self, key: str) -> bool:
        """Whether the place of a record is known."""
        return self._new.knows(key.removeprefix(NEW)) if key.startswith(NEW) else self._old.knows(key)

    def read_ahead(self, keys: Iterable[str]) -> None:
        """Requests the answers of records together."""
        keys = list(keys)
        self._old.read_ahead(key for key in keys if not key.startswith(NEW))
        self._new.read_ahead(key.removeprefix(NEW) for key in keys if key.startswith(NEW))

    def read(self, key: str, rows: int | None = None) -> Answers | None:
        """The answers of a record."""
        return self._new.read(key.removeprefix(NEW), rows) if key.startswith(NEW) else self._old.read(key, rows)


NEW = "new:"


@dataclass(frozen=True, eq=False)
class TaskRuns:
    """The old and new runs of a method on a task.

    `scores`: independent run -> score, old and new. `rows`: the same with the scores of the rows (rows,), None if the
    metric is no mean over rows or predictions are missing. `cells`: the predictions by template, draw and seed, if
    there are any. `same`: whether all runs that both have gave the same answers, or, without answers, are the same
    records with the same scores. `amount`: number of test rows. `runs`: numbers of records. `checkpoints`: the row
    scores of each pair of checkpoints; empty without predictions, and for regression.
    """

    scores: tuple[dict[Hashable, float], dict[Hashable, float]]
    rows: tuple[dict[Hashable, Values], dict[Hashable, Values]] | None
    cells: TaskAnswers | None
    same: bool
    amount: int
    runs: tuple[int, int]
    checkpoints: Mapping[Cell, tuple[Values, Values]]


def task_runs(pair: Pair, task: str, answers: AnswerFiles) -> TaskRuns | None:
    """The runs of a pair on one of its tasks; None if their predictions are of other rows."""
    old = list(pair.old[task])
    new = [record.model_copy(update={"key": NEW + record.key}) for record in pair.new[task]]
    entries = [Entry("old", {task: tuple(old)}), Entry("new", {task: tuple(new)})]
    found = gather(entries, [task], answers)
    if OTHER_ROWS in found.missing.values():
        return None
    read = found.tasks.get(task) if len(found.entries) == 2 else None
    known = None if any(found.unread.values()) else read  # scores are known of all runs, so they are used instead
    scores = _independent(runs_of([_scores(old), _scores(new)]))
    simple = tuple({unit: float(value) for unit, value in side.items()} for side in scores)
    by_rows, checkpoints = None, {}
    if known is not None and pair.metric == "accuracy":
        by_rows = _independent(runs_of(known.right))
        simple = tuple({unit: float(np.mean(values)) for unit, values in side.items()} for side in by_rows)
    if read is not None and old[0].data.task_kind != "regression":
        checkpoints = _checkpoints(*read.right)
    return TaskRuns(
        (simple[0], simple[1]),
        by_rows,
        known,
        _same(known) if known is not None else _same_records(old, new),
        old[0].data.n_test or 0,
        (len(old), len(new)),
        checkpoints,
    )


def independent_cells(known: TaskAnswers) -> tuple[list[Cell], list[dict[Cell, Values]], list[Hashable]]:
    """The cells that old and new share, the predictions of each side, and the independent run of each cell."""
    shared, values = shared_cells(known.cells)
    draws = [draw for _, draw, _ in shared]
    units: list[Hashable] = list(draws) if len(set(draws)) > 1 else [cell[1:] for cell in shared]
    return shared, values, units


def _scores(records: Sequence[Record]) -> dict[Cell, list[Values]]:
    """The recorded scores by cell, like `TaskAnswers.right`."""
    cells: dict[Cell, list[Values]] = {}
    no_rows = all(map(same_for_all_draws, records))
    for record in records:
        cell = (record.template, *((EVERY, EVERY) if no_rows else (draw_of(record), record.seed)))
        cells.setdefault(cell, []).append(np.asarray(record.score))
    return cells


def _independent(
    sides: Sequence[Mapping[tuple[Hashable, Hashable], Values]],
) -> tuple[dict[Hashable, Values], dict[Hashable, Values]]:
    """The runs of both sides by draw, with the mean over the seeds of each; by seed if all have one draw.

    Draws are the independent runs. Runs of one draw are a pair also if their seeds differ.
    """
    several = len({draw for side in sides for draw, _ in side}) > 1
    made: list[dict[Hashable, Values]] = []
    for side in sides:
        by_unit: dict[Hashable, list[Values]] = {}
        for (draw, seed), values in side.items():
            by_unit.setdefault(draw if several else (draw, seed), []).append(values)
        made.append({unit: np.mean(values, axis=0) for unit, values in by_unit.items()})
    return made[0], made[1]


def _checkpoints(
    old: Mapping[Cell, list[Values]], new: Mapping[Cell, list[Values]]
) -> dict[Cell, tuple[Values, Values]]:
    """The row scores of the checkpoints of the same run, or of the only run of a draw, or of the only run at all."""
    one, two = ({cell: values[0] for cell, values in side.items() if len(values) == 1} for side in (old, new))
    if len(one) == len(two) == 1:
        return {cell: (next(iter(one.values())), values) for cell, values in two.items()}
    of_draw = [group_by(side, lambda cell: cell[:2]) for side in (one, two)]
    paired = {}
    for draw, cells in of_draw[1].items():
        before = of_draw[0].get(draw, [])
        if len(cells) == len(before) == 1:
            paired[cells[0]] = (one[before[0]], two[cells[0]])
        else:
            paired |= {cell: (one[cell], two[cell]) for cell in cells if cell in one}
    return paired


def _same(known: TaskAnswers) -> bool:
    before, after = known.cells
    shared = [cell for cell in before if cell in after]
    return bool(shared) and all(
        len(before[cell]) == len(after[cell])
        and all(np.array_equal(one, two) for one, two in zip(before[cell], after[cell], strict=True))
        for cell in shared
    )


def _same_records(old: Sequence[Record], new: Sequence[Record]) -> bool:
    before = {record.key: record.score for record in old}
    after = {record.key.removeprefix(NEW): record.score for record in new}
    shared = set(before) & set(after)
    return bool(shared) and all(before[key] == after[key] for key in shared)
