"""Rescaled linear layers, "LoRA scaling" in the code of T-Few (Liu et al., 2022, arXiv:2205.05638; in no paper)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tunefront.methods.base import Backbone, Method, Recipe, Search
from tunefront.methods.ia3 import Rescale
from tunefront.methods.inject import plug


@dataclass(frozen=True)
class Scaling(Method):
    """Rescales the input and output of every linear layer of the blocks: inner + outer parameters each.

    b * (W (a * x) + bias), which is W times the rank-1 matrix b a^T, with vectors that start at one; also trains the
    head. (IA)^3 is the part that rescales keys, values and the inner feed-forward activation. On BERT
    L(10d + 2d_ff) + C(d+1) parameters. A fused projection is one layer.
    Source: `lora_scaling.json` and `lora.py` of T-Few's code; with the recipe of (IA)^3 there.
    """

    name: ClassVar[str] = "scaling"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=3e-3, weight_decay=0.0, warmup=0.06)
    search: ClassVar[Search | None] = Search(learning_rates=(1e-3, 3e-3, 1e-2, 3e-2, 1e-1))

    def attach(self, backbone: Backbone) -> None:
        model, linears = backbone.model, backbone.sites.linears
        backbone.freeze(keep=backbone.head)
        plug(model, linears, "scale_in", lambda host, width: Rescale(width), where="before")
        plug(model, linears, "scale_out", lambda host, width: Rescale(width), where="after")
