"""Finished adapters of peft: their files, and how their tensors get into a model."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Unsupported
from tunefront.methods.inject import has_values
from tunefront.methods.peft_configs import (
    ABOUT_A_MODEL,
    ADAPTER,
    READS_OTHERS,
    Wrapper,
    defaults,
    first_line,
    read_object,
    version,
    without,
)

log = logging.getLogger("tunefront")

CONFIG_FILE, TENSORS_FILE, PICKLE_FILE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
"""The files of a finished adapter; the third is the old form, a pickle, which may run code when it is read."""
_PREFIX = "base_model.model."
"""What the names of a model's tensors begin with in a file. What is shared by all modules, and a head beside a prompt,
have only the first part of it."""
_HEADS = re.compile(r"(?:classifier|score|pre_classifier)(?:\.(?:out_proj|dense))?\.(?:weight|bias)")
"""The tensors of transformers' classification heads, which stand outside of the pretrained model."""


def read_adapter(folder: Path) -> tuple[str, dict[str, Any]]:
    """The type and the fields of a finished adapter; fields that a newer peft has and this one lacks are left out."""
    check_adapter(folder)
    settings = _config_in(folder)
    kind = settings.get("peft_type")
    if not isinstance(kind, str):
        raise ValueError(f"{folder / CONFIG_FILE} has no peft_type, so it is no configuration of peft")
    known = defaults(kind)
    newer = sorted(settings.keys() - known.keys() - {"runtime_config"})
    if newer:
        log.warning("%s has fields that peft %s does not know: %s", folder / CONFIG_FILE, version(), ", ".join(newer))
    starts = [name for name in settings if name.startswith("prompt_tuning_init")]  # how it began, not what it became
    return kind, without((*ABOUT_A_MODEL, *READS_OTHERS, *starts, *newer, "peft_type"), settings)


