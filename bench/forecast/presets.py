"""Configurations of well-known models by name, or from a file; and models of their shape that hold no numbers."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.errors import UserError, unknown
from tunefront.bench.models.config_files import check, described, make, read, sites_known, unusable
from tunefront.bench.models.gguf.names import is_gguf

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Preset:
    """A published model's sizes; presets.toml says where they come from.

    Args: config, the fields that differ from the default of transformers' configuration of `model_type`; source, the
    paper and table; printed, how it rounds the parameters; params, those of the published checkpoint as this suite
    loads it, None where none is public; aliases, further names.
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
    """The presets by every name that they have."""
    tables = tomllib.loads(files(__package__).joinpath("presets.toml").read_text("utf-8"))
    found = [Preset(name, **{**table, "aliases": tuple(table.get("aliases", ()))}) for name, table in tables.items()]
    return {name: preset for preset in found for name in (preset.name, *preset.aliases)}


def config_of(name_or_path: str) -> PretrainedConfig:
    """The configuration that a preset's name, the path of a config.json or a folder with one stands for.

    Errors: UserError for an unknown name, a file that cannot be read, an architecture without sites, a configuration
    that needs code of its own, which is never run, quantised weights, and fields that do not go together.
    """
    place = find(name_or_path)
    if isinstance(place, Preset):
        return make(place.model_type, place.config, f"the configuration {name_or_path}")
    config = make(*read(place), f"the configuration {place}")
    config.name_or_path = str(place)  # what an error names
    try:
        check(config)
    except UserError:
        raise
    except Exception as error:  # of a configuration that transformers took, and that lacks what it should have
        raise unusable(f"the configuration {place} cannot be used", error, {}) from error
    return config


def find(name_or_path: str) -> Preset | Path:
    """The preset of that name, or the path of the config.json that is meant; no library is needed for it.

    Errors: UserError for an unknown name, and where there is no such file.
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
        raise UserError(f"there is no file {name_or_path}; give the path of a config.json, or the name of a preset.")
    elif not path.is_file():
        how = "Or give the path of a config.json, or of a folder with one: weights are not needed."
        raise UserError(unknown("preset", name_or_path, presets(), how))
    return path


def same_letters(name: str) -> str | None:
    """The preset that a name differs from in capitals and punctuation only; None where there is none, or it is one.

    >>> same_letters("T0_3B"), same_letters("t0-3b"), same_letters("t0")
    ('t0-3b', None, None)
    """

    def letters(text: str) -> str:
        return "".join(character for character in text.lower() if character.isalnum())

    known = presets()
    return None if name in known else next((one for one in known if letters(one) == letters(name)), None)


def is_file(name: str) -> bool:
    """Whether a backbone of this name is somebody's config.json, or a folder with one and no tokenizer."""
    path = Path(name).expanduser()
    return (
        name not in presets() and path.exists() and not (path / "tokenizer_config.json").exists() and not is_gguf(name)
    )


def fake_model(config: PretrainedConfig) -> PreTrainedModel:
    """A model of this configuration whose parameters and buffers are fake tensors: shapes and dtypes, no memory.

    It is what `models.pretrained` would load: of the family's class, in float32, with a pooler only where a head reads
    it, and with an output layer of its own where the published checkpoints have one. What is plugged into it, or run
    through it, must be made inside `with faking(model): ...`.
    Errors: UserError where no model can be made of the configuration.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    sites = sites_known(config.model_type)
    check(config)
    config._attn_implementation = None  # transformers' own for the architecture; a name could be that of code to fetch
    kinds = {"encoder": AutoModel, "decoder": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}
    try:
        with torch.device("meta"):  # transformers initialises nothing there, and is ten times as quick as a fake mode
            model = kinds[sites.family].from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # its kind depends on the field, the architecture and transformers' version
        raise unusable(f"no model can be made of {described(config)}", error, config.to_dict()) from error
    if sites.pooling != "pooler" and getattr(model, "pooler", None) is not None:
        model.pooler = None
    if unties(config):
        output = model.get_output_embeddings()
        output.weight = torch.nn.Parameter(torch.empty_like(output.weight))
    _make_fake(model)
    return model.requires_grad_(True).eval()


@contextmanager
def faking(model: PreTrainedModel) -> Iterator[None]:
    """What is plugged into a fake model, or run through it, is fake too inside this block."""
    from tunefront.methods.torch_internals import NoValues

    with next(model.parameters()).fake_mode, NoValues():
        yield


def _make_fake(model: PreTrainedModel) -> None:
    """Puts a fake tensor in the place of each of a model's tensors; one that stands in two places stays one."""
    from tunefront.methods.torch_internals import ForgetfulMode, fake_like, own_buffers, own_parameters

    mode = ForgetfulMode()
    made: dict[int, tuple[Tensor, Tensor]] = {}
    for module in model.modules():
        own: Sequence[dict[str, Any]] = own_parameters(module), own_buffers(module)  # Any: tensors of two kinds
        for tensors in own:
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    fake = fake_like(tensor, mode)
                    made[id(tensor)] = tensor, fake  # the tensor too: an id is its own only as long as it lives
                tensors[name] = made[id(tensor)][1]


def unties(config: PretrainedConfig) -> bool:
    """Whether checkpoints hold an output layer that transformers ties in every model it makes from a configuration.

    Those of T5 v1.1 and mT5 do; of T5, only v1.0 scales the states that its tied output layer reads.
    """
    return config.model_type == "mt5" or getattr(config, "scale_decoder_outputs", True) is False
