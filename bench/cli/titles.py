"""Titles of the cells of a run: the method, the task, and what else differs among these cells."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from tunefront.bench.cells import Cell
from tunefront.bench.settings import RunConfig
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import label, spell

if TYPE_CHECKING:
    from tunefront.bench.records import Record

COORDINATES: Mapping[str, Callable[[Cell | Record], Hashable]] = {
    "backbone": lambda cell: cell.backbone,
    "shots": lambda cell: cell.shots,
    "template": lambda cell: cell.template,
    "stage": lambda cell: _stage_of(cell),
    "draw": lambda cell: cell.draw_seed,
    "seed": lambda cell: cell.seed,
}
"""What names a cell in addition to its method and task."""
SHORTEST = 12
"""The fewest characters to which a method, and a task, are shortened."""


@dataclass(frozen=True)
class Title:
    """A cell's title. `where` is what else names the cell; it is never shortened."""

    method: str
    task: str
    where: str = ""

    def __str__(self) -> str:
        return " · ".join(filter(None, (self.method, self.task, self.where)))

    def fitted(self, width: int) -> str:
        """The title in `width` characters, if possible: the middle of the method is left out, then that of the task."""
        from tunefront.reports.names import elide

        room = width - len(str(self))
        method = elide(self.method, max(len(self.method) + min(room, 0), SHORTEST))
        room += len(self.method) - len(method)
        task = elide(self.task, max(len(self.task) + min(room, 0), SHORTEST))
        return str(Title(method, task, self.where))


@dataclass(frozen=True)
class Titles:
    """The titles of a run's cells.

    `varying`: backbone -> the coordinates in which its cells differ. `common` has those that are the same in all cells.
    `settings` are fields of recipes and run settings in which cells differ that are otherwise the same. The title of a
    cell on another backbone has every coordinate.
    """

    varying: Mapping[str, frozenset[str]] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    tasks: Mapping[str, str] = field(default_factory=dict)
    backbones: Mapping[str, str] = field(default_factory=dict)
    common: str = ""

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Titles:
        """The titles for these cells, with short names of their tasks and backbones."""
        from tunefront.reports.names import short_names

        tasks, backbones = short_names(cell.task for cell in cells), short_names(cell.backbone for cell in cells)
        varying = {name: _varying([cell for cell in cells if cell.backbone == name]) for name in backbones}
        if len(backbones) > 1:
            varying = {name: {"backbone", *names} for name, names in varying.items()}
        titles = cls(
            {name: frozenset(names) for name, names in varying.items()}, _differing_settings(cells), tasks, backbones
        )
        same = [name for name in COORDINATES if name not in _varying(cells)] if cells else []
        return replace(titles, common=", ".join(filter(None, (titles._coordinate(name, cells[0]) for name in same))))

    def of_cell(self, cell: Cell) -> Title:
        """One cell's title."""
        return self._title(label(cell.method), cell, _settings_of(cell))

    def of_record(self, record: Record) -> Title:
        """The title of a record's cell."""
        return self._title(record.label, record, {**record.recipe, **record.settings})

    def _title(self, method: str, cell: Cell | Record, values: Mapping[str, object]) -> Title:
        own = [f"{name}={_written(values[name])}" for name in self.settings if values.get(name) is not None]
        shown = self.varying.get(cell.backbone, frozenset(COORDINATES))
        where = [self._coordinate(name, cell) for name in COORDINATES if name in shown]
        return Title(method, self.tasks.get(cell.task, cell.task), " · ".join(filter(None, [*where, *own])))

    def _coordinate(self, name: str, cell: Cell | Record) -> str:
        """A coordinate in words; empty if the cell has none (an encoder has no template)."""
        if name == "backbone":
            return self.backbones.get(cell.backbone, cell.backbone)
        if name == "shots":
            return "all rows" if cell.shots is None else f"{cell.shots:,} row{'' if cell.shots == 1 else 's'}"
        if name == "template":
            return cell.template or ""
        if name == "stage":
            return _stage_of(cell)
        return f"draw {cell.draw_seed}" if name == "draw" else f"seed {cell.seed}"


def _stage_of(cell: Cell | Record) -> str:
    """The step of a stream in words, such as `sequential after 3`; empty for a task alone."""
    if isinstance(cell, Cell):
        return f"{cell.stage.way} after {len(cell.stage.earlier)}" if cell.stage else ""
    return f"{cell.stream.way} after {len(cell.stream.earlier or ())}" if cell.stream.way else ""


def _varying(cells: Sequence[Cell]) -> set[str]:
    """The coordinates in which cells differ."""
    return {name for name, read in COORDINATES.items() if len(set(map(read, cells))) > 1}


def _differing_settings(cells: Iterable[Cell]) -> tuple[str, ...]:
    """The fields of recipes and run settings in which cells differ whose other coordinates are the same."""
    cells = list(cells)
    spelled = {id(method): spell(method) for method in {id(cell.method): cell.method for cell in cells}.values()}
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:  # a method is spelled once: thousands of cells share it
        where = (spelled[id(cell.method)], cell.task, *(read(cell) for read in COORDINATES.values()))
        groups.setdefault(where, []).append(cell)
    several = [[_settings_of(cell) for cell in group] for group in groups.values() if len(group) > 1]
    names = dict.fromkeys(name for group in several for values in group for name in values)
    return tuple(name for name in names if any(len({values[name] for values in group}) > 1 for group in several))


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings_of(cell: Cell) -> dict[str, object]:
    recipe = {each.name: getattr(cell.recipe, each.name) for each in fields(Recipe)}
    return recipe | {each.name: getattr(cell.config, each.name) for each in fields(RunConfig)}
