"""Configurations of well-known models by name or from a file, and fake models of their shape."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.models.architectures import is_recorded, known_sites
from tunefront.bench.models.config_files import check, config_error, describe, make, read
from tunefront.bench.models.constants import keep_constants
from tunefront.bench.models.gguf.names import is_gguf

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Preset:
    """The sizes of a published model; presets.toml has their sources.

    Args: config, the fields that differ from transformers' default for `model_type`; source, the paper and table;
    printed, the rounded number of parameters there; params of the published checkpoint as this suite loads it, None if
    it is not public; aliases, further names.
    """

    name: str
    model_type: str
    config: Mapping[str, Any] = field(hash=False)  # Any: as in a config.json
    source: str
    printed: str
    params: int | None = None
    aliases: tuple[str, ...] = ()


@functools.cache
def presets() -> dict[str, Preset]:
    """The presets by name and alias."""
    tables = tomllib.loads(files(__package__).joinpath("presets.toml").read_text("utf-8"))
    entries = [Preset(name, **{**table, "aliases": tuple(table.get("aliases", ()))}) for name, table in tables.items()]
    return {name: preset for preset in entries for name in (preset.name, *preset.aliases)}


def config_of(name_or_path: str) -> PretrainedConfig:
    """The configuration of a preset, of a config.json or of a folder with one.

    Errors: UserError for an unknown name, an unreadable file, an architecture that is no language model, a
    configuration that needs its own code (which is never run), quantised weights, and inconsistent fields.
    """
    source = find(name_or_path)
    if isinstance(source, Preset):
        return make(source.model_type, source.config, f"the configuration {name_or_path}")
    config = make(*read(source), f"the configuration {source}")
    config.name_or_path = str(source)  # named in errors
    try:
        check(config)
    except UserError:
        raise
    except Exception as error:  # transformers accepted the configuration, but fields are missing
        raise config_error(f"the configuration {source} cannot be used", error, {}) from error
    return config


def find(name_or_path: str) -> Preset | Path:
    """The preset of that name, or the path of the config.json; imports no library.

    Errors: UserError for an unknown name and for a missing file.
    """
    preset = presets().get(name_or_path)
    if preset is not None:
        return preset
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        path = path / "config.json"
        if not path.is_file():
            raise UserError(
                f"the folder {name_or_path} has no config.json; give a folder saved with save_pretrained()."
            )
    elif path.suffix == ".json" and not path.is_file():
        raise UserError(f"there is no file {name_or_path}; give the path of a config.json or the name of a preset.")
    elif not path.is_file():
        how = "Or give the path of a config.json or of a folder with one; weights are not needed."
        raise UserError(unknown("preset", name_or_path, presets(), how))
    return path


def same_letters(name: str) -> str | None:
    """The preset with the same letters and digits, ignoring case and punctuation; None if there is none or it is exact.

    >>> same_letters("T0_3B"), same_letters("t0-3b"), same_letters("t0")
    ('t0-3b', None, None)
    """

    def letters(text: str) -> str:
        return "".join(character for character in text.lower() if character.isalnum())

    known = presets()
    return None if name in known else next((preset for preset in known if letters(preset) == letters(name)), None)


def is_file(name: str) -> bool:
    """Whether a backbone of this name is a user's config.json, or a folder with one and no tokenizer."""
    path = Path(name).expanduser()
    return (
        name not in presets() and path.exists() and not (path / "tokenizer_config.json").exists() and not is_gguf(name)
    )


def fake_model(config: PretrainedConfig) -> PreTrainedModel:
    """A model of this configuration whose parameters and buffers are fake tensors: shapes and dtypes, no memory.

    Equals the model that `models.pretrained` would load: the class of the family, in float32, with a pooler only if a
    head reads it, and with an untied output layer if the published checkpoints have one. Make plugs and run the model
    inside `with faking(model): ...`.
    Errors: UserError if the configuration makes no model.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from tunefront.methods.torch_internals import make_fake

    sites = known_sites(config.model_type)
    check(config)
    config._attn_implementation = None  # transformers' default; a name could make it download code
    kinds = {"encoder": AutoModel, "decoder": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}
    try:
        with torch.device("meta"):  # no initialisation there, ten times as fast as a fake mode
            model = kinds[sites.family].from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # the type depends on the field, the architecture and transformers' version
        raise config_error(f"no model can be made of {describe(config)}", error, config.to_dict()) from error
    if is_recorded(sites) and sites.pooling != "pooler" and getattr(model, "pooler", None) is not None:
        model.pooler = None
    if unties(config):
        output = model.get_output_embeddings()
        output.weight = torch.nn.Parameter(torch.empty_like(output.weight))
    keep_constants(model)
    make_fake(model)
    return model.requires_grad_(True).eval()


@contextmanager
def faking(model: PreTrainedModel) -> Iterator[None]:
    """Inside this block, plugs made for a fake model are fake, and the model can run."""
    from tunefront.methods.torch_internals import NoValues

    with next(model.parameters()).fake_mode, NoValues():
        yield


def unties(config: PretrainedConfig) -> bool:
    """Whether checkpoints have an untied output layer, although transformers ties it in models from a configuration.

    This holds for T5 v1.1, mT5 and UMT5. T5 v1.0, unlike v1.1, scales the input of its tied output layer.
    """
    return config.model_type in ("mt5", "umt5") or getattr(config, "scale_decoder_outputs", True) is False
