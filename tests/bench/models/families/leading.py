"""Leads for the tests of this folder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tunefront.methods.base import AttentionShape, Backbone

KeysValues = tuple[Tensor, Tensor]


class Keys(nn.Module):
    """Random keys and values before each of some attentions."""

    def __init__(self, attentions: tuple[AttentionShape, ...], tokens: int, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.paths = [attention.path for attention in attentions]
        self.states = nn.ParameterList(
            nn.Parameter(torch.randn(2, 1, shape.heads, tokens, shape.width, generator=generator))
            for shape in attentions
        )

    def forward(self) -> dict[str, KeysValues]:
        return {path: (both[0], both[1]) for path, both in zip(self.paths, self.states, strict=True)}


class Prompts(nn.Module):
    """Random embeddings before the tokens of some stacks; `tokens` is their number by stack."""

    def __init__(self, widths: dict[str, int], tokens: dict[str, int], seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.prompts = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(n, widths[name], generator=generator)) for name, n in tokens.items()}
        )

    def forward(self) -> dict[str, Tensor]:
        return dict(self.prompts.items())


def lead_keys(backbone: Backbone, tokens: int = 3, kinds: tuple[str, ...] = ("self", "cross")) -> Keys:
    """Adds random keys and values as the lead of all attentions of some kinds."""
    chosen = tuple(shape for stack in backbone.stacks for shape in stack.attentions if shape.kind in kinds)
    module = Keys(chosen, tokens)
    backbone.lead(module)
    return module


def lead_prompts(backbone: Backbone, tokens: int = 3, **by_stack: int) -> Prompts:
    """Adds random embeddings as the lead of every stack, `tokens` of them unless `by_stack` says another number."""
    widths = {stack.name: stack.width for stack in backbone.stacks}
    module = Prompts(widths, {name: by_stack.get(name, tokens) for name in widths if by_stack.get(name, tokens)})
    backbone.lead(module)
    return module


def cache_of(led: dict[str, KeysValues]) -> Any:
    """transformers' own cache with the keys and values of a lead, for one row."""
    from transformers import DynamicCache

    return DynamicCache(list(led.values()))
