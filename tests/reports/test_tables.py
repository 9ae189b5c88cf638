"""Tables as data: numbers in texts, and columns that say the same in every row."""

from __future__ import annotations

import pytest

from tunefront.reports import units
from tunefront.reports.tables import Cell, Column, Table, fold_constant, number_in


@pytest.mark.parametrize("value", [0.000123, 0.5, 1.0, 42.3, 59.9, 185.0, 7260.0])
def test_a_duration_is_read_as_it_is_written(value):
    assert number_in(units.seconds(value)) == pytest.approx(value, rel=0.02)
    assert number_in(units.instant(value)) == pytest.approx(value, rel=0.02)


@pytest.mark.parametrize("value", [0, 940, 352_000, 22_713_216, 1.4e12, 3.2e19])
@pytest.mark.parametrize("unit", ["", "B", "FLOP"])
def test_a_number_with_a_prefix_is_read_as_it_is_written(value, unit):
    assert number_in(units.si(value, unit)) == pytest.approx(value, rel=0.006)
    assert number_in(units.exact(value, unit)) == pytest.approx(value, rel=1e-5)


def test_other_numbers_are_read_as_they_are_written():
    assert number_in(units.signed(-12.34)) == -12.3
    assert number_in(units.times(1.27)) == 1.27
    assert number_in(units.percent(1, 3)) == 33
    assert number_in(units.count(1234567)) == 1_234_567
    assert number_in("†83.5") == 83.5
    assert [number_in(text) for text in (units.MISSING, "", "not distinguished", "after 7")] == [None] * 4


def table(*columns, lines=()):
    rows = tuple(tuple(Cell(text) for text in row) for row in zip(*columns, strict=True))
    heads = (Column("method", numeric=False), *(Column(f"c{place}") for place in range(1, len(columns))))
    return Table("t", heads, rows, "Note.", lines)


def test_a_column_that_says_the_same_in_every_row_becomes_a_line():
    folded = fold_constant(table(("a", "b", "c"), ("1.000", "1.000", "1.000"), ("1", "2", "3")))
    assert [column.head for column in folded.columns] == ["method", "c2"]
    assert [[cell.text for cell in row] for row in folded.rows] == [["a", "1"], ["b", "2"], ["c", "3"]]
    assert folded.note.startswith("Note. ")
    assert "c1 1.000" in folded.note


@pytest.mark.parametrize(
    "made",
    [
        table(("a", "b"), ("1", "1"), ("1", "2")),  # two rows
        table(("a", "b", "c"), ("1", "1", "2"), ("1", "2", "3")),  # no column is the same
        table(("a", "b", "c"), ("1", "1", "1")),  # nothing else would be left
        table(("a", "b", "c"), ("—", "—", "—"), ("1", "2", "3")),  # nothing is measured
        table(("a", "b", "c"), ("A", "A", "A"), ("1", "2", "3")),  # no number
    ],
    ids=["short", "different", "alone", "missing", "letters"],
)
def test_other_tables_stay_as_they_are(made):
    assert fold_constant(made) is made
