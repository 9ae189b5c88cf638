"""What the values of a configuration may be: sizes, shares, rates and small numbers, whatever an architecture calls
them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from tunefront.bench.errors import UserError

_BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_STACKS = ("encoder_layers", "decoder_layers", "num_decoder_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads")
STACKS_HEADS = ("encoder_attention_heads", "decoder_attention_heads")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "head_dim", "d_kv", "word_embed_proj_dim", "embedding_size")
_INNER = ("intermediate_size", "n_inner", "d_ff", "ffn_dim", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim")
_TABLES = ("vocab_size", "max_position_embeddings", "n_positions", "n_ctx")
_OTHERS = ("relative_attention_num_buckets", "relative_attention_max_distance", "pooler_hidden_size")
_BOUNDS = {
    **dict.fromkeys((*_BLOCKS, *_STACKS), (1, 1000)),
    **dict.fromkeys((*HEADS, *STACKS_HEADS), (1, 10**4)),
    **dict.fromkeys((*_WIDTHS, *_INNER, *_OTHERS), (1, 10**6)),
    **dict.fromkeys((*_TABLES, "sliding_window", "window_size", "attention_chunk_size"), (1, 10**8)),
    "type_vocab_size": (0, 10**6),
}
"""The least and the most of each field that is a size, under each name that an architecture has for it."""
_SHARES = ("rotary_pct", "partial_rotary_factor")
_DROPOUTS = ("dropout", "dropout_prob", "dropout_rate", "pdrop", "layerdrop")
_SMALL = ("_eps", "_epsilon")
_OF_A_HEAD = ("classifier_dropout", "seq_classif_dropout", "cls_dropout")
_SPREADS = ("initializer_range", "init_std", "initializer_factor")


def check_values(fields: Mapping[str, Any], what: str) -> None:  # Any: as in a config.json
    """UserError with every value that no model has."""
    wrong = []
    for name, value in fields.items():
        if name not in _BOUNDS or value is None:  # None asks for the default
            continue
        least, most = _BOUNDS[name]
        if type(value) is not int or not least <= value <= most:
            wrong.append(f"{name} is {shown(value)}, and must be a whole number from {least:,} to {most:,}")
    for name, value in values_of(fields):
        number = type(value) in (int, float)
        if name.endswith(_SHARES) and value is not None and not (number and 0 < value <= 1):
            wrong.append(f"{name} is {shown(value)}, and must be a share, more than 0 and at most 1")
        elif name.endswith(_DROPOUTS) and _is_wrong_rate(name, value):
            wrong.append(f"{name} is {shown(value)}, and must be a rate, at least 0 and less than 1")
        elif name in _SPREADS and value is not None and not (number and 0 <= value < 1000):
            wrong.append(f"{name} is {shown(value)}, and must be a standard deviation, at least 0")
        elif name.endswith(_SMALL) and number and not 0 <= value < 1:
            wrong.append(f"{name} is {shown(value)}, and must be a small number, at least 0")
        elif type(value) is float and not math.isfinite(value):
            wrong.append(f"{name} is {shown(value)}, and must be a finite number")
    if wrong:
        raise no_model(what, wrong)


def _is_wrong_rate(name: str, value: object) -> bool:
    """Transformers tells of a dropout that is no number itself, but for a head's."""
    if type(value) in (int, float):
        return not 0 <= value < 1  # type: ignore[operator]
    return value is not None and name in _OF_A_HEAD


def no_model(what: str, found: list[str]) -> UserError:
    return UserError(f"no model can be made of {what}: {'; '.join(found)}. Correct it.")


def values_of(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:  # Any: as above
    """The fields, and those of the tables among them."""
    for name, value in fields.items():
        if isinstance(value, dict):
            called = "rope_parameters (or rope_scaling)" if name == "rope_parameters" else name
            yield from ((f"{called}: {key}", inner) for key, inner in value.items())
        else:
            yield name, value


def shown(value: object) -> str:
    """A value as a message shows it, in less than 51 characters."""
    text = f"{value:,}" if type(value) is int and abs(value) < 10**15 else json.dumps(value, ensure_ascii=True)
    return text if len(text) < 50 else f"{text[:46]} ..."


def has_default(name: str) -> bool:
    """Whether null, with which some architectures fail only once they run, stands for the architecture's own value."""
    return name == "pad_token_id" or (name.endswith(_DROPOUTS) and name not in _OF_A_HEAD)
