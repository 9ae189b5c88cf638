"""Cartridge: trained keys and values of demonstrations (Context Tuning's CT-KV, Lu et al., 2025, arXiv:2507.04221)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import (
    Backbone,
    Batch,
    Examples,
    Exported,
    Harness,
    Library,
    Method,
    Prefilled,
    Recipe,
    Scorer,
    Search,
    Unsupported,
    at_least,
)
from tunefront.methods.counterparts import peft_prefix


class KeysValues(nn.Module):
    """Leading keys and values in every self-attention of a decoder, initialised from demonstrations.

    Args: attentions, their paths; start, the cached demonstrations; dropout, the probability that a training row does
    not attend to a token of the prefix; seed of the dropout.
    Size: two tensors (1, heads, tokens, width) per attention, in float32 whatever the dtype of `start`.
    """

    def __init__(self, attentions: Sequence[str], start: Prefilled, dropout: float, seed: int):
        super().__init__()
        self.attentions, self.dropout = tuple(attentions), dropout
        self.keys = nn.ParameterList(_trainable(keys) for keys, _ in start.layers)
        self.values = nn.ParameterList(_trainable(values) for _, values in start.layers)
        self._spans, self._seed, self._draws = tuple(start.spans), seed, 0

    def forward(self) -> dict[str, tuple[Tensor, Tensor]]:
        return dict(zip(self.attentions, zip(self.keys, self.values, strict=True), strict=True))

    def visible(self, batch: Batch) -> Tensor:
        """(rows, tokens): token dropout, and a row that is a demonstration does not attend to its own tokens."""
        seen = torch.ones(len(batch.rows), self.keys[0].shape[2], dtype=torch.bool)
        for place, row in enumerate(batch.rows.tolist()):
            if row < len(self._spans):
                first, end = self._spans[row]
                seen[place, first:end] = False
        if self.training and self.dropout:
            self._draws += 1
            drawn = torch.rand(seen.shape, generator=torch.Generator().manual_seed(self._seed + self._draws))
            seen &= drawn >= self.dropout
        return seen


def _trainable(read: Tensor) -> nn.Parameter:
    """A trainable copy, since tensors made under inference_mode cannot be trained."""
    return nn.Parameter(read.float().clone(memory_format=torch.contiguous_format))


@dataclass(frozen=True)
class Cartridge(Method):
    """Trains the keys and values of the first k rows as demonstrations: 2 L n h parameters for n tokens, with h the
    width of a block's keys. Untrained, it scores as `icl:k` does; the checkpoint contains keys and values, no text.

    Trains on every row. A row that is a demonstration does not attend to its own keys and values (leave-one-out
    masking), or it would learn to copy its answer; it does attend to those of later demonstrations, which have read it,
    as in the paper. A query's positions follow all demonstrations, even masked ones. The name is that of trained keys
    and values in Eyuboglu et al. 2025, arXiv:2506.06266.
    Fields: k, the number of demonstrations; dropout, the probability that a row does not attend to a token of the
    prefix in a step (0.05 in the code). The model's own dropout is off, as in the code.
    Differs: a linear schedule instead of the code's cosine; special tokens before the first demonstration are kept for
    every row; rows beyond the first k are trained on too, while the paper has none.
    """

    name: ClassVar[str] = "cartridge"
    recipe: ClassVar[Recipe | None] = Recipe(
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup=0.0,
        batch_size=16,
        steps=200,
        dropout=0.0,
        unlikelihood_weight=0.0,
        length_normalised_weight=0.0,
    )
    search: ClassVar[Search | None] = Search("k", (2, 4, 8, 16), (3e-4, 1e-3, 3e-3, 1e-2, 3e-2))
    k: int = 16
    dropout: float = 0.05

    def __post_init__(self) -> None:
        at_least(1, 1_000_000, k=self.k)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    @property
    def fewest_rows(self) -> int:
        return self.k

    def attach(self, backbone: Backbone) -> None:
        if backbone.sites.family != "decoder":
            kind = {"encoder": "an encoder", "seq2seq": "an encoder-decoder"}[backbone.sites.family]
            raise Unsupported(f"a cartridge is keys and values of text that a decoder has read; this is {kind}")
        _ = backbone.stacks  # Unsupported if nothing can lead
        backbone.freeze()

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        start = harness.start_from(backbone, examples.take(range(self.k)))
        (decoder,) = backbone.stacks
        attentions = [attention.path for attention in decoder.of_kind("self")]
        if len(attentions) != len(start.layers):
            raise Unsupported("some of this decoder's blocks keep no keys and values that could be trained")
        seed = int(torch.randint(2**31, (), generator=harness.generator))
        backbone.lead(KeysValues(attentions, start, self.dropout, seed))
        harness.train(backbone.trainable(), backbone.loss, examples)
        return backbone.score

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's cartridge."""
        if library != "peft":
            return super().exported(library, backbone)
        return peft_prefix(backbone, list(cast(KeysValues, backbone.model.lead)().values()), "CARTRIDGE")
