"""Configurations of peft: their types, their fields, and their only spelling as JSON."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from tunefront.methods.sites import check_pattern

Wrapper = Any
"""`peft.PeftModel`, around a model that it has changed in place; the package is optional."""
ADAPTER = "default"
"""peft's name of an adapter without a name."""
MISSING = (
    "the method peft needs the package peft, which is not installed: pip install 'tunefront[peft]'. Tunefront's own "
    "methods (`tunefront list methods`) need no further package"
)
ABOUT_A_MODEL = (
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "runtime_config"),
    "task_type",
)
"""Fields of every configuration that name a model or a way to run it. They change no number here and are left out."""
READS_OTHERS = (
    *("adapters", "megatron_config", "megatron_core", "prompt_tuning_init_state_dict_path", "shadow_model"),
    *("tokenizer_kwargs", "tokenizer_name_or_path"),
)
"""Fields that make peft read other files, some of them as pickles or with their own code, or import other modules."""
UNORDERED = ("target_modules", "feedforward_modules", "exclude_modules", "modules_to_save")
"""Fields that are sets of names, in any order."""
PROMPT_LENGTH, PREFIX_LENGTH = 20, 10
"""Virtual tokens of prompts and of prefixes where a configuration says nothing: those of our own methods."""


def require_package() -> None:
    """ValueError, with what to install, if peft is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise ValueError(MISSING)


def config_class(kind: str) -> Any:
    """peft's configuration class of a type; ValueError with the nearest for an unknown type."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    known = {name.value: cls for name, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if kind not in known:
        raise ValueError(f"peft {version()} has no type {kind!r}{nearest(kind, sorted(known))}")
    return known[kind]


def check_patterns(settings: Mapping[str, Any]) -> None:
    """ValueError if matching a regex of the configuration, which may be somebody else's, may take for ever."""
    for name, value in settings.items():
        if name.endswith("_modules") and isinstance(value, str):
            check_pattern(value)
        if name.endswith("_pattern"):  # the keys of a table, the items of a list
            for text in [value] if isinstance(value, str) else value or ():
                check_pattern(str(text))


def defaults(kind: str) -> dict[str, Any]:
    """The fields of a type with their default values."""
    return {field.name: field.default for field in fields(config_class(kind))}


def version() -> str:
    """The version of peft that is installed."""
    return importlib.metadata.version("peft")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, and all of them."""
    near = difflib.get_close_matches(name[:100], known, n=3)
    near.sort(key=lambda other: other[0] != name[0])  # of LORA and ROAD, LORA for LROA
    return f"{f'; did you mean {near[0]!r}?' if near else '.'} It has: {', '.join(known)}."


def read_object(text: str, what: str) -> dict[str, Any]:
    """The object that a text holds; ValueError that says where it is none."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [name for name, number in Counter(name for name, _ in pairs).items() if number > 1]
        if twice:
            raise ValueError(f"{what} gives {twice[0]!r} twice")
        return dict(pairs)

    def refuse(name: str) -> None:
        raise ValueError(f"{what} has {name}, which is no finite number")

    try:
        settings = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        around = text[max(0, error.pos - 15) : error.pos + 15]
        raise ValueError(
            f"{what} is no JSON: {error.msg} at line {error.lineno}, character {error.colno}, near {around!r}; write "
            'an object such as {"r":4,"lora_alpha":8}'
        ) from error
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None
    if not isinstance(settings, dict):
        raise ValueError(f'{what} must be a JSON object such as {{"r":4}}, got {text[:50]!r}')
    return settings


def canonical(settings: Mapping[str, Any]) -> str | None:
    """The only spelling of a configuration: sorted names, no blanks; None for an empty one."""
    plain = {
        name: sorted(value) if name in UNORDERED and _is_list_of_texts(value) else value
        for name, value in settings.items()
    }
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if plain else None


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def without(names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields except those of these names."""
    return {name: value for name, value in settings.items() if name not in names}


def read_settings(kind: str, config: str | None) -> dict[str, Any]:
    """The fields of a configuration of this type; ValueError with the nearest for an unknown one, and for one that
    makes peft read other files."""
    known, settings = defaults(kind), {} if config is None else read_object(config, "config")
    for name, value in settings.items():
        if name not in known:
            own = sorted(known.keys() - {*ABOUT_A_MODEL, *READS_OTHERS, "peft_type"})
            raise ValueError(f"{kind} of peft has no field {name!r}{nearest(name, own)}")
        if name in READS_OTHERS and value is not None and value != known[name]:
            raise ValueError(
                f"the field {name} of {kind} makes peft read other files or import other modules, which this suite "
                "does not let a configuration do: leave it out"
            )
    return settings


def completed(kind: str, settings: Mapping[str, Any], task: str | None, width: int) -> dict[str, Any]:
    """The fields with what this suite gives where they say nothing: lengths of prompts, and a number of steps for
    ADALORA, which counts those of the run in its place."""
    known, more = defaults(kind), {}
    if "num_virtual_tokens" in known:
        length = PREFIX_LENGTH if kind in ("PREFIX_TUNING", "CARTRIDGE") else PROMPT_LENGTH
        more["num_virtual_tokens"] = len(settings.get("cpt_token_ids") or ()) or length
    if "encoder_hidden_size" in known:
        more["encoder_hidden_size"] = width
    if "total_step" in known:
        more["total_step"] = 10**9
    if "progressbar" in known:
        more["progressbar"] = False
    return {"task_type": task, **more, **settings}


def first_line(error: Exception) -> str:
    """The first line of an error's text, without its full stop, and the next one where it ends in a colon; the type of
    an error without text."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    says = " ".join(map(str.strip, lines[:2])) if lines[0].rstrip().endswith(":") else lines[0]
    return says.rstrip(".")[:300]
