"""Comparing a run's cells with the papers that their suites repeat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.papers.compared import compared
from tunefront.bench.suites.sweeps import method_of
from tunefront.methods.base import Recipe


def test_cells_of_no_paper_are_left_alone_without_a_status(toy_folder: str) -> None:
    cells = (Cell(method_of("ia3"), "nowhere", toy_folder, Recipe()),)
    statuses: list[str] = []
    assert compared(cells, statuses.append) == (cells, [])
    assert statuses == []


def test_an_unknown_paper_is_a_mistake_before_anything_is_looked_at(toy_folder: str) -> None:
    cell = Cell(method_of("ia3"), "nowhere", toy_folder, Recipe(), paper="tfew2020")
    with pytest.raises(UserError, match="no paper 'tfew2020'"):
        compared((cell,))


def test_what_differs_is_in_the_cells_and_in_the_lines(backbones: dict[str, str], toy_folder: str) -> None:
    cell = Cell(method_of("full"), backbones["bert"], toy_folder, Recipe(dtype="bfloat16"), paper="houlsby2019")
    cells, (first, *lines) = compared((cell, replace(cell, paper=None)))
    assert cells[1].deviations is None
    assert cells[0].deviations is not None
    assert "dtype is bfloat16, not float32" in cells[0].deviations
    assert first.startswith(f"Houlsby et al. 2019: {len(cells[0].deviations)} differences between this run and")
    assert lines == [f"every method: {'; '.join(cells[0].deviations)}."]
