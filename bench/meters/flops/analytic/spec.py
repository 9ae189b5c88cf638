"""The specification of an architecture: its operations, their order, and the paths of its modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Order = Literal["before", "after", "parallel", "shared"]
"""The place of a sublayer's norm: before it (GPT-2), after the residual sum (BERT), or before both sublayers, which
then read the same states, each through its own norm (GPT-NeoX) or both through one, that of attention (GPT-J)."""
Config = Any  # transformers' configurations have no common type with their fields


@dataclass(frozen=True)
class Attention:
    """An attention sublayer, as module paths within a block; an empty path means that there is no such module.

    `fused` projects queries, keys and values together; `query_norm` and `key_norm` act on each head; `dropout` follows
    the output projection, and `end_norm` that, before the residual sum; `rotary` rotates queries and keys, in some
    architectures only those of layers with a window (`rotary_windows`); `rate` is the dropout of the attention weights,
    a module or a number; `bias` is an embedding of relative positions, which a block adds to its scores; blocks without
    one add that of the first block.
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
    rotary_windows: bool = False
    end_norm: str = ""


@dataclass(frozen=True)
class Disentangled(Attention):
    """DeBERTa's attention: scores of content with content, content with position, position with content.

    `positions` are the paths of the relative position embeddings and their norm in the model. `position_query` and
    `position_key` project them and are paths in a block; a block without them uses its own query and key projections.
    """

    positions: tuple[str, ...] = ()
    position_query: str = ""
    position_key: str = ""


@dataclass(frozen=True)
class FeedForward:
    """A feed-forward sublayer, as module paths within a block. `up` lists the possible projections of the input; those
    that the block has are used. If it has two, one gates the other; with `halves`, half of the output of one gates the
    other half. `end_norm` precedes the residual sum."""

    norm: str
    up: tuple[str, ...]
    down: str
    dropout: str = ""
    end_norm: str = ""
    halves: bool = False


@dataclass(frozen=True)
class Stack:
    """A stack of blocks, as module paths within the model.

    `embeddings` are summed, each a chain of modules; `start` follows the sum, `end` the last block. `blocks` is the
    list of blocks; each contains the sublayers in the order self-attention, cross-attention, feed-forward. `calls` maps
    a configuration to the paths of the blocks in the order in which they run, if some run more than once. `heads` is
    the configuration field with the number of attention heads; `bias` is an embedding of relative positions that all
    blocks add to their scores.
    """

    embeddings: tuple[tuple[str, ...], ...]
    blocks: str
    attention: Attention
    feed_forward: FeedForward
    cross_attention: Attention | None = None
    start: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    heads: str = "num_attention_heads"
    calls: Callable[[Config], list[str]] | None = None
    bias: str = ""


@dataclass(frozen=True)
class ArchitectureSpec:
    """One architecture: the stack of an encoder or a decoder, and for an encoder-decoder the encoder `below`.

    `order` gives the place of the norms for a configuration; `activation` is the configuration field with the
    feed-forward activation. `pooler` is read only if the backbone's pooling is `pooler`.
    """

    stack: Stack
    order: Callable[[Config], Order]
    activation: str
    below: Stack | None = None
    pooler: str = "pooler.dense"


def before(config: Config) -> Order:
    """Norms before sublayers, for every configuration."""
    return "before"


def shared(config: Config) -> Order:
    """One norm before both sublayers, for every configuration."""
    return "shared"


def after(config: Config) -> Order:
    """Norms after residual sums, for every configuration."""
    return "after"


def attention_at(path: str, norm: str, output: str = "out_proj") -> Attention:
    """Attention at a path in a block, with the module names that OPT and BART take from fairseq."""
    return Attention(
        norm=norm,
        query=f"{path}.q_proj",
        key=f"{path}.k_proj",
        value=f"{path}.v_proj",
        output=f"{path}.{output}",
        rate=f"{path}.dropout",
    )
