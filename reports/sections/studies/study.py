"""A study as data: what was varied, tables, and figures without how they are drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunefront.bench.records import Record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports import units
from tunefront.reports.tables import Table


@dataclass(frozen=True)
class Material:
    """What studies are made of: the ok records, ordinary and others; the short names of their tasks and backbones; and
    what reads their predictions; `unscored` are those that failed or were skipped."""

    records: tuple[Record, ...]
    names: Mapping[str, str]
    backbones: Mapping[str, str]
    answers: AnswerFiles
    unscored: tuple[Record, ...] = ()


@dataclass(frozen=True)
class HeatMap:
    """Numbers on a grid, each printed in its cell. `values` has a row per name in `rows`, with None where nothing is
    drawn; `diverging`: two colours meet at 0, else one colour becomes darker. `name` is used in file names, `measure`
    says what the numbers are, `across` and `up` what the columns and rows are; a `small` one shares a row with another
    figure."""

    name: str
    title: str
    note: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    measure: str
    across: str
    up: str
    diverging: bool = False
    small: bool = False

    @property
    def alt(self) -> str:
        """The figure in words, number by number."""
        cells = [
            f"{row} to {column} {units.signed(value) if self.diverging else f'{value:.1f}'}"
            for row, line in zip(self.rows, self.values, strict=True)
            for column, value in zip(self.columns, line, strict=True)
            if value is not None
        ]
        return f"{self.title}: {self.measure} by {self.up} (rows) and {self.across} (columns): {'; '.join(cells)}."


@dataclass(frozen=True)
class Point:
    """A point of a line, with the ends of its interval if it has one. `x` is at least 0."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Points from left to right under one label; `dashed` for what the others are compared with."""

    label: str
    points: tuple[Point, ...]
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over a number, such as a size or a number of rows. `unit` follows the numbers below; `steps`: the number
    counts steps, one after another; the rest is as in `HeatMap`."""

    name: str
    title: str
    note: str
    lines: tuple[Line, ...]
    across: str
    up: str
    unit: str = ""
    small: bool = False
    steps: bool = False

    @property
    def alt(self) -> str:
        """The figure in words, point by point."""
        lines = [
            f"{line.label} " + ", ".join(f"{point.y:.1f} at {units.number(float(point.x))}" for point in line.points)
            for line in self.lines
        ]
        return f"{self.title}: {self.up} over {self.across}: {'; '.join(lines)}."


Figure = HeatMap | Chart


@dataclass(frozen=True)
class Study:
    """One section of the report. `tag` is used in file names and ids, `title` is its heading, `intro` are paragraphs
    that say what was varied and what was found."""

    tag: str
    title: str
    intro: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
