"""The record of an architecture's sites, where methods act."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from tunefront.methods.sites.patterns import check_pattern

PATTERNS = (
    *("block", "query", "key", "value", "attention_output", "ffn_up", "ffn_gate", "ffn_down", "sublayer_output"),
    *("ffn_output", "norms", "final_norm"),
)
"""The fields that are regexes."""


@dataclass(frozen=True)
class Sites:
    """The sites of one architecture, as regexes matched in full on module paths of the model that its family loads.

    `family` is `encoder` (paths of `AutoModel`), `decoder` (`AutoModelForCausalLM`) or `seq2seq`
    (`AutoModelForSeq2SeqLM`). `block` is one transformer layer of any stack; its first group is the layer's number;
    the projections are those of every attention, including cross-attention. In a gated feed-forward, `ffn_up` is the
    projection without the activation and `ffn_gate` the other (None without a gate; it may match nothing if only some
    checkpoints have one). `sublayer_output` is what a Houlsby adapter follows: the output dropout if it is a module,
    else the output projection; `ffn_output` is the same for the feed-forward sublayer only. `norms` are all layer
    norms, including the embedding's; `final_norm` is the one after the last block (of the decoder, if there are two),
    None if the architecture has none; it may match nothing if only some checkpoints have it. `pooling` is what the
    head reads: `pooler` (the checkpoint's own pooler), `first` (the first token's state) or `mean` (over the states of
    the tokens); the folder's pooling configuration takes precedence. `head_activation` is the activation of the extra
    dense layer in the architecture's published classification head, None if the head is one linear layer. `repeated`
    names sites that are called more than once in a forward pass; it includes `block` if whole blocks are (ALBERT). A
    site is None if a fused projection does its work; `fused` is that projection's path in a block; its output is the
    queries, then the keys, then the values of all heads, or, with `fused_by_head`, of one head of keys after another,
    each with the heads of queries that read it; the widths follow from the shapes (see `Fused`). Of a fused gate and
    up projection (Phi-3), `ffn_up` is the whole: what it reads is what a feed-forward reads. Other sites that are None
    have their reason in `absent`: the experts of a mixture are stacked tensors, which no layer of their own
    multiplies, so there is nothing to hook.
    """

    block: str
    query: str | None
    key: str | None
    value: str | None
    attention_output: str | None
    ffn_up: str | None
    ffn_down: str | None
    sublayer_output: str | None
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
    absent: str | None = None

    @property
    def fused_projection(self) -> str | None:
        """The fused query, key and value projection of every block; None if the architecture has none."""
        return None if self.fused is None else rf"{self.block}\.{re.escape(self.fused)}"

    @property
    def linears(self) -> str | None:
        """Every linear layer of the blocks: all projections of attention, fused or not, and of the feed-forward,
        including its gate; None if the feed-forward's are stacked tensors."""
        if self.ffn_down is None:
            return None
        attention = (self.query, self.key, self.value, self.fused_projection, self.attention_output)
        sites = (*attention, self.ffn_up, self.ffn_gate, self.ffn_down)
        return "|".join(f"(?:{site})" for site in sites if site is not None)

    def __post_init__(self) -> None:
        for name in PATTERNS:
            if (pattern := getattr(self, name)) is not None:
                try:
                    check_pattern(pattern)
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from error
        unknown = self.repeated - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"repeated names sites, got {sorted(unknown)}")
        if self.pooling not in ("pooler", "first", "mean"):
            raise ValueError(f"pooling must be pooler, first or mean, got {self.pooling!r}")
        if self.family not in ("encoder", "decoder", "seq2seq"):
            raise ValueError(f"family must be encoder, decoder or seq2seq, got {self.family!r}")
