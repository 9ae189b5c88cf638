"""A cell: one method on one backbone and task, with its shots, seeds and settings."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from tunefront.bench.settings import RunConfig
from tunefront.methods.base import Method, Recipe
from tunefront.methods.spelling import label, spell


@dataclass(frozen=True)
class Cell:
    """One unit of work. `method_file` is the user's file that a worker imports; `recipe` is resolved.

    `searched` are the recipe fields that the suite tries several values of; `paper` is the paper that the suite
    repeats; `deviations` say where the cell differs from it, None if they were not compared. Cells that differ only in
    these three are equal, because none changes a number.
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
    searched: tuple[str, ...] = field(default=(), compare=False)
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

    @property
    def title(self) -> str:
        """The cell's line in the progress display, with the values of what is searched. Draw 0 is not named."""
        values = {name: getattr(self.recipe, name) for name in self.searched}
        parts = [label(self.method), *(f"{name}={value}" for name, value in values.items() if value is not None)]
        template = [] if self.template is None else [self.template]
        draw = [f"draw {self.draw_seed}"] if self.draw_seed else []
        return " · ".join([" ".join(parts), self.backbone, self.task, *template, *draw, f"seed {self.seed}"])
