"""A user's config.json: read only by this suite, and refused if no model can be built from it.

A file can ask transformers for more than a model: code next to it, kernels from the Hub, tuples instead of outputs. So
transformers never reads the file; it gets only the fields that define the model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefront.bench.errors import UserError
from tunefront.bench.models.architectures import check_predicts_tokens, known_sites, own_code_is_ours
from tunefront.bench.models.config_values import (
    HEADS,
    STACKS_HEADS,
    check_values,
    flat_items,
    no_model_error,
    null_means_default,
    short_text,
)
from tunefront.bench.models.json_files import read_object
from tunefront.bench.quiet import quiet

_IGNORED = {
    *("task_specific_params", "torchscript", "pruned_heads", "gradient_checkpointing", "use_cache", "output_past"),
    *("use_kernels", "kernel_config", "use_flash_attn", "generation_config", "custom_generate", "custom_pipelines"),
    *("base_model_name_or_path", "model_name", "transformers_weights", "distributed_config"),
    "slow_but_exact",  # Bloom's other way to compute two projections, in which no hook runs
}
"""Fields, in addition to transformers' common ones, about how the model was run or saved: the suite decides that."""
_COMMON = ("rope_scaling", "per_layer_config", "per_layer_attributes")
"""Attributes of every configuration that nevertheless define the model."""
_AS_DECODER = ("is_decoder", "add_cross_attention")
_BIDIRECTIONAL = {"is_causal": False, "use_bidirectional_attention": True}
"""Fields of a decoder whose tokens see the tokens after them."""
_NO_JSON = ("Infinity", "-Infinity", "NaN")
_NO_TYPES = ("deberta-v2", "gte")
_QUANTISED = ("quantization_config", "compression_config")


def configuration(folder: Path) -> Any:  # Any: transformers' configurations have no common type with their fields
    """The configuration of the folder's model. Errors: UserError as in `read`, `make` and `check`."""
    path = folder / "config.json"
    config = make(*read(path), f"the configuration {path}")
    config.name_or_path = str(folder)
    check(config, f"the configuration {path}")
    return config


def read(path: Path) -> tuple[str, dict[str, Any]]:  # Any: whatever the file holds
    """The model_type and the fields that define the model.

    Errors: UserError for a file that cannot be read, an architecture that transformers does not know or that reads no
    text, custom code, which is never run, a language model's weights that were trained to classify, impossible sizes,
    and a decoder with bidirectional attention.
    """
    from transformers import PretrainedConfig

    fields = read_object(path, "configuration")
    model_type = _architecture(fields, path)
    family = known_sites(model_type, f"the configuration {path}: ").family
    check_predicts_tokens(fields, family, f"the configuration {path}: ")
    unread = _IGNORED | (set() if family == "decoder" else set(_AS_DECODER))
    kept = {
        name: value
        for name, value in _without_kernels(fields).items()
        if name not in unread
        and not (name in _QUANTISED and not value)
        and not (value is None and null_means_default(name))
        and not name.startswith("_")
        and (name in _COMMON or not hasattr(PretrainedConfig, name))  # nor anything that would hide a method
    }
    check_values(kept, f"the configuration {path}")
    if family == "decoder":
        _check_causal(kept, path)
    return model_type, kept


def own_code_warning(folder: Path) -> str | None:
    """A warning if the file asks for code that comes with the model, which transformers' own takes the place of."""
    path = folder / "config.json"
    if not read_object(path, "configuration").get("auto_map"):
        return None
    return (
        f"{path} asks for code that comes with the model, which is never run here: transformers' classes of the same "
        "names are used."
    )


def decoder_flags_warning(folder: Path) -> str | None:
    """A warning if an encoder's file asks for a decoder, which is ignored; else None."""
    path = folder / "config.json"
    fields = read_object(path, "configuration")
    flags = [name for name in _AS_DECODER if fields.get(name)]
    if not flags or known_sites(str(fields.get("model_type"))).family != "encoder":
        return None
    return (
        f"{path} has {' and '.join(f'{name}: true' for name in flags)}, so that no token sees the tokens after it. "
        "Here the model is an encoder, whose tokens all see each other; if its weights were trained to generate text, "
        "its results mean little."
    )


def make(model_type: str, fields: Mapping[str, Any], label: str) -> Any:  # Any: as in a config.json; as `configuration`
    """The configuration with these fields; UserError if transformers cannot use them."""
    from transformers import AutoConfig

    def works(fields: Mapping[str, Any]) -> bool:  # Any: as above
        try:
            with quiet():
                AutoConfig.for_model(model_type, **fields)
        except Exception:  # its kind depends on the field, the architecture and transformers' version
            return False
        return True

    try:
        with quiet():
            return AutoConfig.for_model(model_type, **fields)
    except Exception as error:  # as above
        for field in fields:  # the error seldom names the field
            if works({other: value for other, value in fields.items() if other != field}):
                raise field_error(f"{label} cannot be used", field, fields[field], error) from error
        raise config_error(f"{label} cannot be used", error, fields) from error


