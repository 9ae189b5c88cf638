"""Compacter: adapters made of Kronecker products (Karimi Mahabadi et al., 2021, arXiv:2106.04647)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Factor, Method, Product, Recipe, Search, Unsupported, at_least
from tunefront.methods.inject import matching, plug
from tunefront.methods.pfeiffer import reduced_width


class Rule(nn.Module):
    """The matrices A_i, (n, n, n), that mix the parts of a layer's input: normal at the start, learned or fixed."""

    def __init__(self, n: int, std: float, learned: bool):
        super().__init__()
        weight = nn.init.normal_(torch.empty(n, n, n), std=std)
        if learned:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)


class HypercomplexLinear(nn.Module):
    """x W + b with W = sum_i A_i kron (s_i t_i): a parameterised hypercomplex multiplication of low rank.

    Args: inner and outer, both reduced_width by n; rank, of s_i t_i; rule, the A_i, which layers may share.
    Shapes: x (..., inner) -> (..., outer). Size: rank (inner + outer) + outer, and the rule's n^3.
    W is not built. The n parts of x are multiplied by every s_i, A_i mixes them, and t_i gives the n parts of the
    output: the same product with 2 n rank (inner + n^2 + outer) FLOPs per token instead of 2 inner outer for W, plus
    building it.
    Source: Karimi Mahabadi et al. 2021, the LPHM layer; initial values from the authors' code.
    """

    def __init__(self, inner: int, outer: int, rank: int, rule: Rule):
        super().__init__()
        n = len(rule.weight)
        self.rule = rule
        self.left = nn.Parameter(torch.empty(n, inner // n, rank))
        self.right = nn.Parameter(torch.empty(n, rank, outer // n))
        self.bias = nn.Parameter(torch.zeros(outer))
        for factors in (self.left, self.right):
            for factor in factors:
                nn.init.xavier_uniform_(factor, gain=math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.left)
        parts = torch.einsum("...ap,ipr->...air", x.reshape(*x.shape[:-1], n, -1), self.left)
        mixed = torch.einsum("...air,iab->...bir", parts, self.rule.weight)
        return torch.einsum("...bir,irq->...bq", mixed, self.right).flatten(-2) + self.bias

    def products(self, tokens: int, x: Factor) -> Iterator[Product]:
        """The three products of a pass; `x`: whether the input needs a gradient."""
        n, part, rank = self.left.shape
        yield Product(tokens * n, part, n * rank, left=x)
        learned: Factor = "trained" if self.rule.weight.requires_grad else "constant"
        yield Product(tokens * n * rank, n, n, left="trained", right=learned)
        yield Product(tokens * n, n * rank, self.right.shape[2], left="trained")


class HypercomplexAdapter(nn.Module):
    """Residual bottleneck x + up(activation(down(x))) of two hypercomplex layers."""

    def __init__(self, down: HypercomplexLinear, up: HypercomplexLinear, activation: str):
        super().__init__()
        self.down, self.up, self.activation = down, up, activation

    def forward(self, x: Tensor) -> Tensor:
        inner = self.down(x)
        inner = inner.relu() if self.activation == "relu" else nn.functional.gelu(inner, approximate="tanh")
        return x + self.up(inner)

    def products(self, tokens: int) -> Iterator[Product]:
        """The products of a pass over `tokens` tokens."""
        yield from self.down.products(tokens, "input")
        yield from self.up.products(tokens, "trained")


@dataclass(frozen=True)
class Compacter(Method):
    """Two hypercomplex adapters per block, after its first sublayer (self-attention) and its last (the feed-forward).

    Cross-attention has none. Trained: adapters, the rule, every layer norm and the head; with m = d / reduction,
    2L(2 rank (d + m) + m + d) + n^3 + 2d(2L+1) + C(d+1) on BERT.
    `n` is the number of Kronecker products, `rank` that of their second factors. The rule A_i is `learned` or `fixed`
    at its initial values (normal, `std`), and shared by all layers, unless `share` is false: then each of the two
    layers of an adapter has its own n^3. `norms` trains the layer norms.
    T-Few's (Liu et al. 2022) is `compacter:activation=relu,share=false,std=0.02`; its configuration sets 1e-4, which
    its code uses only for factorised rules. Recipe: the learning rate of the authors' configuration, without decay (its
    optimizer, that of transformers' trainer, is AdamW too). Differs: batches of 32 instead of 100, a warm-up over a
    tenth of the steps instead of 500 steps, and 3 epochs instead of 20 on small tasks; the adapters follow the
    sublayer's dropout, while the authors' and T-Few's T5 have them before it, as here if the dropout is no module
    (DistilBERT, OPT, BART).
    Errors: Unsupported if n does not divide the width and the bottleneck, or the rank exceeds a part's width.
    """

    name: ClassVar[str] = "compacter"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=3e-3, weight_decay=0.0)
    search: ClassVar[Search | None] = Search("reduction", (32, 16, 8, 4))
    reduction: int = 32
    n: int = 4
    rank: int = 1
    activation: Literal["gelu", "relu"] = "gelu"
    rule: Literal["learned", "fixed"] = "learned"
    share: bool = True
    std: float = 1e-4
    norms: bool = True

    def __post_init__(self) -> None:
        at_least(1, 1_000_000, reduction=self.reduction, rank=self.rank)
        at_least(1, 256, n=self.n)
        at_least(0, std=self.std)

    def attach(self, backbone: Backbone) -> None:
        backbone.freeze(keep=[backbone.head, backbone.sites.norms if self.norms else None])
        shared = self._rule() if self.share else None

        def adapter(host: nn.Module, width: int) -> HypercomplexAdapter:
            bottleneck = reduced_width(width, self.reduction)
            if width % self.n or bottleneck % self.n:
                raise Unsupported(
                    f"sizes that do not divide: {self.name}:n={self.n} must divide the width and the bottleneck, which "
                    f"are {width} and {bottleneck} (the width over reduction={self.reduction})"
                )
            if self.rank > bottleneck // self.n:
                raise Unsupported(
                    f"rank above the width: {self.name} has rank {self.rank}, and a part of its bottleneck is "
                    f"{bottleneck // self.n} wide (the width {width} over reduction={self.reduction} and n={self.n})"
                )
            down = HypercomplexLinear(width, bottleneck, self.rank, shared or self._rule())
            up = HypercomplexLinear(bottleneck, width, self.rank, shared or self._rule())
            return HypercomplexAdapter(down, up, self.activation)

        plug(backbone.model, self._site(backbone), "adapter", adapter, where="after")

    def _rule(self) -> Rule:
        return Rule(self.n, self.std, self.rule == "learned")

    def _site(self, backbone: Backbone) -> str | None:
        """The outputs of each block's first and last sublayer."""
        outputs = list(matching(backbone.model, backbone.sites.sublayer_output))
        blocks = [f"{path}." for path in matching(backbone.model, backbone.sites.block)]
        by_block = [[path for path in outputs if path.startswith(block)] for block in blocks]
        return "|".join(re.escape(path) for paths in by_block for path in (*paths[:1], *paths[-1:]))
