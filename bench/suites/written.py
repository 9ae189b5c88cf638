"""Writes the suite of a call as a file to edit: suite `own` with the numbers that were fitted to the tasks.

The shipped file's comments stay. The written file runs the cells of the call. Without data it is a starter.
"""

from __future__ import annotations

import copy
import itertools
import os
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.data.sampling import training_rows
from tunefront.bench.data.sources import load_task
from tunefront.bench.data.sources.file_name import FILE, OPTIONS, FileName, is_file_name
from tunefront.bench.errors import printable
from tunefront.bench.models.folders import local
from tunefront.bench.settings import SETTINGS
from tunefront.bench.suites.data_tables import DATA
from tunefront.bench.suites.expand import OWN
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.search import RATE
from tunefront.bench.suites.toml import DEFAULT_FOR, INSTEAD, PARTS, SAMPLER, TRIALS, suite_text
from tunefront.methods.spelling import label

if TYPE_CHECKING:
    from tunefront.bench.suites.expand import Expansion
    from tunefront.bench.suites.grids import Grid
    from tunefront.methods.base import Method

_WIDTH = 118
_COMMENTS_FROM = 45
"""The column of comments behind values, as in the shipped suites."""


def written(expansion: Expansion, overrides: Overrides, folder: Path, odd: Sequence[str] = ()) -> str:
    """The text of a suite file in `folder` with the parts of this expansion of a shipped suite. `odd`: what `tunefront
    check` found odd about its tasks, for the comments."""
    import tomlkit
    from tomlkit.items import AoT

    text, _ = suite_text(expansion.suite)
    document = tomlkit.parse(_without_header(text))
    shipped, parts = document[PARTS], AoT([])
    same_tasks = len({grid.part.tasks for grid in expansion.parts}) == 1
    for grid in expansion.parts:
        table: Any = copy.deepcopy(shipped[grid.part.place])
        _fill(table, grid, overrides, folder)
        if not same_tasks:
            _fill_tasks(table, grid.part.tasks, folder)
        parts.append(table)
    for name in ("draws", "seeds"):
        if getattr(overrides, name):
            document[name] = list(getattr(overrides, name))
    document[PARTS] = parts
    whole = tomlkit.document()
    if same_tasks:
        _fill_tasks(whole, expansion.parts[0].part.tasks, folder)
    keys, tables = _before_tables(document.as_string())
    tasks = tuple(f"{task}: " for grid in expansion.parts for task in grid.part.tasks)
    others = [text for text in expansion.warnings if not text.startswith(tasks)]  # `check` has those about tasks too
    head = [*_comments([_TITLE, "", *expansion.announcements]), *_warned([*others, *odd]), ""]
    return "\n".join([*head, f"{keys}{whole.as_string()}", tables])


def _before_tables(text: str) -> tuple[str, str]:
    """A TOML text cut before its first table, since what follows the head of a table belongs to it."""
    first = text.index("\n[") + 1
    return text[:first], text[first:]


def starter() -> str:
    """The text of a suite file without data: suite `own`, with a task to fill in."""
    text, _ = suite_text(OWN)
    comment = [_TITLE, "Name your data below; with it, `tunefront init FILE` writes the numbers that fit it."]
    tasks = f'tasks = ["{PLACEHOLDER}"]'
    tasks = f"{tasks:<{_COMMENTS_FROM}}# your file or folder"
    return "\n".join([*_comments(comment), "", tasks, "", _without_header(text)])


PLACEHOLDER = "data.csv"
"""The file that a starter names."""
_TITLE = "Written by `tunefront init`, to edit. `tunefront list settings` describes what can be set."


def _without_header(text: str) -> str:
    """The text of a suite without the comment at its top."""
    lines = text.splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if not line.startswith("#"))
    return "".join(lines[first:]).lstrip("\n")


def _holds_rows_out(grid: Grid) -> bool:
    pairs = itertools.product(grid.part.tasks, grid.part.shots)
    return grid.searches and any(grid.selects(task, shots) for task, shots in pairs)


def _warned(warnings: Sequence[str]) -> list[str]:
    return ["#", *_comments(f"Warning: {text}" for text in warnings)] if warnings else []


def _comments(texts: Iterable[str]) -> list[str]:
    """The texts as comments, one or more lines each."""
    lines: list[str] = []
    for text in texts:
        lines += textwrap.wrap(printable(text, single_line=True), _WIDTH, break_on_hyphens=False) or [""]
    return [f"# {line}".rstrip() for line in lines]


