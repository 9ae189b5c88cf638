"""Fine-tuning of the top layers only (the second baseline of Houlsby et al., 2019, arXiv:1902.00751, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from methods.base import Backbone, Method, Recipe, Unsupported, at_least
from methods.inject import matching


@dataclass(frozen=True)
class TopLayers(Method):
    """Trains the last n blocks and the head; what lies below them is frozen.

    A pooler that the checkpoint provides (BERT's) is neither: it stays frozen.
    Errors: Unsupported where the backbone has fewer than n blocks.
    """

    name: ClassVar[str] = "top_layers"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=5e-5)
    n: int = 2

    def __post_init__(self) -> None:
        at_least(1, n=self.n)

    def attach(self, backbone: Backbone) -> None:
        blocks = matching(backbone.model, backbone.sites.block)
        if self.n > len(blocks):
            raise Unsupported(f"top_layers:n={self.n} needs {self.n} blocks; the backbone has {len(blocks)}")
        top = sorted(blocks, key=lambda path: int(re.fullmatch(backbone.sites.block, path)[1]))[-self.n :]  # type: ignore[index]
        backbone.freeze(keep=[backbone.head, *(blocks[path] for path in top)])
