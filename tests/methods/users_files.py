"""A method in a file of a user's own."""

from __future__ import annotations

from pathlib import Path

WRITTEN = """
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from tunefront.methods.base import Backbone, Method

@dataclass(frozen=True)
class Mine(Method):
    name: ClassVar[str] = "{name}"
    size: int = 3

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=backbone.head)
"""


def write(folder: Path, name: str = "mine", file: str = "own.py") -> Path:
    path = folder / file
    path.write_text(WRITTEN.format(name=name), encoding="utf-8")
    return path
