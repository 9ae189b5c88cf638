"""peft's side: its own implementation of a method, with our weights and trained values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tunefront.bench.models.families import Backbone
from tunefront.methods.base import Method

if TYPE_CHECKING:
    from peft import PeftModel

Tensors = Mapping[str, Tensor]
ADAPTER = "default"
"""peft's name of an adapter without a name."""


@dataclass(frozen=True)
class Counterpart:
    """One of our methods, as configured in peft.

    Args: config_class, the name of its configuration class; config, the arguments of the configuration for a method on
    a backbone; rearrange, gives our trained tensors peft's names and shapes (for values and gradients: only reshaping,
    transposing and concatenation); prompted, whether it is a prompt method of peft, which runs in the wrapper of the
    model and not inside the model.
    """

    config_class: str
    config: Callable[[Backbone, Any], dict[str, Any]]
    rearrange: Callable[[Backbone, Tensors], dict[str, Tensor]]
    prompted: bool = False


def peft_model(backbone: Backbone, method: Method, targets: bool = True) -> PeftModel:
    """The backbone's model with peft's implementation of the method; also changes the backbone's own model.

    With `targets` false, peft uses its default target modules. Errors: ValueError if it has no default.
    """
    import peft

    counterpart = COUNTERPARTS[method.name]
    backbone.freeze()
    task_type = {"encoder": None, "decoder": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}[backbone.sites.family]
    arguments = counterpart.config(backbone, method)
    if not targets:
        arguments = {name: value for name, value in arguments.items() if not name.endswith("_modules")}
    with without_warnings():
        return peft.get_peft_model(
            backbone.model, getattr(peft, counterpart.config_class)(task_type=task_type, **arguments)
        )


def trained_tensors(model: PeftModel) -> dict[str, Tensor]:
    """The tensors that peft trains, by name; inside the model, without the name of the wrapper."""
    return {
        name.removeprefix("base_model.model."): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def copy_values(model: PeftModel, values: Tensors) -> None:
    """Copies values to the tensors that peft trains. Errors: AssertionError if names or shapes differ."""
    trained = trained_tensors(model)
    assert trained.keys() == values.keys(), f"peft trains {sorted(trained)}, but this suite trains {sorted(values)}"
    with torch.no_grad():
        for name, tensor in trained.items():
            assert tensor.shape == values[name].shape, f"{name} is {tensor.shape} in peft and {values[name].shape} here"
            tensor.copy_(values[name])


def by_default(backbone: Backbone, method: Method, values: Tensors) -> str:
    """The places that peft's default target modules add to those of `values`, and those that they leave out."""
    if COUNTERPARTS[method.name].prompted:
        return ""
    try:
        default = _places(trained_tensors(peft_model(backbone, method, targets=False)))
    except ValueError:
        return "none"
    expected = _places(values)
    parts = ("also " + ", ".join(sorted(default - expected)), "not " + ", ".join(sorted(expected - default)))
    return "; ".join(part for part in parts if " " in part.strip()) or "the same"


def _places(names: Iterable[str]) -> set[str]:
    """The modules that contain the trained tensors of peft, without their block."""
    hosts = {re.split(r"\.(?:ia3_l|lora_[AB]|ln_tuning_layers)\.", name)[0] for name in names}
    return {re.sub(r".*\.\d+\.", "", host) for host in hosts}


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignores warnings: peft uses deprecated names of transformers in every call."""
    with warnings.catch_warnings(action="ignore"):
        yield


def _ia3_config(backbone: Backbone, method: Method) -> dict[str, Any]:
    """Full sites. By default peft matches suffixes, and `output.dense` in BERT also matches attention, whose input
    would get a fourth vector per block."""
    sites = backbone.sites
    return {
        "target_modules": "|".join(f"({site})" for site in (sites.key, sites.value, sites.ffn_down)),
        "feedforward_modules": sites.ffn_down,
    }


def _ia3_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """A vector is a row before its layer and a column after it."""
    from tunefront.methods.inject import matching

    before = matching(backbone.model, backbone.sites.ffn_down)
    tensors = {}
    for name, scale in ours.items():
        host = name.removesuffix(".ia3.scale")
        tensors[f"{host}.ia3_l.{ADAPTER}"] = scale.reshape((1, -1) if host in before else (-1, 1))
    return tensors


def _lora_config(backbone: Backbone, method: Any) -> dict[str, Any]:
    sites = backbone.sites
    every = sites.linears if method.sites == "every" else f"({sites.query})|({sites.value})"
    return {"r": method.rank, "lora_alpha": method.alpha, "lora_dropout": method.dropout, "target_modules": every}


def _lora_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    parts = {".lora.down.weight": "lora_A", ".lora.up.weight": "lora_B"}
    tensors = {}
    for name, tensor in ours.items():
        suffix = next(suffix for suffix in parts if name.endswith(suffix))
        tensors[f"{name.removesuffix(suffix)}.{parts[suffix]}.{ADAPTER}.weight"] = tensor
    return tensors


def _norms_config(backbone: Backbone, method: Method) -> dict[str, Any]:
    return {"target_modules": backbone.sites.norms}


def _norms_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """peft trains copies of the norms."""
    parts = {name: name.rpartition(".") for name in ours}
    return {f"{host}.ln_tuning_layers.{ADAPTER}.{part}": ours[name] for name, (host, _, part) in parts.items()}


PROMPT = f"prompt_encoder.{ADAPTER}"


def _prompt_config(backbone: Backbone, method: Any) -> dict[str, Any]:
    return {"num_virtual_tokens": method.length, "prompt_tuning_init": "RANDOM"}


def _prompt_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """The prompt of a decoder. peft's encoders pool a virtual token; its encoder-decoders train two prompts but read
    only that of the encoder."""
    return {f"{PROMPT}.embedding.weight": ours["lead.prompts.decoder"]}


def _prefix_config(backbone: Backbone, method: Any) -> dict[str, Any]:
    detour = {"prefix_projection": True, "encoder_hidden_size": method.hidden} if method.hidden else {}
    return {"num_virtual_tokens": method.length, **detour}


def _prefix_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """The concatenated keys and values of all blocks; or the embeddings and layers of a detour, unchanged."""
    detour = {"embeddings": "embedding.weight", "inner": "transform.0", "outer": "transform.2"}
    tensors = {}
    for name, tensor in ours.items():
        if name.startswith("lead.detours.0."):
            part, _, kind = name.removeprefix("lead.detours.0.").partition(".")
            tensors[".".join(filter(None, (PROMPT, detour[part], kind)))] = tensor
    blocks = [ours[f"lead.states.{block}"] for block in range(len(ours) - len(tensors))]
    return tensors or {f"{PROMPT}.embedding.weight": torch.cat(blocks, dim=1)}


COUNTERPARTS: dict[str, Counterpart] = {
    "ia3": Counterpart("IA3Config", _ia3_config, _ia3_tensors),
    "lora": Counterpart("LoraConfig", _lora_config, _lora_tensors),
    "layernorm": Counterpart("LNTuningConfig", _norms_config, _norms_tensors),
    "prompt_tuning": Counterpart("PromptTuningConfig", _prompt_config, _prompt_tensors, prompted=True),
    "prefix_tuning": Counterpart("PrefixTuningConfig", _prefix_config, _prefix_tensors, prompted=True),
}
"""By the names of our methods."""
