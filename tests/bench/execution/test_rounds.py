"""Cells in rounds: each round follows from the records of those before, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.bench.execution.grids import Grid
from tunefront.bench.cells import Cell, Trial
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.rounds import Rounds
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store


@dataclass
class Halving:
    """Asks for a cell, then for its rate halved as often as there are further ones; keeps what it was given."""

    first: Cell
    count: int = 3
    given: list[tuple[float, float | None]] = field(default_factory=list)

    def __call__(self, records: Mapping[Cell, Record]) -> list[Cell]:
        cell = self.first
        for number in range(1, self.count + 1):
            cell = replace(cell, trial=Trial("features", "optuna", 0, number))
            if cell not in records:
                return [cell]
            self.given.append((cell.recipe.learning_rate, records[cell].score))
            cell = replace(cell, recipe=replace(cell.recipe, learning_rate=cell.recipe.learning_rate / 2))
        return []


class Counted:
    """A progress that counts."""

    def __init__(self) -> None:
        self.plans: list[tuple[int, int]] = []
        self.ran: list[Cell] = []

    def planned(self, total: int, reused: int) -> None:
        self.plans.append((total, reused))

    def started(self, cell: Cell) -> None: ...

    def step(self, cell: Cell, phase: str, done: int, total: int) -> None: ...

    def finished(self, cell: Cell, record: Record) -> None:
        self.ran.append(cell)

    def working(self, status: str) -> None: ...


def rounds(folder: str, toy: str, count: int = 3) -> Rounds:
    (cell,) = Grid(folder, toy, methods=("features",)).cells()
    return Rounds([cell] * count, Halving(cell, count))


def numbers(records: Sequence[Record]) -> list[int | None]:
    return [record.search.number for record in records]


def test_each_round_sees_the_records_of_those_before(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    asked = rounds(backbones["bert"], toy_folder)
    outcome = asked.run(Store(tmp_path), progress=(progress := Counted()))
    assert (outcome.ran, outcome.reused, outcome.failed) == (3, 0, 0)
    assert progress.plans == [(3, 0)]
    scores = [record.score for record in outcome.records]
    assert isinstance(asked.ask, Halving)
    assert [score for _, score in asked.ask.given[-3:]] == scores
    assert numbers(outcome.records) == [1, 2, 3]
    assert {record.search.sampler for record in outcome.records} == {"optuna"}


def test_a_stopped_search_repeats_nothing(backbones: dict[str, str], toy_folder: str, tmp_path: Path) -> None:
    rounds(backbones["bert"], toy_folder, count=2).run(Store(tmp_path))
    whole = rounds(backbones["bert"], toy_folder)
    outcome = whole.run(Store(tmp_path), progress=(progress := Counted()))
    assert (outcome.ran, outcome.reused) == (1, 2)
    assert progress.plans == [(3, 2)]
    assert [cell.trial.number for cell in progress.ran if cell.trial] == [3]
    again = whole.run(Store(tmp_path), progress=(progress := Counted()))
    assert (again.ran, again.reused, progress.plans) == (0, 3, [(3, 3)])
    assert {record.key for record in again.records} == {record.key for record in outcome.records}


def test_a_record_knows_the_last_search_that_asked_for_it(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path
) -> None:
    (cell,) = Grid(backbones["bert"], toy_folder, methods=("features",)).cells()
    store = Store(tmp_path)
    (plain,) = run_grid([cell], store).records
    assert plain.search.number is None
    (placed,) = run_grid([replace(cell, trial=Trial("features", "random", 5, 2))], store).records
    assert (placed.key, placed.search.number, placed.search.seed) == (plain.key, 2, 5)
    (kept,) = run_grid([cell], store).records
    assert kept == placed == store.read(plain.key)
