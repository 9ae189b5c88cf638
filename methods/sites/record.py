"""The record that an architecture has: where methods act in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Sites:
    """One architecture's places, as regexes matched in full on the paths of the model that its family loads.

    `family` is `encoder` (paths of `AutoModel`), `decoder` (`AutoModelForCausalLM`) or `seq2seq`
    (`AutoModelForSeq2SeqLM`). `block` is one transformer layer of any stack, numbered in its stack by its first group;
    the projections are those of every attention, cross attention among them. `ffn_up` is, of a gated feed-forward's two
    projections, the one without the activation, `ffn_gate` the other (None where there is no gate; it may match nothing
    where only some checkpoints have one). `sublayer_output` is what a Houlsby adapter follows: the output dropout where
    it is a module, else the output projection; `ffn_output` the same of the feed-forward sublayer alone. `norms` are
    all layer norms, the embedding's included; `final_norm` the one after the last block (the decoder's of two), None
    where the architecture has none; it may match nothing where only some checkpoints have it. `pooling` is what the
    head reads: `pooler` (the checkpoint's own pooler), `first` (the first token's state); the folder's pooling
    configuration (`mean`) goes before it. `head_activation` is the activation of the extra dense layer in the
    architecture's published classification head, None where the head is one linear layer. `repeated` names sites that
    are called more than once in a forward pass. A site is None where a fused projection does its work; `fused` is that
    projection's path in a block; its output is the queries, then the keys, then the values of all heads together, or,
    where `fused_by_head`, of one head after another.
    """

    block: str
    query: str | None
    key: str | None
    value: str | None
    attention_output: str | None
    ffn_up: str | None
    ffn_down: str | None
    sublayer_output: str
    norms: str
    ffn_output: str | None = None
    ffn_gate: str | None = None
    pooling: str = "first"
    head_activation: str | None = None
    repeated: frozenset[str] = frozenset()
    family: str = "encoder"
    final_norm: str | None = None
    fused: str | None = None
    fused_by_head: bool = False

    @property
    def fused_projection(self) -> str | None:
        """The fused query, key and value projection of every block; None where the architecture has none."""
        return None if self.fused is None else rf"{self.block}\.{re.escape(self.fused)}"

    @property
    def linears(self) -> str:
        """Every linear layer of the blocks: all projections of attention, the fused one too, and of the feed-forward,
        its gate too."""
        attention = (self.query, self.key, self.value, self.fused_projection, self.attention_output)
        sites = (*attention, self.ffn_up, self.ffn_gate, self.ffn_down)
        return "|".join(f"(?:{site})" for site in sites if site is not None)

    def __post_init__(self) -> None:
        unknown = self.repeated - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"repeated names sites, got {sorted(unknown)}")
        if self.pooling not in ("pooler", "first"):
            raise ValueError(f"pooling must be pooler or first, got {self.pooling!r}")
        if self.family not in ("encoder", "decoder", "seq2seq"):
            raise ValueError(f"family must be encoder, decoder or seq2seq, got {self.family!r}")
