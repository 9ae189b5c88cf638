"""A cell: one method on one backbone and task, with its shots, seeds and settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from tunefront.bench.settings import RunConfig
from tunefront.methods.base import Method, Recipe
from tunefront.methods.spelling import label, spell

Way = Literal["separate", "sequential", "multitask", "replay"]
"""How a stream of tasks treats the earlier ones; see `Stage`."""
SHARED_WAYS: tuple[Way, ...] = ("sequential", "multitask", "replay")
"""The ways in which one model has all tasks."""


@dataclass(frozen=True)
class Stage:
    """A step of a stream of tasks, which arrive one after another (Houlsby et al. 2019, section 1).

    `earlier`: (task, template) of the tasks before the cell's, in order. `way`: `separate`, each task has its own
    trained parameters, which are loaded and scored once more; `sequential`, training goes on from the parameters after
    the last earlier task; `replay`, so does this, but on rows of all earlier tasks too: `replay_share` of those drawn
    for each; `multitask`, the pretrained model is trained on all tasks so far together, whose order does not matter.
    """

    way: Way
    earlier: tuple[tuple[str, str | None], ...]
    replay_share: float | None = None

    @property
    def joins(self) -> bool:
        """Whether the cell trains on rows of several tasks."""
        return self.way in ("multitask", "replay")

    @property
    def goes_on(self) -> bool:
        """Whether training starts from the checkpoint after the last earlier task."""
        return self.way in ("sequential", "replay")


Sampler = Literal["grid", "random", "optuna"]
"""How the trials of a search are chosen: spread evenly, drawn at random, or asked of Optuna by the scores so far."""


@dataclass(frozen=True)
class Trial:
    """The place of a cell in a search: `method` is the label of the method whose trials these are, of whatever size,
    `number` counts them from 1, `seed` is that of a sampler that draws."""

    method: str
    sampler: Sampler
    seed: int | None
    number: int


@dataclass(frozen=True)
class Cell:
    """One unit of work. `method_file` is the user's file that a worker imports; `recipe` is resolved.

    `stage` is its step in a stream of tasks, None outside one; `keep` says whether the store keeps its checkpoint.
    `searched` are the recipe fields that the suite tries several values of, `trial` is its place in that search, None
    without one; `paper` is the paper that the suite repeats; `deviations` say where the cell differs from it, None if
    they were not compared. Cells that differ only in these four, or in `keep`, are equal, because none changes a
    number.
    """

    method: Method
    backbone: str
    task: str
    recipe: Recipe
    shots: int | None = None
    draw_seed: int = 0
    seed: int = 0
    template: str | None = None
    config: RunConfig = field(default_factory=RunConfig)
    method_file: str | None = None
    stage: Stage | None = None
    keep: bool = field(default=False, compare=False)
    searched: tuple[str, ...] = field(default=(), compare=False)
    trial: Trial | None = field(default=None, compare=False)
    paper: str | None = field(default=None, compare=False)
    deviations: tuple[str, ...] | None = field(default=None, compare=False)

    @property
    def spelled(self) -> str:
        """The method with every field."""
        return spell(self.method)

    @property
    def changed_recipe(self) -> dict[str, bool | int | float | str | None]:
        """The fields in which its recipe differs from the method's own."""
        own = self.method.recipe or Recipe()
        values = {field.name: getattr(self.recipe, field.name) for field in fields(Recipe)}
        return {name: value for name, value in values.items() if value != getattr(own, name)}

    def on(self, task: str, template: str | None) -> Cell:
        """The same method, rows and settings on a task alone."""
        return replace(self, task=task, template=template, stage=None)

    @property
    def tasks(self) -> tuple[Cell, ...]:
        """The cell of every task so far, alone, in the order of the stream; of itself without a stage."""
        earlier = self.stage.earlier if self.stage else ()
        return tuple(self.on(task, template) for task, template in (*earlier, (self.task, self.template)))

    @property
    def before(self) -> Cell | None:
        """The cell whose checkpoint this one's training starts from; None if that is the pretrained model."""
        if self.stage is None or not self.stage.goes_on:
            return None
        *rest, (task, template) = self.stage.earlier
        stage = replace(self.stage, earlier=tuple(rest)) if rest else None
        return replace(self, task=task, template=template, stage=stage)

    @property
    def title(self) -> str:
        """The cell's line in the progress display, with the values of what is searched. Draw 0 is not named."""
        values = {name: getattr(self.recipe, name) for name in self.searched}
        parts = [label(self.method), *(f"{name}={value}" for name, value in values.items() if value is not None)]
        template = [] if self.template is None else [self.template]
        draw = [f"draw {self.draw_seed}"] if self.draw_seed else []
        stage = [f"{self.stage.way} after {len(self.stage.earlier)}"] if self.stage else []
        return " · ".join([" ".join(parts), self.backbone, self.task, *template, *stage, *draw, f"seed {self.seed}"])


def kept(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """The same cells, whose checkpoints the store keeps."""
    return tuple(replace(cell, keep=True) for cell in cells)
