"""Expands a suite and the overrides of a call into cells; reports all mistakes in both together."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.cells import Cell
from tunefront.bench.errors import ErrorCollector, unknown
from tunefront.bench.models.folders import local
from tunefront.bench.suites.announce import announce_tasks
from tunefront.bench.suites.fitted import fitted_grids
from tunefront.bench.suites.grids import Grid, build_grids, for_kinds
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.sweeps import known_methods
from tunefront.bench.suites.toml import FALLBACK, Part, Suite, read_suite
from tunefront.bench.suites.unfetched import fallback_of, without_unfetched
from tunefront.bench.suites.validate import (
    Chosen,
    check_files,
    check_lengths,
    check_prompts,
    check_rows,
    check_spans,
    check_template_users,
    templates_for,
)
from tunefront.methods.base import Method

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task

QUICK, OWN = "quick", "own"
"""The suites of a call that names none: for the embedded tasks, and for any other."""
STREAM, MIX = "stream", "mix"
"""The suites of the commands of these names, where a call names none."""


@dataclass(frozen=True)
class Expansion:
    """The cells to run, in order, of `suite`; announcements, a line per task; warnings, such as rows that are in both
    train and test; and the parts that the cells come from, with what was fitted to the tasks."""

    cells: tuple[Cell, ...]
    warnings: tuple[str, ...] = ()
    announcements: tuple[str, ...] = ()
    parts: tuple[Grid, ...] = ()
    suite: str = QUICK


def expand(
    suite: str | None = None,
    overrides: Overrides | None = None,
    *,
    on_status: Callable[[str], None] = lambda _: None,
    listing: bool = False,
    wrong: ErrorCollector | None = None,
    vary: Callable[[list[Grid], ErrorCollector], list[Grid]] | None = None,
    elsewhere: bool = False,
) -> Expansion:
    """The cells of a suite, by default that of `suite_for`, under these overrides, without duplicates, grouped by
    backbone, then task; within a group one part after another, each in the order of
    `tunefront.bench.suites.grids.Grid.cells`.

    `on_status` gets a line before each slow step. `listing` is for callers that will not run the cells: nothing is
    built, downloaded or written, and checks that need rows are left out. `wrong` holds earlier errors in the call.
    `vary` changes the parts once the call has selected them, as an ablation does. `elsewhere` is for callers whose
    cells run on other machines: no device is looked for here.
    Errors: UserErrors with all mistakes.
    """
    overrides, wrong = overrides or Overrides(), wrong or ErrorCollector()
    suite = suite_for(overrides) if suite is None else suite
    if not suite.strip():
        wrong.messages.append("SUITE is blank; name a suite (see `tunefront list suites`), or leave it out.")
        wrong.raise_if_any()
    before = len(wrong.messages)
    for name in overrides.backbones or ():
        with wrong.collect():
            local(name)
    if len(wrong.messages) > before:  # report invalid names at once: importing the libraries takes seconds
        wrong.raise_if_any()
    read = Suite(suite, Path.cwd(), (Part(f"suite {suite}"),))
    with wrong.collect():
        read = read_suite(suite, wrong)
    on_status("importing the libraries")
    instead = fallback_of(read, overrides)
    if instead is not None:
        with wrong.collect(f"suite {suite}: {FALLBACK}: "):
            read = read_suite(instead[0], wrong)
    parts = build_grids(read, overrides, wrong, listing, elsewhere)
    if not overrides.backbones and any(grid.part.default_for for grid in parts):
        named = dict.fromkeys(name for grid in parts for name in grid.part.tasks)
        parts = for_kinds(parts, look_up((), named, ErrorCollector(), on_status, listing))  # errors are reported below
    parts, left_out = without_unfetched(parts, overrides)
    if vary is not None:
        parts = vary(parts, wrong)
    left_out = [*([] if instead is None else [instead[1]]), *left_out]
    if len(wrong.messages) == before:  # else an earlier error explains the missing names
        wrong.messages += [text for grid in parts for text in _missing(grid)]
    with wrong.collect():
        known = known_methods()
        for name in dict.fromkeys(name for grid in parts for name in grid.part.recipes):
            if name not in known:
                wrong.messages.append(f"suite {read.name}: [recipe.{name}] {unknown('method', name, known)}")
    backbones = list(dict.fromkeys(name for grid in parts for name in grid.part.backbones))
    tasks = list(dict.fromkeys(name for grid in parts for name in grid.part.tasks))
    loaded = look_up(backbones, tasks, wrong, on_status, listing)
    from tunefront.bench.data.sampling import selects_on_validation
    from tunefront.bench.models.config import warnings_of

    sizes = {task.name: len(task.splits["train"]) for task in loaded if task.splits}
    only_train = frozenset(task.name for task in loaded if task.splits and not selects_on_validation(task))
    parts = [replace(grid, sizes=sizes, only_train=only_train) for grid in parts]
    on_status("trying templates on a few rows")
    check_template_users([(grid.part.templates, grid.part.backbones) for grid in parts], wrong)
    _check_files(parts, wrong)
    for grid in parts:
        check_spans(grid.part.backbones, grid.config.removed_spans, wrong)
    tried = [(grid, *_try_templates(grid, loaded, wrong, listing)) for grid in parts]
    wrong.raise_if_any()
    on_status("counting the tokens of rows")
    chosen: list[tuple[Grid, Chosen]] = [(grid, names) for grid, names, _ in tried]
    if not listing:
        chosen = fitted_grids(chosen, loaded)
    cells = [cell for grid, names in chosen for cell in grid.cells(names)]
    cells.sort(key=lambda cell: (backbones.index(cell.backbone), tasks.index(cell.task)))
    announcements, cut = ([], []) if listing else announce_tasks(chosen, loaded)
    warnings = [*left_out, *(text for name in backbones for text in warnings_of(name))]
    warnings += [text for task in loaded for text in task.warnings]
    warnings += [*(text for _, _, texts in tried for text in texts), *_too_many_shots(parts), *cut]
    return Expansion(
        cells=tuple(dict.fromkeys(cells)),
        warnings=tuple(dict.fromkeys(warnings)),
        announcements=tuple(announcements),
        parts=tuple(grid for grid, _ in chosen),
        suite=read.name,
    )


def suite_for(overrides: Overrides) -> str:
    """The suite of a call that names none: `own` for tasks of the user's, else `quick`."""
    from tunefront.bench.data.sources import known_tasks

    return OWN if set(overrides.tasks or ()) - set(known_tasks()) else QUICK