def _fill(table: Any, grid: Grid, overrides: Overrides, folder: Path) -> None:  # Any: a table of tomlkit
    """Puts the numbers of a part of one backbone, task and number of shots into its table."""
    part = grid.part
    for key in (DEFAULT_FOR, INSTEAD, "fitted"):
        if key in table:
            table.remove(key)
    table["backbones"] = [_relative_backbone(name, folder) for name in part.backbones]
    _put(table, "shots", ["all" if count is None else count for count in part.shots], 'rows to train on, or "all"')
    methods, needy = _by_need(grid)
    if overrides.methods or needy:
        table["methods"] = [label(method) for method in methods]
    if needy:
        table["methods"].comment(f"without {', '.join(map(label, needy))}: too few rows")
    if overrides.templates:
        table["templates"] = [name for name in part.templates if name is not None]
    _fill_recipe(table["recipe"], grid)
    if not _holds_rows_out(grid):
        table.remove("search")
    elif RATE in grid.recipe:  # a single value, since trials alone would search it
        table["search"][RATE] = [grid.recipe[RATE]]
    if "search" in table:
        _put(table["search"], TRIALS, overrides.trials)
        _put(table["search"], SAMPLER, overrides.sampler)
    lengths = grid.lengths
    if lengths is not None:
        note = f"tokens; {lengths.uncut:,} of {lengths.looked_at:,} rows uncut, the longest has {lengths.longest:,}"
        _put(table["settings"], "max_length", lengths.max_length, note)
    for name in grid.given:
        if name in SETTINGS and SETTINGS[name].table == "settings":
            _put(table["settings"], name, getattr(grid.config, name))


def _by_need(grid: Grid) -> tuple[list[Method], list[Method]]:
    """(the methods of a part that its rows are enough for, the others, which a suite of its own stops at)."""
    pairs = itertools.product(grid.part.tasks, grid.part.shots)
    rows = min(
        len(training_rows(load_task(task), shots, grid.part.draws[0], grid.config_for(task, shots))[0])
        for task, shots in pairs
    )
    enough = [method for method in grid.methods if method.fewest_rows <= rows]
    return enough, [method for method in grid.methods if method not in enough]


def _fill_recipe(recipe: Any, grid: Grid) -> None:
    """Puts the fitted epochs and what the call sets, which no method's own table overrides, into the recipe."""
    for name, value in {**grid.part.recipe, **grid.recipe}.items():
        if name not in recipe or recipe[name] != value:
            _put(recipe, name, value)
    for own in (recipe[name] for name in grid.part.recipes if name in recipe):
        for name in (name for name in grid.recipe if name in own):
            own.remove(name)


def _put(table: Any, name: str, value: Any, comment: str = "") -> None:
    """Sets a value, with a comment behind it; a value that TOML does not have, None, is left out."""
    if value is None:
        return
    table[name] = value
    if comment:
        table[name].comment(comment)
        table[name].trivia.comment_ws = " " * max(1, _COMMENTS_FROM - len(f"{name} = {table[name].as_string()}"))


def _fill_tasks(table: Any, tasks: Sequence[str], folder: Path) -> None:
    """Puts the tasks into a part: files as tables that say how each is read, what was guessed too."""
    import tomlkit

    names = {task: FileName.parse(task) for task in tasks if is_file_name(task)}
    tables = tomlkit.aot()
    for task, name in names.items():
        if name.source == FILE:
            tables.append(_file_table(task, name.at(lambda path: _from(path, folder))))
    if tables:
        table[DATA] = tables
    others = [task for task in tasks if task not in names or names[task].source != FILE]
    if others:
        table["tasks"] = [
            f"dir:{_from(task.removeprefix('dir:'), folder)}" if task.startswith("dir:") else task for task in others
        ]


def _file_table(task: str, name: FileName) -> Any:
    """The table of a file: what its name says, and what was guessed."""
    import tomlkit

    table = tomlkit.table()
    table["file"] = name.path
    for option in OPTIONS:
        value = getattr(name, option)
        if value:
            table[option] = list(value) if option == "text" else value
    for option, value in load_task(task).guessed.items():
        _put(table, option, list(value) if isinstance(value, tuple) else value, "guessed")
    return table


def _relative_backbone(name: str, folder: Path) -> str:
    return _from(name, folder) if local(name).exists() else name


def _from(path: str, folder: Path) -> str:
    """A path as seen from a folder; one that is given from the root stays."""
    place = Path(path).expanduser()
    return path if place.is_absolute() else os.path.relpath(place, folder)