def check(config: Any, label: str | None = None) -> None:  # Any: as `configuration`
    """UserError if no model can be built from this configuration: its sizes are impossible or do not match, or its
    weights are quantised."""
    label = label or describe(config)
    for name in _QUANTISED:
        quantisation = getattr(config, name, None)
        if quantisation is not None:
            kind = f", not in {quantisation.get('quant_method')}" if isinstance(quantisation, dict) else ""
            raise UserError(
                f"{label} has a {name}, but weights are trained and planned in float32{kind}. "
                "Give the model before quantisation; to plan its shape alone, remove the entry from a copy of the file."
            )
    fields = config.to_dict()
    check_values(fields, label)
    if fields.get("type_vocab_size") == 0 and config.model_type not in _NO_TYPES:  # the others always look up a type
        raise no_model_error(label, ["type_vocab_size is 0, and must be at least 1"])
    heads, head_width = _shared(config, "num_attention_heads"), _shared(config, "head_dim")
    groups = fields.get("num_key_value_heads")
    if type(heads) is int and heads and groups and heads % groups:
        raise no_model_error(label, [f"num_key_value_heads is {groups}, which does not divide the {heads} heads"])
    width = getattr(config, "hidden_size", None)
    if head_width is not None or not width:
        return
    shared = {name: fields[name] for name in (*HEADS, *STACKS_HEADS) if fields.get(name)}
    uneven = [
        f"the width, {width}, is not a multiple of {name}, {count}" for name, count in shared.items() if width % count
    ]
    if uneven:
        raise no_model_error(label, uneven)


def _shared(config: Any, name: str) -> Any:  # Any: as above
    """A field of a configuration, None if there is none; the error if its layers have values of their own (Gemma 4)."""
    try:
        return getattr(config, name, None)
    except Exception as own:  # of a type of transformers' own
        return own


def describe(config: Any) -> str:  # Any: as above
    """The name of a configuration in a message."""
    name = getattr(config, "name_or_path", "")
    return f"the configuration {name}" if name else f"its {config.model_type} configuration"


def config_error(label: str, error: Exception, fields: Mapping[str, Any]) -> UserError:  # Any: as in a config.json
    """A UserError about a configuration that caused another library's error, with the message of that error."""
    if isinstance(error, RecursionError):
        return UserError(f"{label}: its values are nested too deep. Correct its fields.")
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        names = [name for name, value in flat_items(fields) if _names_value(value, error.args[0])]
        if names:
            return UserError(
                f"{label}: {' or '.join(names)} is {error.args[0][:50]!r}, which transformers does not know."
            )
    return UserError(f"{label}: {short_message(error)}. Correct its fields.")


def field_error(label: str, name: str, value: object, error: Exception) -> UserError:
    """As `config_error`, for a single field that transformers rejects."""
    named = config_error(label, error, {name: value})
    if f"{name} is" in str(named):
        return named
    return UserError(
        f"{label}: {name} is {short_text(value)}, which transformers does not accept ({short_message(error)[:200]}). "
        "Correct it, or remove it."
    )


def short_message(error: BaseException) -> str:
    """The message of another library's error, short and printable, without its full stop."""
    lines = [line.strip() for line in str(error)[:10_000].splitlines() if line.strip()]
    message = "".join(letter if letter.isprintable() else "?" for letter in " ".join(lines[:3]))
    message = message if len(message) < 600 else f"{message[:400]} ... {message[-150:]}"
    return message.rstrip(".") or type(error).__name__


def _architecture(fields: Mapping[str, Any], path: Path) -> str:  # Any: as above
    """The model_type; UserError if there is none, or if the model needs custom code."""
    model_type = fields.get("model_type")
    if not isinstance(model_type, str) or not model_type or len(model_type) > 100:
        raise UserError(
            f"the configuration {path} names no model_type, so its architecture is unknown; add it, for example "
            '"model_type": "bert".'
        )
    if fields.get("auto_map") and not own_code_is_ours(model_type, fields["auto_map"]):
        raise UserError(
            f"the configuration {path} has an auto_map: it asks for code that comes with the model, which is never run "
            "here. If transformers has the same architecture itself, remove auto_map from a copy of the file."
        )
    if model_type == "mistral" and "layer_types" in fields:  # as transformers reads it
        return "ministral"
    return model_type


def _check_causal(fields: Mapping[str, Any], path: Path) -> None:  # Any: as above
    names = [name for name, value in _BIDIRECTIONAL.items() if name in fields and bool(fields[name]) is value]
    if names:
        raise UserError(
            f"the configuration {path} has {names[0]}: {json.dumps(fields[names[0]])}: its tokens see the tokens after "
            "them, so it embeds texts and does not predict next tokens, which scoring needs. Give the causal model "
            "that it was made from, or an encoder."
        )


def _without_kernels(value: Any) -> Any:  # Any: whatever the file holds
    """The value without fields that choose an implementation, at any depth: one may name a repository with code.
    Numbers that JSON has no words for are read as transformers writes them, {"__float__": "Infinity"}."""
    if isinstance(value, dict):
        if set(value) == {"__float__"} and value["__float__"] in _NO_JSON:
            return float(value["__float__"])
        return {
            name: _without_kernels(inner)
            for name, inner in value.items()
            if "attn_implementation" not in name and "experts_implementation" not in name
        }
    return [_without_kernels(item) for item in value] if isinstance(value, list) else value


def _names_value(value: object, name: str) -> bool:
    """Whether a field's value is the name, or ends with it after a dash, as T5's activation does."""
    return isinstance(value, str) and (value == name or value.endswith(f"-{name}"))
