"""What is exported, and what a form of export does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.checkpoints.stored import StoredCheckpoint
    from tunefront.bench.models.families import Backbone
    from tunefront.bench.training.demonstrations import Prompts
    from tunefront.methods.base import Method


@dataclass(frozen=True)
class Exportable:
    """What is exported: a fitted method on its backbone, and the demonstrations that it has read."""

    method: Method
    backbone: Backbone
    prompts: Prompts

    @classmethod
    def of(cls, fitted: Fitted) -> Exportable:
        """What was loaded from a checkpoint."""
        return cls(fitted.method, fitted.backbone, fitted.harness.prompts)


class Form(Protocol):
    """A form of export. `about` says in a few words what is written."""

    about: str

    def check(self, subject: Exportable) -> None:
        """Unsupported, with the reason, if the form cannot express the fitted method exactly. Computes little."""

    def write(self, fitted: Fitted, stored: StoredCheckpoint, folder: Path) -> list[str]:
        """Writes the files into an empty folder, loads them again and compares; returns notes about them.

        Errors: Unsupported as `check`; UserError if what was loaded again computes something else.
        """
