"""The speed-up of shared work by arithmetic alone: FLOPs of the plain computation over those of shared work.

One multiply-add is two FLOPs. On both sides, a token attends only to the tokens that it may see: causal kernels skip
the rest, and masked ones need not compute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Flops:
    """FLOPs of a decoder: `token`, of the projections per token; `seen`, of attention per token that a token sees;
    `logits`, per state."""

    token: int
    seen: int
    logits: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> Flops:
        """FLOPs from the shapes of a GPT-2 or Llama: every matrix of a block is multiplied once per token, and every
        query head reads keys and values. Errors: AssertionError if the dispatcher counts other numbers."""
        import torch

        from tunefront.bench.meters.flops.counted import counted_flops

        config, tokens = model.config, 10
        table = model.get_input_embeddings().weight
        blocks = [
            parameter.numel()
            for path, parameter in model.base_model.named_parameters()
            if parameter.ndim == 2 and not path.startswith(("wte.", "wpe.", "embed_tokens."))
        ]
        heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        flops = cls(2 * sum(blocks), 4 * heads * width * config.num_hidden_layers, 2 * table.numel())
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
