"""A config.json that somebody gives: read, and refused where no model could be planned of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunefront.bench.errors import Mistake
from tunefront.methods.sites import Sites, sites_for

_BLOCKS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_STACKS = ("encoder_layers", "decoder_layers", "num_decoder_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads")
_STACKS_HEADS = ("encoder_attention_heads", "decoder_attention_heads")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "head_dim", "d_kv", "word_embed_proj_dim", "embedding_size")
_INNER = ("intermediate_size", "n_inner", "d_ff", "ffn_dim", "hidden_dim", "encoder_ffn_dim", "decoder_ffn_dim")
_TABLES = ("vocab_size", "max_position_embeddings", "n_positions", "n_ctx")
_OTHERS = ("relative_attention_num_buckets", "relative_attention_max_distance", "pooler_hidden_size")
_BOUNDS = {
    **dict.fromkeys((*_BLOCKS, *_STACKS), (1, 1000)),
    **dict.fromkeys((*_HEADS, *_STACKS_HEADS), (1, 10**4)),
    **dict.fromkeys((*_WIDTHS, *_INNER, *_OTHERS), (1, 10**6)),
    **dict.fromkeys((*_TABLES, "sliding_window"), (1, 10**8)),
    "type_vocab_size": (0, 10**6),
}
"""The least and the most of each field that is a size, under each name that an architecture has for it."""
_SHARES = ("rotary_pct", "partial_rotary_factor")
_NO_PART = {
    *("num_labels", "id2label", "label2id", "problem_type", "architectures", "task_specific_params"),
    *("return_dict", "output_attentions", "output_hidden_states", "chunk_size_feed_forward", "is_encoder_decoder"),
    *("dtype", "torch_dtype", "torchscript", "name_or_path", "transformers_version"),
}
"""What a file may say of its head, of outputs and of how it was saved, and the suite decides."""


def read(path: Path) -> tuple[str, dict[str, Any]]:  # Any: whatever the file holds
    """The model_type and the fields that have a part in a plan.

    Errors: Mistake for a file that cannot be read, an architecture without sites, code of the model's own, which is
    never run, and sizes that no model has.
    """
    from transformers import PretrainedConfig

    fields = _loaded(path)
    model_type = _architecture(fields, path)
    kept = {
        name: value
        for name, value in _without_kernels(fields).items()
        if name not in {"model_type", *_NO_PART}
        and not name.startswith("_")
        and not callable(getattr(PretrainedConfig, name, None))  # would stand in the place of a method
    }
    _check_sizes(kept, f"the configuration {path}")
    return model_type, kept


def check(config: Any) -> None:  # Any: transformers' configurations have no common type with their fields
    """Mistake where a model of this configuration cannot be planned: its sizes do not go together or are none, or its
    weights are quantised."""
    what = described(config)
    if getattr(config, "quantization_config", None) is not None:
        raise Mistake(
            f"{what} has a quantization_config, and weights are planned in float32; take it out of a copy of the file "
            "to plan the model unquantised."
        )
    fields = config.to_dict()
    _check_sizes(fields, what)
    if fields.get("type_vocab_size") == 0 and config.model_type != "deberta-v2":  # the others always look a type up
        raise _wrong(what, ["type_vocab_size is 0, and must be at least 1"])
    heads, groups = config.num_attention_heads, fields.get("num_key_value_heads")
    if groups is not None and heads % groups:
        raise _wrong(what, [f"num_key_value_heads is {groups}, which does not divide the {heads} heads"])
    if getattr(config, "head_dim", None) is not None:
        return
    shared = {name: fields[name] for name in (*_HEADS, *_STACKS_HEADS) if fields.get(name)}
    uneven = [
        f"the width, {config.hidden_size}, is not a multiple of {name}, {count}"
        for name, count in shared.items()
        if config.hidden_size % count
    ]
    if uneven:
        raise _wrong(what, uneven)


def described(config: Any) -> str:  # Any: as above
    """How a message names a configuration."""
    name = getattr(config, "name_or_path", "")
    return f"the configuration {name}" if name else f"its {config.model_type} configuration"


def sites_known(model_type: str, prefix: str = "") -> Sites:
    """The sites of an architecture; Mistake where there are none."""
    try:
        return sites_for(model_type)
    except KeyError as error:
        raise Mistake(f"{prefix}{error.args[0]}") from error


def unusable(what: str, error: Exception, fields: Mapping[str, Any]) -> Mistake:  # Any: as in a config.json
    """What is wrong with a configuration, in the words of an error that it led to."""
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        named = [name for name, value in _values(fields) if _ends(value, error.args[0])]
        if named:
            return Mistake(f"{what}: {' or '.join(named)} is {error.args[0]!r}, which transformers does not know.")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return Mistake(f"{what}: {' '.join(lines[:3]).rstrip('.') or type(error).__name__}. Correct its fields.")


def _loaded(path: Path) -> dict[str, Any]:  # Any: whatever the file holds
    try:
        fields = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Mistake(f"the configuration {path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # no UTF-8 is one too
        raise Mistake(f"the configuration {path} is not valid JSON: {error}.") from error
    if not isinstance(fields, dict):
        raise Mistake(f"the configuration {path} must be a JSON object, as save_pretrained() writes it.")
    return fields


def _architecture(fields: Mapping[str, Any], path: Path) -> str:  # Any: as above
    """The model_type; Mistake where there is none, or none that can be planned for."""
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise Mistake(
            f"the configuration {path} names no model_type, so that its architecture is not known; add it, as in "
            '"model_type": "bert".'
        )
    if "auto_map" in fields:
        raise Mistake(
            f"the configuration {path} has an auto_map: it asks for code that comes with the model, which is never run "
            "here. Where transformers has the architecture itself, take auto_map out of a copy of the file."
        )
    sites_known(model_type, f"configuration {path}: ")
    return model_type


def _without_kernels(found: Any) -> Any:  # Any: whatever the file holds
    """Without what chooses an implementation, at any depth: one that names a repository is code from there."""
    if isinstance(found, dict):
        return {
            name: _without_kernels(value)
            for name, value in found.items()
            if "attn_implementation" not in name and "experts_implementation" not in name
        }
    return [_without_kernels(value) for value in found] if isinstance(found, list) else found


def _check_sizes(fields: Mapping[str, Any], what: str) -> None:  # Any: as in a config.json
    wrong = []
    for name, value in fields.items():
        if name not in _BOUNDS or value is None:  # None asks for the default
            continue
        least, most = _BOUNDS[name]
        if type(value) is not int or not least <= value <= most:
            wrong.append(f"{name} is {_short(value)}, and must be a whole number from {least:,} to {most:,}")
    for name, value in _values(fields):
        if name.endswith(_SHARES) and value is not None and not (type(value) in (int, float) and 0 < value <= 1):
            wrong.append(f"{name} is {_short(value)}, and must be a share, more than 0 and at most 1")
    if wrong:
        raise _wrong(what, wrong)


def _wrong(what: str, found: list[str]) -> Mistake:
    return Mistake(f"no model can be made of {what}: {'; '.join(found)}. Correct it.")


def _values(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:  # Any: as above
    """The fields, and those of the tables among them."""
    for name, value in fields.items():
        if isinstance(value, dict):
            shown = "rope_parameters (or rope_scaling)" if name == "rope_parameters" else name
            yield from ((f"{shown}: {key}", inner) for key, inner in value.items())
        else:
            yield name, value


def _ends(value: object, end: str) -> bool:
    """T5 names its activation after a dash."""
    return isinstance(value, str) and (value == end or value.endswith(f"-{end}"))


def _short(value: object) -> str:
    text = f"{value:,}" if type(value) is int and abs(value) < 10**15 else json.dumps(value)
    return text if len(text) < 50 else f"{text[:46]} ..."
