"""peft's side: its own implementation of a method on the same weights, with the values that ours has."""

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
"""What peft calls an adapter that is given no name."""


@dataclass(frozen=True)
class Counterpart:
    """How peft writes one of our methods.

    Args: config, the arguments of its configuration for a method on a backbone; rearrange, what our trained tensors are
    by peft's names and in peft's shapes (values and gradients alike: only reshaping, transposing and concatenation);
    config_class, the name of its configuration's class; prompted, whether it is one of peft's prompt methods, which are
    run through the model's wrapper and not inside the model.
    """

    config_class: str
    config: Callable[[Backbone, Any], dict[str, Any]]
    rearrange: Callable[[Backbone, Tensors], dict[str, Tensor]]
    prompted: bool = False


def peft_model(backbone: Backbone, method: Method, targets: bool = True) -> PeftModel:
    """The backbone's model under peft's implementation of the method; the backbone's own model is changed, too.

    With `targets` false peft takes the modules that it targets by default. Errors: ValueError where it has no default.
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
    """What peft trains, by name; without the wrapper's part of the name where it is inside of the model."""
    return {
        name.removeprefix("base_model.model."): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def copy_values(model: PeftModel, values: Tensors) -> None:
    """Gives what peft trains these values. Errors: AssertionError unless they are just its tensors, in its shapes."""
    found = trained_tensors(model)
    assert found.keys() == values.keys(), f"peft trains {sorted(found)}, and this suite {sorted(values)}"
    with torch.no_grad():
        for name, tensor in found.items():
            assert tensor.shape == values[name].shape, f"{name} is {tensor.shape} in peft and {values[name].shape} here"
            tensor.copy_(values[name])


def by_default(backbone: Backbone, method: Method, values: Tensors) -> str:
    """In a few words, what peft's default target modules add to these values' places, and what they leave out."""
    if COUNTERPARTS[method.name].prompted:
        return ""
    try:
        found = _places(trained_tensors(peft_model(backbone, method, targets=False)))
    except ValueError:
        return "none"
    expected = _places(values)
    parts = ("also " + ", ".join(sorted(found - expected)), "not " + ", ".join(sorted(expected - found)))
    return "; ".join(part for part in parts if " " in part.strip()) or "the same"


def _places(names: Iterable[str]) -> set[str]:
    """The modules that what peft trains belongs to, without their block."""
    hosts = {re.split(r"\.(?:ia3_l|lora_[AB]|ln_tuning_layers)\.", name)[0] for name in names}
    return {re.sub(r".*\.\d+\.", "", host) for host in hosts}


@contextmanager
def without_warnings() -> Iterator[None]:
    """peft uses names that transformers calls deprecated, and says so in every call."""
    with warnings.catch_warnings(action="ignore"):
        yield


def _ia3_config(backbone: Backbone, method: Method) -> dict[str, Any]:
    """Sites in full. By default peft matches the ends of names, and `output.dense` of BERT is attention's, too: its
    input gets a fourth vector a block."""
    sites = backbone.sites
    return {
        "target_modules": "|".join(f"({site})" for site in (sites.key, sites.value, sites.ffn_down)),
        "feedforward_modules": sites.ffn_down,
    }


def _ia3_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """A vector is a row before the layer that it rescales, and a column after it."""
    from tunefront.methods.inject import matching

    before = matching(backbone.model, backbone.sites.ffn_down)
    found = {}
    for name, scale in ours.items():
        host = name.removesuffix(".ia3.scale")
        found[f"{host}.ia3_l.{ADAPTER}"] = scale.reshape((1, -1) if host in before else (-1, 1))
    return found


def _lora_config(backbone: Backbone, method: Any) -> dict[str, Any]:
    sites = backbone.sites
    every = sites.linears if method.sites == "every" else f"({sites.query})|({sites.value})"
    return {"r": method.rank, "lora_alpha": method.alpha, "lora_dropout": method.dropout, "target_modules": every}


def _lora_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    parts = {".lora.down.weight": "lora_A", ".lora.up.weight": "lora_B"}
    found = {}
    for name, tensor in ours.items():
        end = next(end for end in parts if name.endswith(end))
        found[f"{name.removesuffix(end)}.{parts[end]}.{ADAPTER}.weight"] = tensor
    return found


def _norms_config(backbone: Backbone, method: Method) -> dict[str, Any]:
    return {"target_modules": backbone.sites.norms}


def _norms_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """It trains copies of the norms."""
    parts = {name: name.rpartition(".") for name in ours}
    return {f"{host}.ln_tuning_layers.{ADAPTER}.{part}": ours[name] for name, (host, _, part) in parts.items()}


PROMPT = f"prompt_encoder.{ADAPTER}"


def _prompt_config(backbone: Backbone, method: Any) -> dict[str, Any]:
    return {"num_virtual_tokens": method.length, "prompt_tuning_init": "RANDOM"}


def _prompt_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """Of a decoder. On an encoder peft's models pool a virtual token, and of an encoder-decoder's two prompts they
    train both and read the encoder's alone."""
    return {f"{PROMPT}.embedding.weight": ours["lead.prompts.decoder"]}


def _prefix_config(backbone: Backbone, method: Any) -> dict[str, Any]:
    detour = {"prefix_projection": True, "encoder_hidden_size": method.hidden} if method.hidden else {}
    return {"num_virtual_tokens": method.length, **detour}


def _prefix_tensors(backbone: Backbone, ours: Tensors) -> dict[str, Tensor]:
    """Keys and values of all blocks beside one another; of a detour, its embeddings and layers as they are."""
    detour = {"embeddings": "embedding.weight", "inner": "transform.0", "outer": "transform.2"}
    found = {}
    for name, tensor in ours.items():
        if name.startswith("lead.detours.0."):
            part, _, kind = name.removeprefix("lead.detours.0.").partition(".")
            found[".".join(filter(None, (PROMPT, detour[part], kind)))] = tensor
    blocks = [ours[f"lead.states.{place}"] for place in range(len(ours) - len(found))]
    return found or {f"{PROMPT}.embedding.weight": torch.cat(blocks, dim=1)}


COUNTERPARTS: dict[str, Counterpart] = {
    "ia3": Counterpart("IA3Config", _ia3_config, _ia3_tensors),
    "lora": Counterpart("LoraConfig", _lora_config, _lora_tensors),
    "layernorm": Counterpart("LNTuningConfig", _norms_config, _norms_tensors),
    "prompt_tuning": Counterpart("PromptTuningConfig", _prompt_config, _prompt_tensors, prompted=True),
    "prefix_tuning": Counterpart("PrefixTuningConfig", _prefix_config, _prefix_tensors, prompted=True),
}
"""By our methods' names."""
