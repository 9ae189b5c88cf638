"""How much faster shared work can be by arithmetic alone: FLOPs of the plain computation over those of shared work.

One multiply-add is two FLOPs. A token attends to what it may see and to no more, on both sides: causal kernels skip the
rest, and masked ones need not compute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel


@dataclass(frozen=True)
class Flops:
    """FLOPs of a GPT-2: `token`, of its projections for each token; `seen`, of attention for each token that a token
    sees; `logits`, for each state."""

    token: int
    seen: int
    logits: int

    @classmethod
    def of(cls, model: GPT2LMHeadModel) -> Flops:
        """By the configuration. Errors: AssertionError where the dispatcher counts otherwise."""
        import torch

        from tunefront.bench.meters.flops.counted import counted_flops

        width, layers, tokens = model.config.n_embd, model.config.n_layer, 10
        flops = cls(2 * 12 * width**2 * layers, 4 * width * layers, 2 * width * model.config.vocab_size)
        with torch.no_grad():
            counted = counted_flops(lambda: model(torch.ones(1, tokens, dtype=torch.long)))
        # As dispatched, every token sees every other one.
        assert counted == tokens * (flops.token + tokens * flops.seen + flops.logits), counted
        return flops

    def read(self, tokens: int, before: int = 0, logits: int = 0) -> int:
        """Of tokens in a row after `before` others, and of the logits of some of them."""
        seen = tokens * before + tokens * (tokens + 1) // 2
        return tokens * self.token + seen * self.seen + logits * self.logits

    def plain(self, rows: Iterable[int]) -> int:
        """Of rows of so many tokens, each read from its start, with logits at every token, as lm_eval reads them."""
        return sum(self.read(tokens, logits=tokens) for tokens in rows)

    def shared(self, prefix: int, queries: Iterable[tuple[int, Sequence[int]]]) -> int:
        """Of reading a prefix once, each query (its tokens, those of its choices) once after it, and each choice but
        for its last token, with logits where a choice's next token is predicted."""
        return self.read(prefix) + sum(
            self.read(query, prefix, logits=1)
            + sum(self.read(choice - 1, prefix + query, logits=choice - 1) for choice in choices)
            for query, choices in queries
        )
