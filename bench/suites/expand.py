"""From a suite and what a call changes of it to the cells to run; every mistake in either is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, unknown
from tunefront.bench.models.folders import local
from tunefront.bench.suites.announce import announced
from tunefront.bench.suites.grids import Grid, grids
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.sweeps import known_methods
from tunefront.bench.suites.toml import Part, Suite, read_suite
from tunefront.bench.suites.validate import (
    Chosen,
    check_files,
    check_lengths,
    check_prompts,
    check_rows,
    check_template_users,
    templates_for,
)
from tunefront.methods.base import Method

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task


@dataclass(frozen=True)
class Expansion:
    """The cells to run, in order; what was read for them, a line for each task; and what may be wrong with that, such
    as rows that are in both train and test."""

    cells: tuple[Cell, ...]
    warnings: tuple[str, ...] = ()
    announcements: tuple[str, ...] = ()


def expand(
    suite: str = "quick",
    overrides: Overrides | None = None,
    *,
    tell: Callable[[str], None] = lambda _: None,
    listing: bool = False,
    wrong: ErrorCollector | None = None,
) -> Expansion:
    """The cells of a suite under these overrides: no duplicates, even out of two parts, grouped by backbone, then task;
    within these one part after another, each in the order of `tunefront.bench.suites.grids.Grid.cells`.

    `tell` hears what is being looked up. `listing`: the same cells for someone who will not run them; nothing is made,
    downloaded or written for it, and what only rows can tell goes unchecked. `wrong` has what is wrong with the call so
    far. Errors: UserErrors with all that is wrong.
    """
    overrides, wrong = overrides or Overrides(), wrong or ErrorCollector()
    if not suite.strip():
        wrong.messages.append("SUITE is blank; name a suite (see `tunefront list suites`), or leave it out.")
        wrong.raise_if_any()
    before = len(wrong.messages)
    for name in overrides.backbones or ():
        with wrong.collect():
            local(name)
    if len(wrong.messages) > before:  # what cannot even be looked for is told at once: libraries take seconds
        wrong.raise_if_any()
    read = Suite(suite, Path.cwd(), (Part(f"suite {suite}"),))
    with wrong.collect():
        read = read_suite(suite, wrong)
    tell("importing the libraries")
    asked = grids(read, overrides, wrong)
    if len(wrong.messages) == before:  # else that is why they are missing
        wrong.messages += [text for grid in asked for text in _missing(grid)]
    with wrong.collect():
        known = known_methods()
        for name in dict.fromkeys(name for grid in asked for name in grid.part.recipes):
            if name not in known:
                wrong.messages.append(f"suite {suite}: [recipe.{name}] {unknown('method', name, known)}")
    backbones = list(dict.fromkeys(name for grid in asked for name in grid.part.backbones))
    tasks = list(dict.fromkeys(name for grid in asked for name in grid.part.tasks))
    loaded = look_up(backbones, tasks, wrong, tell, listing)
    from tunefront.bench.models.config import warnings_of

    sizes = {task.name: len(task.splits["train"]) for task in loaded if task.splits}
    asked = [replace(grid, sizes=sizes) for grid in asked]
    tell("trying templates on a few rows")
    check_template_users([(grid.part.templates, grid.part.backbones) for grid in asked], wrong)
    _check_files(asked, wrong)
    templates = [_seen(grid, loaded, wrong, listing) for grid in asked]
    wrong.raise_if_any()
    cells = [cell for grid, (chosen, _) in zip(asked, templates, strict=True) for cell in grid.cells(chosen)]
    cells.sort(key=lambda cell: (backbones.index(cell.backbone), tasks.index(cell.task)))
    tell("looking for rows that are cut")
    chosen = [(grid, names) for grid, (names, _) in zip(asked, templates, strict=True)]
    announcements, cut = ([], []) if listing else announced(chosen, loaded)
    warnings = [text for name in backbones for text in warnings_of(name)]
    warnings += [text for task in loaded for text in task.warnings]
    warnings += [*(text for _, told in templates for text in told), *_too_many(asked), *cut]
    return Expansion(tuple(dict.fromkeys(cells)), tuple(dict.fromkeys(warnings)), tuple(announcements))


def look_up(
    backbones: Iterable[str],
    tasks: Iterable[str],
    wrong: ErrorCollector,
    tell: Callable[[str], None],
    listing: bool = False,
) -> list[Task]:
    """Sees that each backbone and task is there; returns the tasks, with `listing` their outlines."""
    from tunefront.bench.data.sources import load_task, preview_task
    from tunefront.bench.models.config import check_backbone
    from tunefront.bench.models.locate import check_downloaded

    for name in dict.fromkeys(backbones):
        tell(f"looking up {name}")
        with wrong.collect():
            if listing:
                check_downloaded(name)
            check_backbone(name)
    loaded: list[Task] = []
    for name in dict.fromkeys(tasks):
        tell(f"reading {name}")
        with wrong.collect():
            loaded.append(preview_task(name) if listing else load_task(name))
    return loaded


def _too_many(asked: Iterable[Grid]) -> list[str]:
    """A sentence for each task of which more rows are asked for than it has."""
    return [
        f"{task} has {grid.sizes[task]:,} training rows: all of them are drawn where {count:,} are asked for."
        for grid in asked
        for task in grid.part.tasks
        for count in grid.part.shots
        if "shots" in grid.given
        and task in grid.sizes
        and count is not None
        and count > grid.sizes[task]
        and not grid.config.published_draws
    ]


def _missing(grid: Grid) -> list[str]:
    """What neither the part nor the call names."""
    lists = (("methods", grid.methods), ("backbones", grid.part.backbones), ("tasks", grid.part.tasks))
    return [
        f"{grid.part.title} names no {what}, and the call gives none; add --{what.removesuffix('s')}."
        for what, names in lists
        if not names
    ]


def _seen(grid: Grid, loaded: Iterable[Task], wrong: ErrorCollector, listing: bool) -> tuple[Chosen, list[str]]:
    """Tries what the cells will do, on a few rows; returns the templates, and the warnings about them."""
    part = grid.part
    tasks = [task for task in loaded if task.name in part.tasks]
    templates, warnings = templates_for(part.backbones, tasks, part.templates, wrong)
    if listing:
        return templates, warnings
    for task in tasks:
        config = grid.config_of(task.name)
        check_lengths(part.backbones, [task], config.max_length, wrong)
        check_prompts({pair: names for pair, names in templates.items() if pair[1] == task.name}, [task], config, wrong)
    needy = grid.methods if grid.strict else sorted(grid.methods, key=lambda method: method.fewest_rows)[:1]
    check_rows(tasks, needy, part.shots, part.draws, grid.config, wrong)
    return templates, warnings


def _check_files(asked: Iterable[Grid], wrong: ErrorCollector) -> None:
    """Sees that what each method starts from goes with a backbone of the parts that have the method."""
    runs: dict[Method, list[str]] = {}
    for grid in asked:
        for method in grid.methods:
            runs.setdefault(method, []).extend(grid.part.backbones)
    for method, backbones in runs.items():
        check_files([method], list(dict.fromkeys(backbones)), wrong)
