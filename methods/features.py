"""Feature-based transfer: a head on frozen features (Houlsby et al., 2019, arXiv:1902.00751, section 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunefront.methods.base import Backbone, Examples, Harness, Method, Recipe, Scorer, Search


@dataclass(frozen=True)
class Features(Method):
    """Computes and caches each row's pooled state once, and trains only the head on these states.

    The states are computed without dropout, so they are the same in every epoch; the head's dropout stays on.
    """

    name: ClassVar[str] = "features"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-2, epochs=30)
    search: ClassVar[Search | None] = Search(learning_rates=(1e-3, 3e-3, 1e-2, 3e-2))

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=backbone.add_head())

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        states = harness.cached("features", backbone.features, examples)
        harness.train(backbone.trainable(), backbone.loss, states)
        return backbone.score

    def scorer(self, backbone: Backbone) -> Scorer:
        return backbone.score
