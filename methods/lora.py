"""LoRA: low-rank updates in parallel to frozen projections (Hu et al., 2021, arXiv:2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Method, Product, Recipe, Search, Unsupported, above, at_least
from tunefront.methods.inject import plug, width


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


class QueryValue(nn.Module):
    """Updates of the queries and of the values in the output of a fused projection; nothing is added to the keys.

    Args: query and value, their updates; heads, the number of parts of the output with consecutive queries, keys and
    values: 1 for all heads together (GPT-2), the number of heads if they are interleaved by head (GPT-NeoX).
    Shapes: x (..., inner) -> (..., 3 outer).
    """

    merges: ClassVar[bool] = True

    def __init__(self, query: LowRank, value: LowRank, heads: int):
        super().__init__()
        self.query, self.value, self.heads = query, value, heads

    def forward(self, x: Tensor) -> Tensor:
        query, value = (update(x).unflatten(-1, (self.heads, -1)) for update in (self.query, self.value))
        return torch.cat((query, torch.zeros_like(query), value), dim=-1).flatten(-2)

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
    blocks, including the fused projection of GPT-2 and GPT-NeoX (peft's "all-linear"). With `query_value`, a fused
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
            heads = int(model.config.num_attention_heads) if sites.fused_by_head else 1  # type: ignore[union-attr, arg-type]
            return QueryValue(update(host, outer // 3), update(host, outer // 3), heads)

        if self.sites == "every":
            plug(model, sites.linears, "lora", update, where="parallel")
        elif sites.fused_projection is not None:
            plug(model, sites.fused_projection, "lora", fused_updates, where="parallel")
        else:
            for site in (sites.query, sites.value):
                plug(model, site, "lora", update, where="parallel")
