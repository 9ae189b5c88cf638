"""A config.json that somebody gives: read by this suite alone, and refused where no model could be made of it.

A file can ask transformers for more than a model: for code beside it, for kernels from the Hub, for tuples in the place
of outputs. So transformers never reads the file; it is given the fields that say which model it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunefront.bench.errors import Mistake, nearest
from tunefront.bench.models.json_files import read_object
from tunefront.methods.sites import SITES, Sites, sites_for

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
_DROPOUTS = ("dropout", "dropout_prob", "dropout_rate", "pdrop", "layerdrop")
_SMALL = ("_eps", "_epsilon")
_OF_A_HEAD = ("classifier_dropout", "seq_classif_dropout", "cls_dropout")
_SPREADS = ("initializer_range", "init_std", "initializer_factor")
_NO_PART = {
    *("task_specific_params", "torchscript", "pruned_heads", "gradient_checkpointing", "use_cache", "output_past"),
    *("use_kernels", "kernel_config", "use_flash_attn", "generation_config", "custom_generate", "custom_pipelines"),
    *("base_model_name_or_path", "model_name", "transformers_weights", "distributed_config"),
}
"""What a file may say beside transformers' common fields of how the model was run or saved: the suite decides it."""
_COMMON = ("rope_scaling", "per_layer_config", "per_layer_attributes")
"""The names among the attributes of every configuration that say which model it is."""
_AS_DECODER = ("is_decoder", "add_cross_attention")
_BOTH_WAYS = {"is_causal": False, "use_bidirectional_attention": True}
"""What a decoder's file says where its tokens see those after them."""
_QUANTISED = ("quantization_config", "compression_config")


def configuration(folder: Path) -> Any:  # Any: transformers' configurations have no common type with their fields
    """The configuration of the folder's model. Errors: Mistake as in `read`, `make` and `check`."""
    path = folder / "config.json"
    config = make(*read(path), f"the configuration {path}")
    config.name_or_path = str(folder)
    check(config, f"the configuration {path}")
    return config


def read(path: Path) -> tuple[str, dict[str, Any]]:  # Any: whatever the file holds
    """The model_type and the fields that say which model it is.

    Errors: Mistake for a file that cannot be read, an architecture without sites, code of the model's own, which is
    never run, sizes that no model has, and a decoder that looks both ways.
    """
    from transformers import PretrainedConfig

    fields = read_object(path, "configuration")
    model_type = _architecture(fields, path)
    family = sites_known(model_type, f"configuration {path}: ").family
    unread = _NO_PART | (set() if family == "decoder" else set(_AS_DECODER))
    kept = {
        name: value
        for name, value in _without_kernels(fields).items()
        if name not in unread
        and not (name in _QUANTISED and not value)
        and not (value is None and _has_default(name))
        and not name.startswith("_")
        and (name in _COMMON or not hasattr(PretrainedConfig, name))  # also what would stand in a method's place
    }
    _check_sizes(kept, f"the configuration {path}")
    if family == "decoder":
        _check_causal(kept, path)
    return model_type, kept


def set_aside(folder: Path) -> str | None:
    """A warning where an encoder's file asks for a decoder, which is not heeded; None where it does not."""
    path = folder / "config.json"
    fields = read_object(path, "configuration")
    asked = [name for name in _AS_DECODER if fields.get(name)]
    if not asked or sites_known(str(fields.get("model_type"))).family != "encoder":
        return None
    return (
        f"{path} has {' and '.join(f'{name}: true' for name in asked)}, under which no token sees those after it. "
        f"It is used as what it is here, an encoder whose tokens see each other; if its weights were trained to "
        "generate text, its results say little."
    )


def make(model_type: str, fields: Mapping[str, Any], what: str) -> Any:  # Any: as in a config.json; as `configuration`
    """The configuration that these fields make; Mistake where transformers cannot use them."""
    from transformers import AutoConfig

    try:
        return AutoConfig.for_model(model_type, **fields)
    except Exception as error:  # its kind depends on the field, the architecture and transformers' version
        raise unusable(f"{what} cannot be used", error, fields) from error


