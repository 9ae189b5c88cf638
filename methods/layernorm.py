"""LN-tuning: trains only the layer norms (Qi et al., 2022, arXiv:2211.08682)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunefront.methods.base import Backbone, Method, Recipe, Search


@dataclass(frozen=True)
class LayerNorm(Method):
    """Trains the weight and bias of every layer norm, including the embedding's and the final one, and the head.

    2d(2L+1) + C(d+1) parameters on BERT; norms without a bias (T5's, Llama's) have d each.
    T-Few (Liu et al. 2022) trains the same at a rate of 3e-4, with Adafactor, which multiplies it by each tensor's root
    mean square. Differs: the paper trains only the two norms of each block, not the embedding's; the rate is that of
    BitFit's authors, who train similarly few parameters on the same tasks.
    """

    name: ClassVar[str] = "layernorm"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-3)
    search: ClassVar[Search | None] = Search()

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=[backbone.head, backbone.sites.norms])
