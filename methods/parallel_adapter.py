"""Parallel adapters: a scaled bottleneck in parallel to a sublayer (He et al., 2022, arXiv:2110.04366)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from tunefront.methods.base import Backbone, Method, Recipe, Search, above, at_least
from tunefront.methods.inject import plug


class ParallelBottleneck(nn.Module):
    """The change s (W_up relu(W_down x)), zero at the start because W_up is.

    Args: width, the backbone's d; bottleneck, the inner m; scale, s.
    Shapes: x (..., width) -> (..., width). Size: 2 m d + d + m trainable parameters.
    Source: He et al. 2022, table 1 (scaled parallel adapter); initial values from their code, which are LoRA's.
    """

    def __init__(self, width: int, bottleneck: int, scale: float):
        super().__init__()
        self.scale = scale
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.up(nn.functional.relu(self.down(x))) * self.scale
        return change


@dataclass(frozen=True)
class ParallelAdapter(Method):
    """An adapter in parallel to each feed-forward sublayer reads its input and adds to its output: L(2md+m+d), and the
    head.

    `sublayers` is `ffn`, the paper's choice, `attention` (including cross-attention) or `both`. The defaults are those
    of the paper's summarisation and translation; its script for GLUE has bottleneck 16 and scale 2. Recipe: learning
    rate, decay and warm-up of that script.
    Differs: the adapter reads the input of the sublayer's first projection, which follows a layer norm in pre-norm
    models (the authors' code reads the residual there); it has no inner dropout; for attention it adds after the output
    projection (the authors' code before it), without its own layer norm. The feed-forward's sum follows the sublayer's
    dropout, or precedes it if the dropout is no module (DistilBERT, OPT, BART).
    """

    name: ClassVar[str] = "parallel_adapter"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-4, weight_decay=0.1, warmup=0.06)
    search: ClassVar[Search | None] = Search("bottleneck", (4, 16, 64, 256, 512), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2))
    bottleneck: int = 512
    scale: float = 4.0
    sublayers: Literal["ffn", "attention", "both"] = "ffn"

    def __post_init__(self) -> None:
        at_least(1, 1_000_000, bottleneck=self.bottleneck)
        above(0, scale=self.scale)  # at 0 nothing would train

    def attach(self, backbone: Backbone) -> None:
        model, sites = backbone.model, backbone.sites
        backbone.freeze(keep=backbone.head)

        def adapter(host: nn.Module, width: int) -> ParallelBottleneck:
            return ParallelBottleneck(width, self.bottleneck, self.scale)

        if self.sublayers != "attention":
            plug(model, sites.ffn_output, "beside", adapter, where="parallel", reads=sites.ffn_up)
        if self.sublayers != "ffn":
            # A query projection that is called again on positions (DeBERTa's) would leave those in the tap.
            query = sites.value if "query" in sites.repeated else sites.query
            reads = query if sites.fused_projection is None else sites.fused_projection
            plug(model, sites.attention_output, "beside", adapter, where="parallel", reads=reads)
