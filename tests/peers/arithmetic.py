"""The speed-up of shared work by arithmetic alone: FLOPs of the plain computation over those of shared work.

One multiply-add is two FLOPs. On both sides, a token attends only to the tokens that it may see: causal kernels skip
the rest, and masked ones need not compute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel


@dataclass(frozen=True)
class Flops:
    """FLOPs of a GPT-2: `token`, of the projections per token; `seen`, of attention per token that a token sees;
    `logits`, per state."""

    token: int
    seen: int
    logits: int

    @classmethod
    def of(cls, model: GPT2LMHeadModel) -> Flops:
        """FLOPs from the configuration. Errors: AssertionError if the dispatcher counts other numbers."""
        import torch

        from tunefront.bench.meters.flops.counted import counted_flops

        width, layers, tokens = model.config.n_embd, model.config.n_layer, 10
        flops = cls(2 * 12 * width**2 * layers, 4 * width * layers, 2 * width * model.config.vocab_size)
        with torch.no_grad():
            counted = counted_flops(lambda: model(torch.ones(1, tokens, dtype=torch.long)))
        # The dispatcher counts all pairs of tokens.
        assert counted == tokens * (flops.token + tokens * flops.seen + flops.logits), counted
        return flops

    def read(self, tokens: int, before: int = 0, logits: int = 0) -> int:
        """FLOPs of reading tokens in a row after `before` others, with `logits` logits."""
        seen = tokens * before + tokens * (tokens + 1) // 2
        return tokens * self.token + seen * self.seen + logits * self.logits

    def plain(self, rows: Iterable[int]) -> int:
        """FLOPs of reading rows of given numbers of tokens from the start, with logits at every token, as lm_eval."""
        return sum(self.read(tokens, logits=tokens) for tokens in rows)

    def shared(self, prefix: int, queries: Iterable[tuple[int, Sequence[int]]]) -> int:
        """FLOPs of reading a prefix once, each query (its tokens, those of its choices) once after it, and each choice
        without its last token, with logits only to predict the tokens of choices."""
        return self.read(prefix) + sum(
            self.read(query, prefix, logits=1)
            + sum(self.read(choice - 1, prefix + query, logits=choice - 1) for choice in choices)
            for query, choices in queries
        )