def look_up(
    backbones: Iterable[str],
    tasks: Iterable[str],
    wrong: ErrorCollector,
    on_status: Callable[[str], None],
    listing: bool = False,
) -> list[Task]:
    """Checks that each backbone and task exists; returns the tasks, with `listing` only their outlines."""
    from tunefront.bench.data.sources import load_task, preview_task
    from tunefront.bench.models.config import check_backbone
    from tunefront.bench.models.locate import check_downloaded

    for name in dict.fromkeys(backbones):
        on_status(f"looking up {name}")
        with wrong.collect():
            if listing:
                check_downloaded(name)
            check_backbone(name)
    loaded: list[Task] = []
    for name in dict.fromkeys(tasks):
        on_status(f"reading {name}")
        with wrong.collect():
            loaded.append(preview_task(name) if listing else load_task(name))
    return loaded


def _too_many_shots(parts: Iterable[Grid]) -> list[str]:
    """A sentence per task that has fewer rows than are requested."""
    return [
        f"{task} has {grid.sizes[task]:,} training rows: all of them are drawn, since {count:,} were requested."
        for grid in parts
        for task in grid.part.tasks
        for count in grid.part.shots
        if "shots" in grid.given
        and task in grid.sizes
        and count is not None
        and count > grid.sizes[task]
        and not grid.config.published_draws
    ]


def _missing(grid: Grid) -> list[str]:
    """Messages for lists that neither the part nor the call names."""
    lists = (("methods", grid.methods), ("backbones", grid.part.backbones), ("tasks", grid.part.tasks))
    options = {"methods": "--method", "backbones": "--backbone", "tasks": "--data FILE, or --task"}
    return [
        f"{grid.part.title} names no {kind}, and the call gives none; add {options[kind]}."
        for kind, names in lists
        if not names
    ]


def _try_templates(
    grid: Grid, loaded: Iterable[Task], wrong: ErrorCollector, listing: bool
) -> tuple[Chosen, list[str]]:
    """Tries on a few rows what the cells will do; returns the templates and warnings about them."""
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
    for task, shots in itertools.product(tasks, part.shots):
        check_rows([task], needy, [shots], part.draws, grid.config_for(task.name, shots), wrong)
    return templates, warnings


def _check_files(parts: Iterable[Grid], wrong: ErrorCollector) -> None:
    """Checks that the file each method starts from fits a backbone of the parts that have the method."""
    runs: dict[Method, list[str]] = {}
    for grid in parts:
        for method in grid.methods:
            runs.setdefault(method, []).extend(grid.part.backbones)
    for method, backbones in runs.items():
        check_files([method], list(dict.fromkeys(backbones)), wrong)
