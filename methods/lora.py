"""LoRA: low-rank updates in parallel to frozen projections (Hu et al., 2021, arXiv:2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import (
    Backbone,
    Exported,
    Library,
    Method,
    Product,
    Recipe,
    Search,
    Unsupported,
    above,
    at_least,
)
from tunefront.methods.counterparts import any_of, plugs_of
from tunefront.methods.inject import fused_layouts, is_conv1d, plug, width
from tunefront.methods.sites.fused import Fused


class LowRank(nn.Module):
    """The update (alpha / rank) B A x, zero at the start because B is.

    Args: inner and outer, the host's input and output widths; std of A's normal initial values, None for the uniform
    ones of the authors' code (and of nn.Linear); dropout of A's input.
    Shapes: x (..., inner) -> (..., outer). Size: rank (inner + outer).
    Source: Hu et al. 2021, section 4.1. The scale is applied between A and B, where it is cheapest.
    """

    merges: ClassVar[bool] = True

    def __init__(self, inner: int, outer: int, rank: int, scale: float, std: float | None, dropout: float):
        super().__init__()
        self.scale = scale
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.down = nn.Linear(inner, rank, bias=False)
        self.up = nn.Linear(rank, outer, bias=False)
        if std is None:
            nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        else:
            nn.init.normal_(self.down.weight, std=std)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = self.up(self.down(self.dropout(x)) * self.scale)
        return update

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """A (rank, inner) and B (outer, rank)."""
        return self.down.weight, self.up.weight


class QueryValue(nn.Module):
    """Updates of the queries and of the values in the output of a fused projection; nothing is added to the keys.

    Args: query and value, their updates; layout, where the output has queries, keys and values.
    Shapes: x (..., inner) -> (..., queries + 2 keys).
    """

    merges: ClassVar[bool] = True

    def __init__(self, query: LowRank, value: LowRank, layout: Fused):
        super().__init__()
        self.query, self.value, self.layout = query, value, layout

    def forward(self, x: Tensor) -> Tensor:
        value = self.value(x)
        return self.layout.join(self.query(x), torch.zeros_like(value), value)

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """A and B of the one update of twice the rank that computes the same: B has blocks for queries and values, and
        zeros for keys."""
        down = torch.cat((self.query.down.weight, self.value.down.weight))
        query, value = self.query.up.weight, self.value.up.weight
        queries = torch.cat((query, torch.zeros_like(query)), dim=-1)
        values = torch.cat((torch.zeros_like(value), value), dim=-1)
        return down, self.layout.join(queries, torch.zeros_like(values), values, dim=0)

    def products(self, tokens: int) -> Iterator[Product]:
        """The products of two updates that read the same input."""
        for update in (self.query, self.value):
            rank, inner = update.down.weight.shape
            yield Product(tokens, inner, rank)
            yield Product(tokens, rank, update.up.out_features, left="trained")


@dataclass(frozen=True)
class LoRA(Method):
    """Adds (alpha / rank) B A x to the output of projections: rank (inner + outer) parameters each, and the head.

    `sites` is `query_value`, as in the paper (2L rank 2d parameters on BERT), or `every`: each linear layer of the
    blocks, including fused projections (GPT-2's, Phi-3's; peft's "all-linear"). With `query_value`, a fused
    projection has separate updates for queries and values, as in the authors' code for GPT-2.
    `std` is that of A's normal initial values, None for the uniform ones of the authors' code (normal in the paper);
    `dropout` applies to A's input (0.1 in the paper's GPT-2, 0 in its RoBERTa); `norms` also trains every layer norm.
    The defaults are those of the paper's RoBERTa (table 9); the authors' scripts use alpha 16 there.
    T-Few (Liu et al. 2022) is `lora:rank=4,alpha=1,sites=every,std=0.01,norms=true` with a rate of 3e-3.
    Differs: the update is computed in parallel to the projection, in training and in scoring, while the authors' code
    merges it into the weight for scoring, and T-Few's in every pass: its cost is counted here. Records also have the
    seconds of a query on the merged weights.
    Errors: Unsupported if the rank is above a projection's width.
    """

    name: ClassVar[str] = "lora"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=5e-4, weight_decay=0.1, warmup=0.06)
    search: ClassVar[Search | None] = Search("rank", (1, 2, 4, 8, 16, 32))
    rank: int = 8
    alpha: float = 8.0
    sites: Literal["query_value", "every"] = "query_value"
    std: float | None = None
    dropout: float = 0.0
    norms: bool = False

    def __post_init__(self) -> None:
        at_least(1, 1_000_000, rank=self.rank)
        above(0, alpha=self.alpha, std=1.0 if self.std is None else self.std)  # at 0 nothing would train
        at_least(0, 0.99, dropout=self.dropout)

    def attach(self, backbone: Backbone) -> None:
        model, sites = backbone.model, backbone.sites
        backbone.freeze(keep=[backbone.head, sites.norms if self.norms else None])

        def update(host: nn.Module, outer: int) -> LowRank:
            inner = width(model, host, "in")
            if self.rank > min(inner, outer):
                raise Unsupported(
                    f"rank above the width: lora has rank {self.rank}, and a projection is {inner} by {outer}"
                )
            return LowRank(inner, outer, self.rank, self.alpha / self.rank, self.std, self.dropout)

        def fused_updates(host: nn.Module, outer: int) -> QueryValue:
            layout = layouts[host]
            return QueryValue(update(host, layout.queries), update(host, layout.keys), layout)

        if self.sites == "every":
            plug(model, sites.linears, "lora", update, where="parallel")
        elif sites.fused_projection is not None:
            layouts = fused_layouts(model, sites)
            plug(model, sites.fused_projection, "lora", fused_updates, where="parallel")
        else:
            for site in (sites.query, sites.value):
                plug(model, site, "lora", update, where="parallel")

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's, with every place named. Two updates of a fused projection are one of twice the rank there."""
        if library != "peft":
            return super().exported(library, backbone)
        model, sites = backbone.model, backbone.sites
        updates = cast(Mapping[str, LowRank | QueryValue], plugs_of(model, "lora"))
        factors = {path: update.factors for path, update in updates.items()}
        fused = any(isinstance(update, QueryValue) for update in updates.values())
        chosen = any_of(sites.fused_projection) if fused else any_of(sites.query, sites.value)
        config = {
            "peft_type": "LORA",
            "r": self.rank * (2 if fused else 1),
            "lora_alpha": self.alpha * (2 if fused else 1),
            "lora_dropout": self.dropout,
            "target_modules": sites.linears if self.sites == "every" else chosen,
            "fan_in_fan_out": all(is_conv1d(model.get_submodule(path)) for path in updates),
        }
        tensors = {f"{path}.lora_A.weight": down for path, (down, _) in factors.items()}
        return Exported(config, tensors | {f"{path}.lora_B.weight": up for path, (_, up) in factors.items()})
