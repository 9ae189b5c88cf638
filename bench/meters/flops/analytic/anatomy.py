"""The record that an architecture has: what runs in it, in which order, and where its modules are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Order = Literal["before", "after", "parallel"]
"""Where a sublayer's norm stands: before it (GPT-2), after the residual sum (BERT), or before both sublayers, which
then read the same states (GPT-NeoX)."""
Config = Any  # transformers' configurations have no common type with their fields


@dataclass(frozen=True)
class Attention:
    """An attention sublayer; module paths in a block, empty for what it lacks.

    `fused` projects queries, keys and values in one; `query_norm` and `key_norm` act on each head; `dropout` follows
    the output projection; `rate` is the dropout of the attention weights, a module or a number; `bias` is an embedding
    of relative positions in the first block, which every block of the stack adds to its scores.
    """

    norm: str
    output: str
    rate: str
    query: str = ""
    key: str = ""
    value: str = ""
    fused: str = ""
    query_norm: str = ""
    key_norm: str = ""
    dropout: str = ""
    bias: str = ""
    rotary: bool = False


@dataclass(frozen=True)
class Disentangled(Attention):
    """DeBERTa's attention: scores of content and content, content and position, position and content.

    `positions` are the relative positions' embeddings and norm, paths in the model; `position_query` and `position_key`
    project them, in a block; where it has none, the block's own query and key projections do.
    """

    positions: tuple[str, ...] = ()
    position_query: str = ""
    position_key: str = ""


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward sublayer; module paths in a block. `up` are the projections that read its input, as many of them
    as the block has: where there are two, one gates the other."""

    norm: str
    up: tuple[str, ...]
    down: str
    dropout: str = ""


@dataclass(frozen=True)
class Stack:
    """A stack of blocks; paths in the model.

    `embeddings` are summed, each a chain of modules; `start` follows the sum, `end` the last block. `blocks` is the
    list of blocks, which hold the sublayers in the order self-attention, cross attention, feed-forward. `heads` is the
    configuration's name for the number of attention heads.
    """

    embeddings: tuple[tuple[str, ...], ...]
    blocks: str
    attention: Attention
    feed_forward: FeedForward
    cross_attention: Attention | None = None
    start: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    heads: str = "num_attention_heads"


@dataclass(frozen=True)
class Anatomy:
    """One architecture: the stack of an encoder or a decoder, and that of the encoder below a decoder.

    `order` says where norms stand, for a given configuration; `activation` is the configuration's name for the
    feed-forward's. `pooler` is read only where the backbone's pooling says so.
    """

    stack: Stack
    order: Callable[[Config], Order]
    activation: str
    below: Stack | None = None
    pooler: str = "pooler.dense"


def before(config: Config) -> Order:
    """Norms before sublayers, whatever the configuration."""
    return "before"


def after(config: Config) -> Order:
    """Norms after residual sums, whatever the configuration."""
    return "after"


def projected(path: str, norm: str, output: str = "out_proj") -> Attention:
    """Attention of the kind that OPT and BART share with fairseq, at a path in a block."""
    return Attention(
        norm=norm,
        query=f"{path}.q_proj",
        key=f"{path}.k_proj",
        value=f"{path}.v_proj",
        output=f"{path}.{output}",
        rate=f"{path}.dropout",
    )
