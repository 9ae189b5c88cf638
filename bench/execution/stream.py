"""Streams of tasks: the cells of methods on several orders of tasks, run in rounds, one for each place in an order."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from tunefront.bench.cells import SHARED_WAYS, Cell, Stage, Way
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.execution.engines import Engine, Progress, Silent
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import AnnouncedBefore, Outcome, joined, run_grid
from tunefront.bench.execution.identity import Identity, Shared
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store
from tunefront.methods.base import Method
from tunefront.methods.spelling import label

log = logging.getLogger("tunefront")


def ordered(tasks: Sequence[str], seed: int) -> tuple[str, ...]:
    """The tasks in the order of a seed: as given for 0, else the seed's permutation."""
    if seed == 0:
        return tuple(tasks)
    places = torch.randperm(len(tasks), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(tasks[place] for place in places)


@dataclass(frozen=True)
class Streams:
    """The cells of streams of tasks, by round: first every task alone, then the steps after one earlier task, two, ...

    Each step's checkpoint stays in the store as long as a later step needs it; those of tasks alone, and of the last
    steps, stay.
    """

    rounds: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(
        cls,
        cells: Sequence[Cell],
        orders: Sequence[int] = (0,),
        one_model: Sequence[Method] = (),
        ways: Sequence[Way] = SHARED_WAYS,
        replay_share: float = 0.1,
    ) -> Streams:
        """Streams of the tasks of these cells, each a method on a task alone, in the orders of these seeds.

        Every method has parameters of its own for each task; those of `one_model` also have one model for all tasks, in
        each of the `ways`. UserError for fewer than two tasks, for a method that cannot be part of a stream, and for
        one that has not exactly one cell for every task, with the same settings.
        """
        tasks = list(dict.fromkeys(cell.task for cell in cells))
        if len(tasks) < 2:
            named = f"{tasks[0]} is the only one" if tasks else "there is none"
            raise UserError(f"a stream needs at least two tasks, and {named}; repeat --task, or --data, for each task.")
        _check_tasks(tasks)
        _check_methods(cells, one_model if ways else ())
        rounds: list[dict[Cell, None]] = [{} for _ in tasks]
        for alone in _by_run(cells, tasks):
            rounds[0] |= dict.fromkeys(alone.values())
            first = next(iter(alone.values()))
            used: list[Way] = ["separate", *(ways if first.method in one_model else ())]
            for way, order in itertools.product(used, dict.fromkeys(ordered(tasks, seed) for seed in orders)):
                for place in range(1, len(order)):
                    rounds[place][_step(alone, order[: place + 1], way, replay_share)] = None
        return cls(tuple(map(tuple, rounds)))

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, round by round."""
        return tuple(itertools.chain.from_iterable(self.rounds))

    def run(self, store: Store, engine: Engine | None = None, progress: Progress | None = None) -> Outcome:
        """Runs the steps that are not recorded, round by round; steps after a failed or skipped one are not run, with a
        warning. Args and errors: as `run_grid`."""
        store.prepare()
        engine, progress = engine or Local(), progress or Silent()
        steps = _Steps(self, store)
        progress.planned(len(steps.keys), sum(map(steps.is_complete, steps.keys)))
        outcomes: list[Outcome] = []
        with engine.kept() as kept:
            for place, cells in enumerate(self.rounds):
                if place:
                    steps.refresh()
                wanted = [replace(cell, keep=steps.keeps(steps.key(cell))) for cell in cells if steps.can_run(cell)]
                outcomes.append(run_grid(wanted, store, kept, AnnouncedBefore(progress)))
                steps.add(outcomes[-1].records)
                if outcomes[-1].interrupted:
                    break
                steps.drop_unneeded()
        not_run = sum(not steps.can_run(cell) for cell in self.cells)
        if not_run:
            log.warning(
                "%d of %d steps were not run, because an earlier step that they need failed or was skipped",
                not_run,
                len(self.cells),
            )
        return joined(outcomes)


def _check_tasks(tasks: Sequence[str]) -> None:
    """UserError if two names have the same rows."""
    by_rows: dict[str, str] = {}
    for task in tasks:
        first = by_rows.setdefault(load_task(task).fingerprint, task)
        if first != task:
            raise UserError(f"a stream has each task once, but {first} and {task} have the same rows; leave one out.")


def _check_methods(cells: Sequence[Cell], one_model: Sequence[Method]) -> None:
    """UserError with every method that has no checkpoint to score from, or whose fit() knows one task only."""
    wrong = ErrorCollector()
    for method in dict.fromkeys(cell.method for cell in cells):
        own_fit = type(method).fit is not Method.fit
        if own_fit and type(method).scorer is Method.scorer:
            wrong.messages.append(
                f"{label(method)} cannot be part of a stream: it has no checkpoint from which earlier tasks could be "
                "scored again; leave it out."
            )
        elif own_fit and method in one_model:
            wrong.messages.append(
                f"{label(method)} cannot have one model for all tasks, because its fit() knows one task only; give "
                "another method with --one-model."
            )
    wrong.raise_if_any()


def _by_run(cells: Sequence[Cell], tasks: Sequence[str]) -> list[dict[str, Cell]]:
    """The cell of every task, for each method, backbone, draw and seed."""
    runs: dict[tuple[object, ...], dict[str, list[Cell]]] = {}
    for cell in cells:
        run = (cell.spelled, cell.backbone, cell.shots, cell.draw_seed, cell.seed)
        runs.setdefault(run, {}).setdefault(cell.task, []).append(cell)
    return [_checked(by_task, tasks) for by_task in runs.values()]


def _checked(by_task: Mapping[str, Sequence[Cell]], tasks: Sequence[str]) -> dict[str, Cell]:
    """The only cell of each task; UserError if there are several, or if their settings differ."""
    first = next(iter(by_task.values()))[0]
    several = next((cells for cells in by_task.values() if len(cells) > 1), None)
    if several is not None:
        first, second = several[:2]
        what = "template" if first.template != second.template else "learning rate or other setting"
        raise UserError(
            f"a stream runs each method once on every task, but {first.spelled} has {len(several)} cells on "
            f"{first.task}; give one {what}."
        )
    missing = [task for task in tasks if task not in by_task]
    if missing:
        rows = "all rows" if first.shots is None else f"{first.shots:,} rows"
        raise UserError(
            f"a stream trains each method on every task with the same number of rows, but {first.spelled} has no cell "
            f"on {missing[0]} with {rows}; give one number with --shots that every task has."
        )
    alone = {task: by_task[task][0] for task in tasks}
    for cell in alone.values():
        if (cell.recipe, cell.config) != (first.recipe, first.config):
            raise UserError(
                f"a stream has the same settings on every task, but {first.spelled} has others on {cell.task} than on "
                f"{first.task}; give them with --set, or leave them out of the suite's parts."
            )
    return alone


def _step(alone: Mapping[str, Cell], tasks: Sequence[str], way: Way, replay_share: float) -> Cell:
    """The step after the last of these tasks. Multi-task training does not depend on their order: it is the same cell
    for every order of them."""
    places = list(alone)
    done = sorted(tasks, key=places.index) if way == "multitask" else tasks
    *earlier, newest = (alone[task] for task in done)
    share = replay_share if way == "replay" else None
    stage = Stage(way, tuple((cell.task, cell.template) for cell in earlier), share)
    return replace(newest, stage=stage)


class _Steps:
    """The steps of streams by key: which are recorded, which read the checkpoints of which, and so which must run."""

    def __init__(self, streams: Streams, store: Store):
        self._store, self._streams, shared = store, streams, Shared()
        self._keys = {cell: Identity.of(cell, shared).key for cell in streams.cells}
        self.keys = list(dict.fromkeys(self._keys.values()))
        self._readers: dict[str, set[str]] = {key: set() for key in self.keys}
        for cell in streams.cells:
            for read in self._reads(cell):
                self._readers[read].add(self._keys[cell])
        kept = (cell for cell in streams.cells if cell.stage is None or cell in streams.rounds[-1])
        self._results = {self._keys[cell] for cell in kept if cell.stage is None or cell.stage.way != "separate"}
        self._records: dict[str, Record] = {}
        self._to_run: set[str] = set()
        self.refresh()

    def key(self, cell: Cell) -> str:
        """The key of a step's record."""
        return self._keys[cell]

    def refresh(self) -> None:
        """Reads which steps are recorded: another process may run the same streams."""
        self._records = self._store.read_all(self.keys)
        self._to_run = set()
        for cell in reversed(self._streams.cells):  # the readers of a checkpoint are in later rounds
            key = self._keys[cell]
            record = self._records.get(key)
            status = record and record.status
            lacks = status == "ok" and self._is_read(key) and not self._store.has_checkpoint(self._records[key])
            if status in (None, "failed") or lacks:
                self._to_run.add(key)

    def add(self, records: Iterable[Record]) -> None:
        """Takes note of records that were written or found."""
        added = {record.key: record for record in records}
        self._records |= added
        self._to_run -= added.keys()

    def can_run(self, cell: Cell) -> bool:
        """Whether every step whose checkpoint this one reads has a result."""
        return all(map(self._is_ok, self._reads(cell)))

    def keeps(self, key: str) -> bool:
        """Whether the step must have a checkpoint: if a step that is to run reads it, and when a model on a task alone,
        or one for all tasks, is trained."""
        return self._is_read(key) or (key in self._results and key in self._to_run)

    def is_complete(self, key: str) -> bool:
        """Whether nothing of the step is to be run."""
        return key not in self._to_run

    def drop_unneeded(self) -> None:
        """Deletes the checkpoints of steps that no other step will read."""
        done = (key for key in self.keys if self._is_ok(key) and not self.keeps(key))
        self._store.drop_checkpoints(
            self._records[key] for key in done if self._readers[key] and key not in self._results
        )

    def _is_ok(self, key: str) -> bool:
        record = self._records.get(key)
        return record is not None and record.status == "ok"

    def _is_read(self, key: str) -> bool:
        return not self._readers[key].isdisjoint(self._to_run)

    def _reads(self, cell: Cell) -> set[str]:
        if cell.stage is None:
            return set()
        read = cell.tasks if cell.stage.way == "separate" else (cell.before,)
        return {self._keys[other] for other in read if other is not None}