def _config_in(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        return read_object(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error


def check_adapter(folder: Path) -> None:
    """ValueError unless the folder has the two files of a finished adapter."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}, seen from {Path.cwd()}; give a finished adapter of peft")
    if not folder.joinpath(CONFIG_FILE).is_file():
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise ValueError(f"{folder} is no adapter of peft: it has no {CONFIG_FILE}, only {found}")
    if folder.joinpath(TENSORS_FILE).is_file():
        _check_tensors(folder / TENSORS_FILE)
        return
    if folder.joinpath(PICKLE_FILE).is_file():
        raise ValueError(
            f"{folder} has its tensors only in {PICKLE_FILE}, a pickle, which may run code when it is read: save it "
            "again with PeftModel.save_pretrained(), where you trust it, which writes safetensors"
        )
    raise ValueError(f"{folder} has no {TENSORS_FILE}, so it is no finished adapter")


def _check_tensors(path: Path) -> None:
    """ValueError unless the file has a whole header and all of the tensors that it lists."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error})") from error


def tensors_of(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a finished adapter by their names in this model. peft's names are those in a model with a head
    around the pretrained one; an encoder here is the pretrained model itself."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    inner = f"{model.base_model_prefix}." if getattr(model, "base_model", None) is model else ""
    names: dict[str, Tensor]
    if has_values(next(model.parameters())):
        names = load_file(folder / TENSORS_FILE)
    else:  # a forecast, whose tensors have shapes alone
        with safe_open(folder / TENSORS_FILE, framework="pt") as file:
            names = {name: torch.empty(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # not a mapping
    return {_own_name(name).removeprefix(inner): tensor for name, tensor in names.items()}


def _own_name(name: str) -> str:
    """The name of a tensor in the model that was adapted; that of what all modules share stays as it is in the file."""
    head = name.removeprefix("base_model.")
    return head if _HEADS.fullmatch(head) else name.removeprefix(_PREFIX)


def take_heads(config: Any, tensors: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Takes the tensors of a classification head out of those of an adapter, and its modules out of those that the
    configuration saves whole."""
    heads = {name: tensors.pop(name) for name in list(tensors) if _HEADS.fullmatch(name)}
    if heads and getattr(config, "modules_to_save", None):
        paths = {path.rpartition(".")[2] for path, _ in model.named_modules()}
        config.modules_to_save = [name for name in config.modules_to_save if name in paths] or None
    return heads


def load(wrapper: Wrapper, tensors: dict[str, Tensor], folder: str) -> None:
    """Copies a finished adapter into the modules that peft has attached. Unsupported unless it has a tensor for each
    parameter that they train, and no others."""
    import peft

    model = wrapper.get_base_model()
    config: Any = wrapper.peft_config[ADAPTER]
    if config.is_prompt_learning:
        others = tensors.keys() - peft.get_peft_model_state_dict(wrapper).keys()
        if others:
            raise Unsupported(misfit(folder, model, f"the model has no place for {_count(others)}"))
        try:
            peft.set_peft_model_state_dict(wrapper, tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise Unsupported(misfit(folder, model, first_line(error))) from error
        return
    trained = {name for name, parameter in wrapper.named_parameters() if parameter.requires_grad}
    try:
        stored = {name if name.startswith("base_model.") else _PREFIX + name: value for name, value in tensors.items()}
        result = peft.set_peft_model_state_dict(wrapper, stored)
    except (KeyError, RuntimeError, ValueError) as error:
        raise Unsupported(misfit(folder, model, first_line(error))) from error
    if result.unexpected_keys:
        raise Unsupported(misfit(folder, model, f"the model has no place for {_count(result.unexpected_keys)}"))
    missing = trained & set(result.missing_keys)
    if missing:
        raise Unsupported(misfit(folder, model, f"it lacks {_count(missing)}"))


def compare_names(folder: str, model: nn.Module) -> None:
    """Says in the log if a finished adapter names another model than this one; only its tensors decide if it fits."""
    settings = _config_in(Path(folder).expanduser())
    named, own = settings.get("base_model_name_or_path"), str(getattr(model.config, "name_or_path", "") or "")
    if named and own and Path(str(named)).name.lower() != Path(own).name.lower():
        log.warning("the adapter in %s was trained on %s; here it is scored on %s", folder, named, own)


def load_head(backbone: Backbone, tensors: Mapping[str, Tensor], folder: str) -> None:
    """Copies an adapter's classification head into the backbone's; Unsupported unless that has the same layers and
    reads the same state."""
    head, sites = backbone.head, backbone.sites
    assert head is not None
    own = dict(head.named_parameters())
    stored = {_head_name(name, len(own) > 2): tensor for name, tensor in tensors.items()}
    pooling = getattr(backbone, "pooling", sites.pooling)
    if pooling != sites.pooling:
        why = f"its head was trained on the published pooling ({sites.pooling}), and this backbone pools by {pooling}"
        raise Unsupported(misfit(folder, backbone.model, why))
    if not stored:
        why = "it has no classification head, and without training there is none to score with"
        raise Unsupported(misfit(folder, backbone.model, why))
    if {name: tensor.shape for name, tensor in stored.items()} != {name: value.shape for name, value in own.items()}:
        shapes = ["; ".join(f"{n} {tuple(t.shape)}" for n, t in sorted(part.items())) for part in (stored, own)]
        raise Unsupported(misfit(folder, backbone.model, f"its head has {shapes[0]}, and the task's head {shapes[1]}"))
    with torch.no_grad():
        for name, tensor in stored.items():
            own[name].copy_(tensor)
    head.requires_grad_(True)


def _head_name(name: str, dense: bool) -> str:
    """The name of a tensor of transformers' classification heads in a head of this suite."""
    layer, _, kind = name.rpartition(".")
    first = dense and (layer.endswith(".dense") or layer == "pre_classifier")
    return f"{'dense' if first else 'output'}.{kind}"


def misfit(folder: str, model: nn.Module, why: str) -> str:
    """Why an adapter does not fit a model."""
    return f"the adapter in {folder} does not fit {title(model)}: {why}"


def _count(names: Collection[str]) -> str:
    return f"{len(names)} {'tensor' if len(names) == 1 else 'tensors'} ({min(names).removeprefix(_PREFIX)})"


def title(model: nn.Module) -> str:
    """A model's class, for messages."""
    return type(model).__name__
