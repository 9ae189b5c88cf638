"""What costs are predicted of: cells of a suite, or methods on made-up rows of given lengths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
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

_OF_THE_ROWS = ("max_length", "eval_rows", "select", "balanced_draws", "published_draws")
"""Run settings that made-up rows have no use for."""
_OPTIONS = {
    "tokens": "length",
    "choices": "choices",
    "answer_tokens": "answer-length",
    "train_rows": "shots",
    "test_rows": "queries",
}
"""What the fields of `Lengths` are called on the command line."""


@dataclass(frozen=True)
class Target:
    """A cell to predict the costs of; `lengths` of its made-up rows, None where its rows are real."""

    cell: Cell
    lengths: SyntheticRows | None = None


def of_cells(cells: Iterable[Cell]) -> list[Target]:
    """The cells, one for each that differs in more than its seeds.

    Seeds change which rows are drawn and their order, hardly what they cost; the first of each stands for all.
    """
    found: dict[Cell, Cell] = {}
    for cell in cells:
        found.setdefault(replace(cell, seed=0, draw_seed=0), cell)
    return [Target(cell) for cell in found.values()]


def of_lengths(overrides: Overrides, lengths: SyntheticRows, wrong: ErrorCollector) -> list[Target]:
    """Every method on every backbone, on made-up rows; all registered methods where none is named.

    Errors: UserErrors with all that is wrong in the call; `wrong` has what is so far.
    """
    from tunefront.bench.forecast.fake_models import fake_pretrained

    backbones = overrides.backbones or ()
    if not backbones:
        wrong.messages.append("--length plans without data, for a --backbone: a preset, a folder or a config.json.")
    recipe, of_run = read_settings(overrides.all_settings(), wrong)
    for name in (name for name in of_run if name in _OF_THE_ROWS):
        wrong.messages.append(
            f"made-up rows have no {name}: their length is --length, and --queries of them are scored."
        )
    config = RunConfig()
    with wrong.collect():
        config = build({**of_run, "max_length": lengths.tokens}, RunConfig)
    with wrong.collect():
        check_device(config.device)
    methods = named_methods(overrides, wrong)
    for name in backbones:
        with wrong.collect():
            limits.check(name, lengths, config.context_length)
            fake_pretrained(name, lengths)
    cells = []
    for method in methods or (() if overrides.methods else _every_method()):
        with wrong.collect():
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
    wrong.raise_if_any()
    return [Target(cell, lengths) for cell in cells]


def at_size(target: Target, name: str, size: int, trains: bool) -> Target:
    """The cell at a size of a sweep: rows a `batch` in training and scoring, or the `length` of made-up rows.

    Made-up rows are then as many as fill a batch: fewer would cost the same at any larger target. Rows that are not
    trained on (`trains`) are shown, all of them, so that they stay as many.
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
        raise UserError("rows that are read have the lengths that they have; made-up ones can be swept over.")
    lengths = synthetic_rows(target.lengths, tokens=size)
    config = replace(target.cell.config, max_length=size)
    return Target(replace(target.cell, task=lengths.name, config=config), lengths)


def synthetic_rows(like: SyntheticRows | None = None, /, **sizes: int) -> SyntheticRows:
    """The lengths of made-up rows, those not given as in `like`; UserError where they are out of bounds."""
    try:
        return replace(like or SyntheticRows(), **sizes)
    except ValueError as error:
        field, _, told = str(error).partition(" ")
        raise UserError(f"made-up rows: --{_OPTIONS[field]} {told}.") from error


def needs_lengths(backbones: Iterable[str]) -> bool:
    """Whether a backbone is named that is a configuration alone, so that no text can be read."""
    from tunefront.bench.forecast.presets import presets

    return any(name in presets() or Path(name).expanduser().suffix == ".json" for name in backbones)


def _every_method() -> list[Method]:
    """Each registered method with its defaults; those that have a field without one are left out."""
    return [
        method()
        for method in known_methods().values()
        if all(one.default is not MISSING or one.default_factory is not MISSING for one in fields(method))
    ]
