"""The cells to predict: cells of a suite, or methods on synthetic rows of given lengths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path

from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.forecast import limits
from tunefront.bench.forecast.sizes import BATCH
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.settings import RunConfig, build, resolve_recipe
from tunefront.bench.suites.grids import named_methods, read_settings
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.sweeps import known_methods
from tunefront.bench.suites.validate import check_device
from tunefront.methods.base import Method
from tunefront.methods.registry import source_file

_FOR_REAL_ROWS = ("max_length", "eval_rows", "select", "selection_rows", "balanced_draws", "published_draws")
"""Run settings without effect on synthetic rows."""
_OPTIONS = {
    "tokens": "length",
    "choices": "choices",
    "answer_tokens": "answer-length",
    "train_rows": "shots",
    "test_rows": "queries",
}
"""The command-line options of the fields of `SyntheticRows`."""


@dataclass(frozen=True)
class Target:
    """A cell to predict; `lengths` of its synthetic rows, None for real rows."""

    cell: Cell
    lengths: SyntheticRows | None = None


def cell_targets(cells: Iterable[Cell]) -> list[Target]:
    """Targets for the cells, one per group of cells that differ only in their seeds.

    Seeds change the drawn rows and their order, but hardly the costs; the first cell represents its group.
    """
    first: dict[Cell, Cell] = {}
    for cell in cells:
        first.setdefault(without_seeds(cell), cell)
    return [Target(cell) for cell in first.values()]


def without_seeds(cell: Cell) -> Cell:
    """The cell with seed and draw 0, equal for cells that differ only in these."""
    return replace(cell, seed=0, draw_seed=0)


def synthetic_targets(overrides: Overrides, lengths: SyntheticRows, errors: ErrorCollector) -> list[Target]:
    """Every method on every backbone, on synthetic rows; by default all registered methods.

    Errors: UserErrors with all errors of the call; `errors` contains the ones found so far.
    """
    from tunefront.bench.forecast.fake_models import fake_pretrained

    backbones = overrides.backbones or ()
    if not backbones:
        errors.messages.append("--length needs a --backbone: a preset, a folder or a config.json.")
    recipe, run_settings = read_settings(overrides.all_settings(), errors)
    for name in (name for name in run_settings if name in _FOR_REAL_ROWS):
        errors.messages.append(
            f"{name} has no effect on synthetic rows; --length sets their length and --queries the number to score."
        )
    config = RunConfig()
    with errors.collect():
        config = build({**run_settings, "max_length": lengths.tokens}, RunConfig)
    with errors.collect():
        check_device(config.device)
    methods = named_methods(overrides, errors)
    for name in backbones:
        with errors.collect():
            limits.check(name, lengths, config.context_length)
            fake_pretrained(name, lengths)
    cells = []
    for method in methods or (() if overrides.methods else _every_method()):
        with errors.collect():
            resolved = resolve_recipe(method, recipe)
            file = source_file(method)
            cells += [
                Cell(
                    method,
                    backbone,
                    lengths.name,
                    resolved,
                    shots=lengths.train_rows,
                    config=config,
                    method_file=None if file is None else str(file),
                )
                for backbone in backbones
            ]
    errors.raise_if_any()
    return [Target(cell, lengths) for cell in cells]


def at_size(target: Target, name: str, size: int, trains: bool) -> Target:
    """The target at a size of a sweep: rows per `batch` in training and scoring, or the `length` of synthetic rows.

    There are then enough synthetic rows to fill a batch: fewer would cost the same for every larger batch. Unless the
    cell `trains`, its training rows are demonstrations, all of them shown, so their number stays.
    """
    if name == BATCH:
        recipe, config = replace(target.cell.recipe, batch_size=size), replace(target.cell.config, eval_batch_size=size)
        cell, lengths = replace(target.cell, recipe=recipe, config=config), target.lengths
        if lengths is not None:
            rows = max(lengths.train_rows, size) if trains else lengths.train_rows
            lengths = replace(lengths, train_rows=rows, test_rows=max(lengths.test_rows, size))
            cell = replace(cell, shots=rows)
        return Target(cell, lengths)
    if target.lengths is None:
        raise UserError("the length of real rows cannot be swept; give --length for synthetic rows.")
    lengths = synthetic_rows(target.lengths, tokens=size)
    config = replace(target.cell.config, max_length=size)
    return Target(replace(target.cell, task=lengths.name, config=config), lengths)


def synthetic_rows(like: SyntheticRows | None = None, /, **sizes: int) -> SyntheticRows:
    """Lengths of synthetic rows, by default those of `like`; UserError if they are out of bounds."""
    try:
        return replace(like or SyntheticRows(), **sizes)
    except ValueError as error:
        field, _, problem = str(error).partition(" ")
        raise UserError(f"synthetic rows: --{_OPTIONS[field]} {problem}.") from error


def needs_lengths(backbones: Iterable[str]) -> bool:
    """Whether one of the backbones is only a configuration, which cannot read texts."""
    from tunefront.bench.forecast.presets import presets

    return any(name in presets() or Path(name).expanduser().suffix == ".json" for name in backbones)


def _every_method() -> list[Method]:
    """Each registered method with its defaults, except those with a field without default, and those whose optional
    packages are not installed."""
    return [
        method()
        for method in known_methods().values()
        if all(map(find_spec, method.packages))
        and all(field.default is not MISSING or field.default_factory is not MISSING for field in fields(method))
    ]
