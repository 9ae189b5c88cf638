"""Fine-tunes only the top layers (the second baseline of Houlsby et al., 2019, arXiv:1902.00751, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from tunefront.methods.base import Backbone, Method, Recipe, Search, Unsupported, at_least
from tunefront.methods.inject import matching


@dataclass(frozen=True)
class TopLayers(Method):
    """Trains the last n blocks, the final norm and the head (if the backbone has them); the rest is frozen.

    In an encoder-decoder the decoder's blocks are last. A pooler of the checkpoint (BERT's) stays frozen, and so do the
    output embeddings of a language model.
    Errors: Unsupported if the backbone has fewer than n blocks.
    """

    name: ClassVar[str] = "top_layers"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=5e-5)
    search: ClassVar[Search | None] = Search("n", (1, 2, 4), (3e-5, 1e-4, 3e-4, 1e-3, 3e-3))
    n: int = 2

    def __post_init__(self) -> None:
        at_least(1, n=self.n)

    def attach(self, backbone: Backbone) -> None:
        model, sites = backbone.model, backbone.sites
        blocks = list(matching(model, sites.block).values())  # in order of registration, first to last
        if self.n > len(blocks):
            raise Unsupported(f"top_layers:n={self.n} needs {self.n} blocks; the backbone has {len(blocks)}")
        final = sites.final_norm
        norms = [module for path, module in model.named_modules() if final and re.fullmatch(final, path)]
        backbone.freeze(keep=[backbone.head, *blocks[-self.n :], *norms])
