"""BitFit: trains only the biases (Ben Zaken et al., 2021, arXiv:2106.10199)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Method, Recipe, Search, Unsupported
from tunefront.methods.inject import matching, plug


class Bias(nn.Module):
    """x + b, with b (width,) starting at zero, for a projection without a bias."""

    def __init__(self, width: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


@dataclass(frozen=True)
class BitFit(Method):
    """Trains every bias of the backbone, including layer norms and pooler, and the head.

    L(7d + d_ff) + 2d + C(d+1) parameters on BERT.
    `missing` decides about projections without a bias (T5's, Llama's): `skip`, as in the paper, leaves them without
    one; `add` gives each linear layer of the blocks a bias that starts at zero, those of `ffn_down` only if the field
    `ffn_down` is true. `norms` also trains the weights of the layer norms, not only their biases.
    T-Few (Liu et al. 2022) is `bitfit:missing=add,norms=true,ffn_down=false`: its pattern for the feed-forward's output
    projection (w_o) matches no module of T5 (wo). Its rate is 3e-4, with Adafactor.
    Recipe: the learning rate of the authors' code (run_glue.py). Differs: a warm-up and a linear decay, while that code
    has neither; batches of 32 instead of 8, and 3 epochs instead of 16.
    Errors: Unsupported if no layer has a bias and none is added.
    """

    name: ClassVar[str] = "bitfit"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-3)
    search: ClassVar[Search | None] = Search()
    missing: Literal["skip", "add"] = "skip"
    norms: bool = False
    ffn_down: bool = True

    def attach(self, backbone: Backbone) -> None:
        model, sites = backbone.model, backbone.sites
        head = set(backbone.head.parameters()) if backbone.head is not None else set()
        biases = [n for n, p in model.named_parameters() if re.fullmatch(r"(.*\.)?bias", n) and p not in head]
        if not biases and self.missing == "skip":
            raise Unsupported("no layer of the backbone has a bias; bitfit:missing=add gives its projections one")
        trained = "|".join(map(re.escape, biases)) or None
        backbone.freeze(keep=[backbone.head, trained, sites.norms if self.norms else None])
        if self.missing == "add":
            bare = [
                path for path, host in matching(model, sites.linears).items() if getattr(host, "bias", None) is None
            ]
            if not self.ffn_down:
                bare = [path for path in bare if not re.fullmatch(str(sites.ffn_down), path)]
            if bare:
                site = "|".join(map(re.escape, bare))
                plug(model, site, "bitfit", lambda host, width: Bias(width), where="after")
