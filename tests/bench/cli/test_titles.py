"""Titles of cells: the method, the task, and what else differs among the cells of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.bench.world import World
from tunefront.bench.cells import Cell
from tunefront.bench.cli.titles import Titles
from tunefront.bench.settings import RunConfig
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import parse


def cell(method: str = "ia3", task: str = "docstrings/kind", **changes: Any) -> Cell:
    return replace(Cell(parse(method), "minilm", task, Recipe()), **changes)


def titles(*cells: Cell) -> list[str]:
    made = Titles.of(cells)
    return [str(made.of_cell(each)) for each in cells]


def test_a_single_cell_is_its_method_and_task_and_the_rest_is_said_once() -> None:
    assert titles(cell()) == ["ia3 · kind"]
    assert Titles.of([cell(shots=16)]).common == "minilm, 16 rows, draw 0, seed 0"


@pytest.mark.parametrize(
    ("field", "values", "ends"),
    [
        ("draw_seed", (0, 1), ("draw 0", "draw 1")),
        ("seed", (0, 1), ("seed 0", "seed 1")),
        ("shots", (1, 1600, None), ("1 row", "1,600 rows", "all rows")),
        ("template", ("a", "b"), ("a", "b")),
        ("backbone", ("x/bert", "y/bert"), ("x/bert", "y/bert")),
    ],
)
def test_what_varies_is_shown_and_only_that(field: str, values: tuple[Any, ...], ends: tuple[str, ...]) -> None:
    cells = [cell(**{field: value}) for value in values]
    assert titles(*cells) == [f"ia3 · kind · {end}" for end in ends]


def test_what_varies_on_another_backbone_alone_is_not_shown() -> None:
    small = [cell(shots=200, seed=seed) for seed in (0, 1)]
    large = [cell(backbone="large", shots=32, draw_seed=draw, template="t") for draw in (0, 1)]
    shown = titles(*small, *large)
    assert shown[1::2] == ["ia3 · kind · minilm · seed 1", "ia3 · kind · large · draw 1"]
    assert Titles.of([*small, *large]).common == ""


def test_a_draw_that_varies_is_shown_for_draw_0_too() -> None:
    assert titles(cell(draw_seed=0), cell(draw_seed=1))[0] == "ia3 · kind · draw 0"


def test_recipes_are_shown_where_they_are_tried_for_the_same_cell() -> None:
    slow, fast = Recipe(learning_rate=1e-4), Recipe(learning_rate=1e-3)
    assert titles(cell(recipe=slow), cell(recipe=fast), cell("full", recipe=fast)) == [
        "ia3 · kind · learning_rate=0.0001",
        "ia3 · kind · learning_rate=0.001",
        "full · kind · learning_rate=0.001",
    ]
    assert titles(cell(recipe=slow), cell("full", recipe=fast)) == ["ia3 · kind", "full · kind"]


def test_settings_are_shown_where_they_differ_for_the_same_cell() -> None:
    assert titles(*(cell(config=RunConfig(max_length=most)) for most in (16, 32)))[0] == "ia3 · kind · max_length=16"


def test_paths_are_short() -> None:
    names = ("dir:/a/very/long/path/sst2", "file:/b/tickets.csv?label=team", "hub:nyu-mll/glue/cola")
    assert titles(*(cell(task=name) for name in names)) == ["ia3 · sst2", "ia3 · tickets.csv", "ia3 · cola"]


def test_a_record_has_the_title_of_its_cell() -> None:
    cells = [cell("houlsby:bottleneck=8", draw_seed=draw, recipe=Recipe(epochs=n)) for draw in (0, 1) for n in (1, 2)]
    made = Titles.of(cells)
    assert [made.of_record(World().record(each)) for each in cells] == [made.of_cell(each) for each in cells]


def test_the_end_of_a_title_is_never_shortened() -> None:
    cells = [cell("houlsby:bottleneck=256,std=0.01", seed=seed) for seed in (0, 1)]
    title = Titles.of(cells).of_cell(cells[1])
    assert len(title.fitted(35)) == 35
    assert title.fitted(35).endswith(" · kind · seed 1")
    assert title.fitted(5).endswith(" · kind · seed 1")
    assert title.fitted(200) == str(title)
