"""Compares a cell's method fields, recipe, settings and rows with the paper's runs."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from tunefront.bench.cells import Cell
from tunefront.bench.data.task import Task
from tunefront.bench.forecast.presets import config_of
from tunefront.bench.models.config import config_at, sites_of
from tunefront.bench.models.examples import sorts_by_length
from tunefront.bench.papers.conformance.practice import Allowed, Line, Practice, differing
from tunefront.bench.papers.conformance.wording import differs, one_of
from tunefront.bench.settings import Scalar, as_scalars
from tunefront.bench.training.step import rate, total_steps

WITHOUT_TRAINING = ("dtype",)
"""Recipe fields that change numbers even if nothing is trained."""


def of_fields(cell: Cell, line: Line | None) -> Iterator[str]:
    """Differences in the fields of the method."""
    if line is None:
        yield "method is not in the paper"
        return
    for name, practice in line.theirs.items():
        yield differs(name, getattr(cell.method, name), practice)
    yield from line.besides
    for name in differing(line.method, cell.method):
        if name not in line.apart:
            yield differs(name, getattr(cell.method, name), getattr(line.method, name))


def of_recipe(cell: Cell, line: Line | None, practice: Practice) -> Iterator[str]:
    """Differences in recipe fields that the paper's code has; for methods without training, only `WITHOUT_TRAINING`."""
    expected = {**practice.recipe, **(line.recipe if line is not None else {})}
    if line is not None and not line.trains:
        expected = {name: values for name, values in expected.items() if name in WITHOUT_TRAINING}
    yield from _fields(as_scalars(cell.recipe), expected)


def of_settings(cell: Cell, practice: Practice) -> Iterator[str]:
    """Differences in the run settings."""
    yield from _fields(as_scalars(cell.config), practice.settings)


def of_backbone(cell: Cell, line: Line | None, practice: Practice) -> Iterator[str]:
    """A different backbone: another architecture, or another size."""
    names = (line.backbones if line is not None else ()) or practice.backbones
    ours, theirs = _config(cell.backbone), {name: config_of(name) for name in names}
    if not any(_shape(ours) == _shape(config) for config in theirs.values()):
        kinds = one_of(list(dict.fromkeys(config.model_type for config in theirs.values())))
        yield differs("backbone", f"{cell.backbone} ({ours.model_type})", f"{one_of(names)} ({kinds})")


@functools.cache
def _config(backbone: str) -> Any:  # Any: as below
    """A backbone's configuration, cached for all cells."""
    return config_at(backbone)


def _shape(config: Any) -> tuple[object, ...]:  # Any: transformers' configurations have no common type
    """The fields that distinguish published sizes of an architecture."""
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "feed_forward_proj")
    return (config.model_type, *(getattr(config, name, None) for name in sizes))


def of_rows(cell: Cell, practice: Practice, task: Task) -> Iterator[str]:
    """Differences in the number of drawn rows and in the scored split."""
    expected = practice.tasks.get(_letters(task.name)) or practice.tasks.get("")
    if expected is None:
        yield "task is not in the paper"
        return
    ours: dict[str, Scalar] = {"shots": "all" if cell.shots is None else cell.shots, "scored split": task.eval_split}
    for name, theirs in expected.items():
        if ours[name] != theirs:
            yield differs(name, ours[name], theirs)


def of_habits(cell: Cell, line: Line | None, practice: Practice, task: Task) -> Iterator[str]:
    """Differences without a setting: templates, row order, batches, truncation, and the first learning rate."""
    ours = _habits(cell, line is None or line.trains, task)
    for name, theirs in practice.habits.items():
        if name in ours and ours[name] != theirs:
            yield differs(name, ours[name], theirs)


def _habits(cell: Cell, trains: bool, task: Task) -> dict[str, str]:
    """Our practice, as far as it applies to this cell."""
    batch, recipe = cell.recipe.batch_size, cell.recipe
    drawn = len(task.splits["train"]) if cell.shots is None else cell.shots
    habits = {}
    encoder = sites_of(_config(cell.backbone), cell.backbone).family == "encoder"
    if not encoder:
        habits["template"] = "the same for every row"
        habits["truncated part of a long prompt"] = "its start"
    habits["training seed"] = "the draw's" if cell.seed == cell.draw_seed else "one for all draws"
    if trains:
        habits["loss"] = "of a head" if encoder else "of choices"
        warm = rate(recipe, 0, total_steps(recipe, drawn))
        habits["rate of the first step"] = "0" if warm == 0 else "above 0"
        habits["order of rows"] = "by length within shuffled parts" if sorts_by_length(drawn, batch) else "shuffled"
        if drawn % batch:
            habits["incomplete last batch"] = "kept"
    return habits


def _fields(ours: Mapping[str, Scalar], expected: Mapping[str, Allowed]) -> Iterator[str]:
    for name, values in expected.items():
        if ours[name] not in values:
            yield differs(name, ours[name], one_of(values))


def _letters(task: str) -> str:
    """The letters and digits of the last part of a task's name.

    >>> _letters("dir:data/anli-r1/"), _letters("hub:super_glue/rte")
    ('anlir1', 'rte')
    """
    last = task.rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return "".join(letter for letter in last.lower() if letter.isalnum())