def check(config: Any, what: str | None = None) -> None:  # Any: as `configuration`
    """Mistake where no model can be made of this configuration: its sizes do not go together or are none, or its
    weights are quantised."""
    what = what or described(config)
    for name in _QUANTISED:
        found = getattr(config, name, None)
        if found is not None:
            how = f", not in {found.get('quant_method')}" if isinstance(found, dict) else ""
            raise Mistake(
                f"{what} has a {name}, and weights are trained and planned in float32{how}. "
                "Give the model as it was before it was quantised; to plan its shape alone, take the entry out of a "
                "copy of the file."
            )
    fields = config.to_dict()
    _check_sizes(fields, what)
    if fields.get("type_vocab_size") == 0 and config.model_type != "deberta-v2":  # the others always look a type up
        raise _wrong(what, ["type_vocab_size is 0, and must be at least 1"])
    heads, groups = getattr(config, "num_attention_heads", None), fields.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise _wrong(what, [f"num_key_value_heads is {groups}, which does not divide the {heads} heads"])
    width = getattr(config, "hidden_size", None)
    if getattr(config, "head_dim", None) is not None or not width:
        return
    shared = {name: fields[name] for name in (*_HEADS, *_STACKS_HEADS) if fields.get(name)}
    uneven = [
        f"the width, {width}, is not a multiple of {name}, {count}" for name, count in shared.items() if width % count
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
        near = nearest(model_type, SITES)
        raise Mistake(f"{prefix}{error.args[0]}{f' Did you mean {near!r}?' if near else ''}") from error


def unusable(what: str, error: Exception, fields: Mapping[str, Any]) -> Mistake:  # Any: as in a config.json
    """What is wrong with a configuration, in the words of an error that it led to."""
    if isinstance(error, RecursionError):
        return Mistake(f"{what}: its values are nested too deep. Correct its fields.")
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        named = [name for name, value in _values(fields) if _ends(value, error.args[0])]
        if named:
            return Mistake(f"{what}: {' or '.join(named)} is {error.args[0][:50]!r}, which transformers does not know.")
    return Mistake(f"{what}: {gist(error)}. Correct its fields.")


def gist(error: BaseException) -> str:
    """What another library's error says, short and printable, without its full stop."""
    lines = [line.strip() for line in str(error)[:10_000].splitlines() if line.strip()]
    said = "".join(letter if letter.isprintable() else "?" for letter in " ".join(lines[:3]))
    said = said if len(said) < 600 else f"{said[:400]} ... {said[-150:]}"
    return said.rstrip(".") or type(error).__name__


def _architecture(fields: Mapping[str, Any], path: Path) -> str:  # Any: as above
    """The model_type; Mistake where there is none, or where the model needs code of its own."""
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or not model_type or len(model_type) > 100:
        raise Mistake(
            f"the configuration {path} names no model_type, so that its architecture is not known; add it, as in "
            '"model_type": "bert".'
        )
    if fields.get("auto_map"):
        raise Mistake(
            f"the configuration {path} has an auto_map: it asks for code that comes with the model, which is never run "
            "here. Where transformers has the architecture itself, take auto_map out of a copy of the file."
        )
    if model_type == "mistral" and "layer_types" in fields:  # as transformers reads it
        return "ministral"
    return model_type


def _check_causal(fields: Mapping[str, Any], path: Path) -> None:  # Any: as above
    found = [name for name, value in _BOTH_WAYS.items() if name in fields and bool(fields[name]) is value]
    if found:
        raise Mistake(
            f"the configuration {path} has {found[0]}: {json.dumps(fields[found[0]])}: its tokens see those after "
            "them, so that it embeds texts and predicts no next token, by which a decoder is asked here. Give the "
            "causal model that it was made of, or an encoder."
        )


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
        number = type(value) in (int, float)
        if name.endswith(_SHARES) and value is not None and not (number and 0 < value <= 1):
            wrong.append(f"{name} is {_short(value)}, and must be a share, more than 0 and at most 1")
        elif name.endswith(_DROPOUTS) and _is_wrong_rate(name, value):
            wrong.append(f"{name} is {_short(value)}, and must be a rate, at least 0 and less than 1")
        elif name in _SPREADS and value is not None and not (number and 0 <= value < 1000):
            wrong.append(f"{name} is {_short(value)}, and must be a standard deviation, at least 0")
        elif name.endswith(_SMALL) and number and not 0 <= value < 1:
            wrong.append(f"{name} is {_short(value)}, and must be a small number, at least 0")
        elif type(value) is float and not math.isfinite(value):
            wrong.append(f"{name} is {_short(value)}, and must be a finite number")
    if wrong:
        raise _wrong(what, wrong)


def _has_default(name: str) -> bool:
    """Whether null, with which some architectures fail only once they run, stands for the architecture's own value."""
    return name == "pad_token_id" or (name.endswith(_DROPOUTS) and name not in _OF_A_HEAD)


def _is_wrong_rate(name: str, value: object) -> bool:
    """Transformers tells of a dropout that is no number itself, but for a head's."""
    if type(value) in (int, float):
        return not 0 <= value < 1  # type: ignore[operator]
    return value is not None and name in _OF_A_HEAD


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
    text = f"{value:,}" if type(value) is int and abs(value) < 10**15 else json.dumps(value, ensure_ascii=True)
    return text if len(text) < 50 else f"{text[:46]} ..."
