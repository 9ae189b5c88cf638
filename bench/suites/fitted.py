"""What a suite fits to a task: the length that leaves most rows uncut, and the epochs that follow from the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunefront.bench.data.sampling import eval_rows, thinned, training_rows
from tunefront.bench.suites.grids import Grid, Lengths
from tunefront.bench.suites.toml import Fitting

if TYPE_CHECKING:
    from tunefront.bench.data.task import Task
    from tunefront.bench.settings import Scalar
    from tunefront.bench.suites.validate import Chosen

_LOOKED_AT, _MOST_ANSWERS = 1000, 30_000
"""Most rows of a split whose tokens are counted, and most answers of these rows in prompts: of more, every second,
third, ... row is."""
_STEP = 8
"""Lengths are multiples of this, which the kernels of some devices need to be fast."""


def fitted_grids(grids: Iterable[tuple[Grid, Chosen]], tasks: Iterable[Task]) -> list[tuple[Grid, Chosen]]:
    """Each part with a table [fitted] as one part per backbone, task and number of shots, with the numbers that follow
    from the rows in its recipe and settings; other parts as they are. Numbers that the call or the part gives stay."""
    loaded = {task.name: task for task in tasks}
    parts: list[tuple[Grid, Chosen]] = []
    for grid, templates in grids:
        if not grid.part.fitted:
            parts.append((grid, templates))
            continue
        for backbone in grid.part.backbones:
            for name in grid.part.tasks:
                task, names = loaded[name], templates[backbone, name]
                lengths = _lengths(grid, backbone, task, names)
                for shots in grid.shots_of(name):
                    lists = replace(grid.part, backbones=(backbone,), tasks=(name,), shots=(shots,))
                    one = replace(grid, part=lists, lengths=lengths)
                    parts.append((_fitted(one, task), {(backbone, name): names}))
    return parts


def _fitted(grid: Grid, task: Task) -> Grid:
    """A part of one backbone, task and number of shots with its fitted numbers."""
    (shots,), fitting = grid.part.shots, Fitting(**grid.part.fitted)
    config = grid.config_for(task.name, shots)
    recipe: dict[str, Scalar] = {}
    if fitting.row_passes is not None and not {"epochs", "steps"} & {*grid.part.recipe, *grid.recipe}:
        train = training_rows(task, shots, grid.part.draws[0], config)[0]
        recipe["epochs"] = epochs_of(len(train), len(task.label_names), fitting)
    max_length = config.max_length if grid.lengths is None else grid.lengths.max_length
    part = replace(grid.part, recipe={**grid.part.recipe, **recipe})
    return replace(grid, part=part, config=replace(grid.config, max_length=max_length))


def epochs_of(rows: int, classes: int, fitting: Fitting) -> float:
    """Epochs on so many rows of so many classes (0 for values), to two digits.

    >>> fitting = Fitting(row_passes=2000, class_passes=40, most_epochs=20)
    >>> [epochs_of(rows, classes, fitting) for rows, classes in ((1440, 3), (1440, 150), (50, 3))]
    [1.4, 4.2, 20.0]
    """
    assert fitting.row_passes is not None
    epochs = max(fitting.row_passes, classes * (fitting.class_passes or 0)) / max(1, rows)
    return float(f"{epochs if fitting.most_epochs is None else min(epochs, fitting.most_epochs):.2g}")


def _lengths(grid: Grid, backbone: str, task: Task, templates: Sequence[str | None]) -> Lengths | None:
    """The smallest length that leaves the part's share of the rows uncut, at most the model's limit, whatever rows are
    drawn; None if the call or the part sets the length, and for a task that the model cannot do."""
    from tunefront.bench.models.config import row_tokens

    config, share = grid.config_of(task.name), Fitting(**grid.part.fitted).uncut_share
    if share is None or config.max_length is not None:
        return None
    prompts = sum(template is not None for template in templates)
    most = max(10, min(_LOOKED_AT, _MOST_ANSWERS // max(1, prompts * len(task.label_names))))
    rows = [row for split in (task.splits["train"], eval_rows(task, config.eval_rows)) for row in thinned(split, most)]
    counted = [row_tokens(backbone, task, template, rows, config) for template in templates]
    known = [lengths for lengths in counted if lengths]
    if not known:
        return None
    whole = sorted(length for lengths in known for length, _ in lengths)
    needed = whole[max(1, math.ceil(share * len(whole))) - 1]
    cut = [kept for lengths in known for length, kept in lengths if kept < length]
    max_length = min([-(-needed // _STEP) * _STEP, *([max(cut)] if cut else [])])  # a cut row has the model's limit
    return Lengths(max_length, sum(length <= max_length for length in whole), len(whole), whole[-1])
