"""Prefix tuning: learned keys and values before those of every attention (Li & Liang, 2021, arXiv:2101.00190)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import (
    AttentionShape,
    Backbone,
    Examples,
    Exported,
    Harness,
    Library,
    Method,
    Product,
    Recipe,
    Scorer,
    Search,
    at_least,
)
from tunefront.methods.counterparts import peft_prefix

KeysValues = tuple[Tensor, Tensor]


class Detour(nn.Module):
    """Keys and values of a group of attentions as W_2 tanh(W_1 P), with P (n, width) shared by the group.

    Args: attentions of the group; width of P, the model's d; hidden, the rows h of W_1.
    Shapes: () -> (n, 2, heads * head width) for each attention in turn.
    Size: n d + h (d + 1) + 2 (h + 1) times the summed width of the group's keys.
    Source: Li & Liang 2021, section 4.3, whose code has a tanh and h = 512.
    """

    def __init__(self, attentions: Sequence[AttentionShape], length: int, width: int, hidden: int):
        super().__init__()
        self.sizes = [2 * attention.heads * attention.width for attention in attentions]
        self.embeddings = nn.Parameter(torch.randn(length, width))
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, sum(self.sizes))

    def forward(self) -> Sequence[Tensor]:
        return self.outer(torch.tanh(self.inner(self.embeddings))).split(self.sizes, dim=1)

    def products(self) -> Iterator[Product]:
        rows, width = self.embeddings.shape
        yield Product(rows, width, self.inner.out_features, left="trained")
        yield Product(rows, self.inner.out_features, self.outer.out_features, left="trained")


class Prefix(nn.Module):
    """Leading keys and values of attentions: parameters, or the outputs of reparametrizations until `settle`.

    Shapes: each parameter (n, 2, heads * head width), the keys and the values of one attention.
    """

    def __init__(self, groups: Sequence[Sequence[AttentionShape]], length: int, width: int, hidden: int):
        super().__init__()
        self.attentions = [attention for group in groups for attention in group]
        self.detours = nn.ModuleList(Detour(group, length, width, hidden) for group in groups if hidden)
        self.states = nn.ParameterList()
        if not hidden:
            self._hold(torch.randn(length, 2 * attention.heads * attention.width) for attention in self.attentions)

    def forward(self) -> dict[str, KeysValues]:
        return {
            attention.path: self._split(attention, both)
            for attention, both in zip(self.attentions, self._states(), strict=True)
        }

    def products(self, tokens: int) -> Iterator[Product]:
        for detour in cast(Iterable[Detour], self.detours):
            yield from detour.products()

    def settle(self) -> None:
        """Replaces the reparametrizations by the keys and values that they compute."""
        if len(self.detours):
            with torch.no_grad():
                states = list(self._states())
            self.detours = nn.ModuleList()
            self._hold(states)

    def _states(self) -> Iterator[Tensor]:
        if not len(self.detours):
            yield from self.states
        for detour in self.detours:
            yield from detour()

    def _hold(self, states: Iterator[Tensor] | Sequence[Tensor]) -> None:
        self.states = nn.ParameterList(nn.Parameter(both.detach().clone()) for both in states)

    @staticmethod
    def _split(attention: AttentionShape, both: Tensor) -> KeysValues:
        keys, values = both.reshape(-1, 2, attention.heads, attention.width).permute(1, 2, 0, 3).unbind()
        return keys[None], values[None]


@dataclass(frozen=True)
class PrefixTuning(Method):
    """Trains `length` keys and values before those of every attention: 2 * length * d parameters per attention, d being
    the width of the keys of all heads, and the head.

    An encoder-decoder has them in the encoder, in the decoder and in cross-attention, as in the paper and in T-Few's
    code. In training each of these groups computes them by a reparametrization (`Detour`), which is dropped afterwards:
    only the keys and values are counted, saved and shipped. With it a group trains length * d + h (d + 1) +
    2 A (h + 1) d parameters for its A attentions: 154,449,408 on T0-3B with 2 tokens, and 589,824 remain.
    Fields: length, in tokens; hidden, the inner width h of the reparametrization, 0 for none: then the keys and values
    are trained directly, from N(0, 1).
    Differs: a rate of 1e-3 instead of the paper's 5e-5, batches of 32 instead of 5, and 3 epochs instead of 10. T-Few's
    code starts by fitting the reparametrizations to the keys and values of a text, and adds T5's relative biases to the
    prefix's scores, as for preceding tokens.
    """

    name: ClassVar[str] = "prefix_tuning"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=1e-3, weight_decay=0.0)
    search: ClassVar[Search | None] = Search("length", (2, 5, 10, 50), (1e-4, 3e-4, 1e-3, 3e-3, 1e-2))
    length: int = 10
    hidden: int = 512

    def __post_init__(self) -> None:
        at_least(1, 100_000, length=self.length)
        at_least(0, 1_000_000, hidden=self.hidden)

    def attach(self, backbone: Backbone) -> None:
        stacks = backbone.stacks
        groups = [stack.of_kind(kind) for stack in stacks for kind in ("self", "cross")]
        backbone.freeze(keep=backbone.head)
        backbone.lead(Prefix([group for group in groups if group], self.length, stacks[0].width, self.hidden))

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        """Trains, and drops the reparametrization."""
        scorer = super().fit(backbone, examples, harness)
        cast(Prefix, backbone.model.lead).settle()
        return scorer

    def expect(self, backbone: Backbone, stored: Mapping[str, Tensor]) -> None:
        cast(Prefix, backbone.model.lead).settle()

    def scorer(self, backbone: Backbone) -> Scorer:
        return backbone.score

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's, on decoders; without a reparametrization, which is gone."""
        if library != "peft":
            return super().exported(library, backbone)
        return peft_prefix(backbone, list(cast(Prefix, backbone.model.lead)().values()), "PREFIX_TUNING")
