"""What leads in the tests of this folder, and the plain computations that its scores must equal."""

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
            nn.Parameter(torch.randn(2, 1, one.heads, tokens, one.width, generator=generator)) for one in attentions
        )

    def forward(self) -> dict[str, KeysValues]:
        return {path: (both[0], both[1]) for path, both in zip(self.paths, self.states, strict=True)}


class Prompts(nn.Module):
    """Random embeddings before the tokens of each of some stacks: `tokens` of them by stack."""

    def __init__(self, widths: dict[str, int], tokens: dict[str, int], seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.prompts = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(n, widths[name], generator=generator)) for name, n in tokens.items()}
        )

    def forward(self) -> dict[str, Tensor]:
        return dict(self.prompts.items())


def lead_keys(backbone: Backbone, tokens: int = 3, kinds: tuple[str, ...] = ("self", "cross")) -> Keys:
    """Puts random keys and values into all attentions of some kinds."""
    chosen = tuple(one for stack in backbone.stacks for one in stack.attentions if one.kind in kinds)
    module = Keys(chosen, tokens)
    backbone.lead(module)
    return module


def lead_prompts(backbone: Backbone, tokens: int = 3, **by_stack: int) -> Prompts:
    """Puts random embeddings before the tokens of every stack, `tokens` of them where `by_stack` does not say."""
    widths = {stack.name: stack.width for stack in backbone.stacks}
    module = Prompts(widths, {name: by_stack.get(name, tokens) for name in widths if by_stack.get(name, tokens)})
    backbone.lead(module)
    return module


def cache_of(led: dict[str, KeysValues]) -> Any:
    """transformers' own cache that holds what leads in a decoder, for one row."""
    from transformers import DynamicCache

    return DynamicCache(list(led.values()))
