"""A search by Optuna asks in fixed batches, from the scores alone."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.reports.factory import record
from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record
from tunefront.bench.suites.expand import Expansion, expand
from tunefront.bench.suites.grids import space_for
from tunefront.bench.suites.optuna_search import BATCH, STARTUP, Asking, check_all_known
from tunefront.bench.suites.overrides import Overrides

SUITE = """
methods = ["full", "lora", "icl:k=0"]
backbones = ["nano"]
tasks = ["docstrings/kind"]
shots = [80]
draws = [0, 1]
[search]
trials = {trials}
sampler = "optuna"
seed = {seed}
"""
BEST = 2e-5
Score = Callable[[Cell], float | None]


@pytest.fixture
def expanded(tmp_path: Path) -> Callable[..., Expansion]:
    def make(trials: int = 10, seed: int = 0, **overrides: Any) -> Expansion:
        path = tmp_path / "asked.toml"
        path.write_text(SUITE.format(trials=trials, seed=seed), encoding="utf-8")
        return expand(str(path), Overrides(**overrides))

    return make


def result(cell: Cell, score: float | None) -> Record:
    """The record of a cell with this selection score; None for one that failed."""
    if score is None:
        return record(status="failed", reason="diverged", label=cell.method.name)
    return record(label=cell.method.name, scores__selection={"accuracy": score})


def near(rate: float) -> Score:
    """A score that is best at a rate."""
    return lambda cell: 1 / (1 + abs(cell.recipe.learning_rate / rate - 1))


def asking(expansion: Expansion) -> Asking:
    return Asking.of(expansion.cells, partial(space_for, parts=expansion.parts))


def run(expansion: Expansion, score: Score, rounds: int = 100) -> tuple[dict[Cell, Record], list[list[Cell]]]:
    """All cells with their records, and the cells of each round."""
    ask = asking(expansion)
    records: dict[Cell, Record] = {}
    asked: list[list[Cell]] = []
    while len(asked) < rounds and (cells := [cell for cell in ask(records) if cell not in records]):
        asked.append(cells)
        records |= {cell: result(cell, score(cell)) for cell in cells}
    return records, asked


def rates(cells: Mapping[Cell, Record], name: str, draw: int = 0) -> list[float]:
    """The rates of a method in the order of its trials."""
    own = [cell for cell in cells if cell.method.name == name and cell.draw_seed == draw and cell.trial is not None]
    return [cell.recipe.learning_rate for cell in sorted(own, key=lambda cell: cell.trial.number if cell.trial else 0)]


def test_every_method_gets_its_trials_in_batches_over_all_draws(expanded: Callable[..., Expansion]) -> None:
    expansion = expanded(trials=9)
    records, rounds = run(expansion, near(1e-3))
    assert len(records) == len(expansion.cells) == 2 * (9 + 9) + 1  # in-context learning has nothing to search
    sizes = [sum(cell.method.name == "full" for cell in cells) for cells in rounds]
    assert sizes == [2 * STARTUP, 2 * BATCH, 2 * BATCH, 2]
    assert rates(records, "full", draw=0) == rates(records, "full", draw=1)
    assert len(set(rates(records, "full"))) == 9


def test_what_is_asked_follows_from_the_scores_and_the_seed_alone(expanded: Callable[..., Expansion]) -> None:
    first, _ = run(expanded(), near(1e-4))
    again, _ = run(expanded(), near(1e-4))
    assert rates(first, "full") == rates(again, "full")
    assert rates(first, "full")[:STARTUP] == rates(run(expanded(), near(1e-5))[0], "full")[:STARTUP]
    assert rates(first, "full") != rates(run(expanded(), near(1e-5))[0], "full")
    assert rates(first, "full")[1:] != rates(run(expanded(seed=1), near(1e-4))[0], "full")[1:]


@pytest.mark.parametrize("trials", [1, 3, 5, 8])
def test_a_longer_search_begins_with_a_shorter_one(expanded: Callable[..., Expansion], trials: int) -> None:
    short, long = (rates(run(expanded(trials=count), near(1e-4))[0], "full") for count in (trials, 10))
    assert short == long[:trials]


def test_a_stopped_search_goes_on_as_if_it_had_not_been(expanded: Callable[..., Expansion]) -> None:
    whole, _ = run(expanded(), near(1e-4))
    ask = asking(expanded())
    kept = dict(random.Random(0).sample(list(whole.items()), len(whole) // 2))
    kept |= {cell: known for cell, known in whole.items() if cell.trial and cell.trial.number <= STARTUP + 1}
    while cells := [cell for cell in ask(kept) if cell not in kept]:
        kept |= {cell: whole[cell] for cell in cells}  # a KeyError for a cell that was not asked before
    assert set(kept) == set(whole)


def test_trials_move_to_the_better_rates(expanded: Callable[..., Expansion]) -> None:
    """Over twelve seeds: the later half of 30 trials lies nearer to the best rate than the random start does."""
    asked, drawn = [], []
    for seed in range(12):
        expansion = expanded(trials=30, seed=seed, methods=["full"], draws=[0])
        tried = rates(run(expansion, near(BEST))[0], "full")
        drawn += [abs(math.log10(rate / BEST)) for rate in tried[1:STARTUP]]
        asked += [abs(math.log10(rate / BEST)) for rate in tried[15:]]
    assert statistics.median(asked) < statistics.median(drawn) / 2


def test_failed_trials_are_told_as_the_worst(expanded: Callable[..., Expansion]) -> None:
    def diverges(cell: Cell) -> float | None:
        return None if cell.recipe.learning_rate > 2e-4 else near(1e-4)(cell)

    records, _ = run(expanded(trials=12), diverges)
    assert len(rates(records, "full")) == 12
    nothing, _ = run(expanded(trials=12), lambda cell: None)
    assert len(set(rates(nothing, "full"))) == 12


def test_a_finite_space_is_not_tried_twice(expanded: Callable[..., Expansion]) -> None:
    expansion = expanded(trials=30, methods=["lora"], settings={"learning_rate": "0.1"}, draws=[0])
    records, _ = run(expansion, lambda cell: 0.5)
    assert sorted(cell.method.rank for cell in records) == [1, 2, 4, 8, 16, 32]  # type: ignore[attr-defined]


def test_commands_that_need_all_cells_in_advance_refuse_it(expanded: Callable[..., Expansion]) -> None:
    with pytest.raises(UserError, match="'random'"):
        check_all_known(expanded().cells, "pytest")
