"""Checks of the values of a configuration: sizes, fractions, rates and small numbers, under the names that
architectures use."""

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
"""The smallest and the largest value of each size, under each name that an architecture uses for it."""
_SHARES = ("rotary_pct", "partial_rotary_factor")
_DROPOUTS = ("dropout", "dropout_prob", "dropout_rate", "pdrop", "layerdrop")
_SMALL = ("_eps", "_epsilon")
_HEAD_DROPOUTS = ("classifier_dropout", "seq_classif_dropout", "cls_dropout")
_DEVIATIONS = ("initializer_range", "init_std", "initializer_factor")


def check_values(fields: Mapping[str, Any], label: str) -> None:  # Any: as in a config.json
    """UserError that lists every invalid value."""
    errors = []
    for name, value in fields.items():
        if name not in _BOUNDS or value is None:  # None means the default
            continue
        least, most = _BOUNDS[name]
        if type(value) is not int or not least <= value <= most:
            errors.append(f"{name} is {short_text(value)}, and must be a whole number from {least:,} to {most:,}")
    for name, value in flat_items(fields):
        number = type(value) in (int, float)
        if name.endswith(_SHARES) and value is not None and not (number and 0 < value <= 1):
            errors.append(f"{name} is {short_text(value)}, and must be a fraction, more than 0 and at most 1")
        elif name.endswith(_DROPOUTS) and _is_wrong_rate(name, value):
            errors.append(f"{name} is {short_text(value)}, and must be a rate, at least 0 and less than 1")
        elif name in _DEVIATIONS and value is not None and not (number and 0 <= value < 1000):
            errors.append(f"{name} is {short_text(value)}, and must be a standard deviation, at least 0")
        elif name.endswith(_SMALL) and number and not 0 <= value < 1:
            errors.append(f"{name} is {short_text(value)}, and must be a small number, at least 0")
        elif type(value) is float and not math.isfinite(value):
            errors.append(f"{name} is {short_text(value)}, and must be a finite number")
    if errors:
        raise no_model_error(label, errors)


def _is_wrong_rate(name: str, value: object) -> bool:
    """Transformers itself reports a dropout that is not a number, except that of a head."""
    if type(value) in (int, float):
        return not 0 <= value < 1  # type: ignore[operator]
    return value is not None and name in _HEAD_DROPOUTS


def no_model_error(label: str, errors: list[str]) -> UserError:
    return UserError(f"no model can be built from {label}: {'; '.join(errors)}. Correct it.")


def flat_items(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:  # Any: as above
    """The fields; nested tables are replaced by their own fields."""
    for name, value in fields.items():
        if isinstance(value, dict):
            table = "rope_parameters (or rope_scaling)" if name == "rope_parameters" else name
            yield from ((f"{table}: {key}", inner) for key, inner in value.items())
        else:
            yield name, value


def short_text(value: object) -> str:
    """A value for a message, in at most 50 characters."""
    text = f"{value:,}" if type(value) is int and abs(value) < 10**15 else json.dumps(value, ensure_ascii=True)
    return text if len(text) < 50 else f"{text[:46]} ..."


def null_means_default(name: str) -> bool:
    """Whether null means the architecture's default; some architectures fail on a null only when they run."""
    return name == "pad_token_id" or (name.endswith(_DROPOUTS) and name not in _HEAD_DROPOUTS)
