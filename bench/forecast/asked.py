"""What is to be planned: cells of a suite, or methods on made-up rows of given lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path

from bench.cells import Cell
from bench.errors import Gathered, Mistake
from bench.forecast.made_up import Lengths
from bench.options import pairs
from bench.selection import given
from bench.settings import RunConfig, resolve_recipe, valid
from bench.sweeps import method_of
from methods.base import Method
from methods.registry import methods, source_file

BATCH, LENGTH = "batch", "length"


@dataclass(frozen=True)
class Planned:
    """A cell to plan; `lengths` of its made-up rows, None where its rows are real; `swept`, the size of the sweep that
    it belongs to, None outside of one."""

    cell: Cell
    lengths: Lengths | None = None
    swept: tuple[str, int] | None = None


def of_cells(cells: Iterable[Cell]) -> list[Planned]:
    """The cells, one for each that differs in more than its seeds.

    Seeds change which rows are drawn and their order, hardly what they cost; the first of each stands for all.
    """
    found: dict[Cell, Cell] = {}
    for cell in cells:
        found.setdefault(replace(cell, seed=0, draw_seed=0), cell)
    return [Planned(cell) for cell in found.values()]


def of_lengths(
    spelled: Sequence[str] | None,
    backbones: Sequence[str] | None,
    settings: Sequence[str] | None,
    lengths: Lengths,
) -> list[Planned]:
    """Every method on every backbone, on made-up rows; all registered methods where none is named.

    Errors: Mistakes with all that is wrong in the options.
    """
    from bench.forecast.outlines import outline

    wrong = Gathered()
    if not backbones:
        wrong.found.append("--length plans without data, for a --backbone: a preset, a folder or a config.json.")
    recipe, of_run = given(pairs(settings, None, wrong), wrong)
    config = RunConfig()
    with wrong.any():
        config = valid({"max_length": lengths.tokens, **of_run}, RunConfig)
    chosen: list[Method] = []
    for name in spelled or ():
        with wrong.any():
            chosen.append(method_of(name))
    for name in backbones or ():
        with wrong.any():
            outline(name, lengths)
    cells = []
    for method in chosen or (() if spelled else _every_method()):
        with wrong.any():
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
                for backbone in backbones or ()
            ]
    wrong.told()
    return [Planned(cell, lengths) for cell in cells]


def over(planned: Iterable[Planned], name: str, sizes: Sequence[int]) -> Iterator[Planned]:
    """Each cell at each size of a sweep: the batch in training and scoring, or the length of made-up rows."""
    for one in planned:
        for size in sizes:
            if name == BATCH:
                recipe, config = replace(one.cell.recipe, batch_size=size), one.cell.config
                cell = replace(one.cell, recipe=recipe, config=replace(config, eval_batch_size=size))
                yield replace(one, cell=cell, swept=(name, size))
                continue
            if one.lengths is None:
                raise Mistake("--sweep length=... needs made-up rows: give --length too, and --backbone.")
            lengths = replace(one.lengths, tokens=size)
            config = replace(one.cell.config, max_length=size)
            yield Planned(replace(one.cell, task=lengths.name, config=config), lengths, (name, size))


def needs_lengths(backbones: Sequence[str] | None) -> bool:
    """Whether a backbone is named that is a configuration alone, so that no text can be read."""
    from bench.forecast.presets import presets

    return any(name in presets() or Path(name).expanduser().suffix == ".json" for name in backbones or ())


def _every_method() -> list[Method]:
    """Each registered method with its defaults; those that have a field without one are left out."""
    return [
        method()
        for method in methods().values()
        if all(one.default is not MISSING or one.default_factory is not MISSING for one in fields(method))
    ]
