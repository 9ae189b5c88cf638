"""A config.json that somebody gives: read by this suite alone, and refused where no model could be made of it.

A file can ask transformers for more than a model: for code beside it, for kernels from the Hub, for tuples in the place
of outputs. So transformers never reads the file; it is given the fields that say which model it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.bench.errors import UserError, nearest
from tunefront.bench.models.config_values import (
    HEADS,
    STACKS_HEADS,
    check_values,
    has_default,
    no_model,
    shown,
    values_of,
)
from tunefront.bench.models.json_files import read_object
from tunefront.bench.quiet import quiet
from tunefront.methods.sites import SITES, Sites, sites_for

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
    """The configuration of the folder's model. Errors: UserError as in `read`, `make` and `check`."""
    path = folder / "config.json"
    config = make(*read(path), f"the configuration {path}")
    config.name_or_path = str(folder)
    check(config, f"the configuration {path}")
    return config


def read(path: Path) -> tuple[str, dict[str, Any]]:  # Any: whatever the file holds
    """The model_type and the fields that say which model it is.

    Errors: UserError for a file that cannot be read, an architecture without sites, code of the model's own, which is
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
        and not (value is None and has_default(name))
        and not name.startswith("_")
        and (name in _COMMON or not hasattr(PretrainedConfig, name))  # also what would stand in a method's place
    }
    check_values(kept, f"the configuration {path}")
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
    """The configuration that these fields make; UserError where transformers cannot use them."""
    from transformers import AutoConfig

    def made(of: Mapping[str, Any]) -> bool:  # Any: as above
        try:
            with quiet():
                AutoConfig.for_model(model_type, **of)
        except Exception:  # its kind depends on the field, the architecture and transformers' version
            return False
        return True

    try:
        with quiet():
            return AutoConfig.for_model(model_type, **fields)
    except Exception as error:  # as above
        for field in fields:  # which one it is, the error seldom says
            if made({other: value for other, value in fields.items() if other != field}):
                raise unusable_field(f"{what} cannot be used", field, fields[field], error) from error
        raise unusable(f"{what} cannot be used", error, fields) from error


def check(config: Any, what: str | None = None) -> None:  # Any: as `configuration`
    """UserError where no model can be made of this configuration: its sizes do not go together or are none, or its
    weights are quantised."""
    what = what or described(config)
    for name in _QUANTISED:
        found = getattr(config, name, None)
        if found is not None:
            how = f", not in {found.get('quant_method')}" if isinstance(found, dict) else ""
            raise UserError(
                f"{what} has a {name}, and weights are trained and planned in float32{how}. "
                "Give the model as it was before it was quantised; to plan its shape alone, take the entry out of a "
                "copy of the file."
            )
    fields = config.to_dict()
    check_values(fields, what)
    if fields.get("type_vocab_size") == 0 and config.model_type != "deberta-v2":  # the others always look a type up
        raise no_model(what, ["type_vocab_size is 0, and must be at least 1"])
    heads, groups = getattr(config, "num_attention_heads", None), fields.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise no_model(what, [f"num_key_value_heads is {groups}, which does not divide the {heads} heads"])
    width = getattr(config, "hidden_size", None)
    if getattr(config, "head_dim", None) is not None or not width:
        return
    shared = {name: fields[name] for name in (*HEADS, *STACKS_HEADS) if fields.get(name)}
    uneven = [
        f"the width, {width}, is not a multiple of {name}, {count}" for name, count in shared.items() if width % count
    ]
    if uneven:
        raise no_model(what, uneven)


def described(config: Any) -> str:  # Any: as above
    """How a message names a configuration."""
    name = getattr(config, "name_or_path", "")
    return f"the configuration {name}" if name else f"its {config.model_type} configuration"


def sites_known(model_type: str, prefix: str = "") -> Sites:
    """The sites of an architecture; UserError where there are none."""
    try:
        return sites_for(model_type)
    except KeyError as error:
        near = nearest(model_type, SITES)
        raise UserError(f"{prefix}{error.args[0]}{f' Did you mean {near!r}?' if near else ''}") from error


def unusable(what: str, error: Exception, fields: Mapping[str, Any]) -> UserError:  # Any: as in a config.json
    """What is wrong with a configuration, in the words of an error that it led to."""
    if isinstance(error, RecursionError):
        return UserError(f"{what}: its values are nested too deep. Correct its fields.")
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        named = [name for name, value in values_of(fields) if _ends(value, error.args[0])]
        if named:
            return UserError(
                f"{what}: {' or '.join(named)} is {error.args[0][:50]!r}, which transformers does not know."
            )
    return UserError(f"{what}: {gist(error)}. Correct its fields.")


def unusable_field(what: str, name: str, value: object, error: Exception) -> UserError:
    """The same where one field alone is what transformers does not take."""
    known = unusable(what, error, {name: value})
    if f"{name} is" in str(known):
        return known
    return UserError(
        f"{what}: {name} is {shown(value)}, which transformers does not take ({gist(error)[:200]}). Correct it, or "
        "leave it out."
    )


def gist(error: BaseException) -> str:
    """What another library's error says, short and printable, without its full stop."""
    lines = [line.strip() for line in str(error)[:10_000].splitlines() if line.strip()]
    said = "".join(letter if letter.isprintable() else "?" for letter in " ".join(lines[:3]))
    said = said if len(said) < 600 else f"{said[:400]} ... {said[-150:]}"
    return said.rstrip(".") or type(error).__name__


def _architecture(fields: Mapping[str, Any], path: Path) -> str:  # Any: as above
    """The model_type; UserError where there is none, or where the model needs code of its own."""
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or not model_type or len(model_type) > 100:
        raise UserError(
            f"the configuration {path} names no model_type, so that its architecture is not known; add it, as in "
            '"model_type": "bert".'
        )
    if fields.get("auto_map"):
        raise UserError(
            f"the configuration {path} has an auto_map: it asks for code that comes with the model, which is never run "
            "here. Where transformers has the architecture itself, take auto_map out of a copy of the file."
        )
    if model_type == "mistral" and "layer_types" in fields:  # as transformers reads it
        return "ministral"
    return model_type


def _check_causal(fields: Mapping[str, Any], path: Path) -> None:  # Any: as above
    found = [name for name, value in _BOTH_WAYS.items() if name in fields and bool(fields[name]) is value]
    if found:
        raise UserError(
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


def _ends(value: object, end: str) -> bool:
    """T5 names its activation after a dash."""
    return isinstance(value, str) and (value == end or value.endswith(f"-{end}"))
