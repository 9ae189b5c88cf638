"""A cell: one method on one backbone and task, with its shots, seeds and settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.settings import RunConfig
from methods.base import Method, Recipe
from methods.registry import label, spell


@dataclass(frozen=True)
class Cell:
    """One unit of work. `method_file` is the user's own file to import in a worker; `recipe` is resolved."""

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

    @property
    def spelled(self) -> str:
        """The method with every field."""
        return spell(self.method)

    @property
    def title(self) -> str:
        """What a person reads in the progress display."""
        return f"{label(self.method)} · {self.backbone} · {self.task} · seed {self.seed}"
