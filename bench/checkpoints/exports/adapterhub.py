"""An adapter in the format of AdapterHub's `adapters`: `model.load_adapter(folder, use_safetensors=True)` loads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file
from torch import Tensor

from tunefront.bench.checkpoints.exports.form import Exportable
from tunefront.bench.checkpoints.exports.library import (
    SAMPLE_NAME,
    base_name,
    counterpart,
    write_head,
    write_json,
    write_sample,
)
from tunefront.bench.checkpoints.exports.tensors import write_manifest
from tunefront.bench.models.families.encoder import Encoder
from tunefront.methods.base import Exported, Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.checkpoints.stored import StoredCheckpoint
    from tunefront.bench.data.task import Task
    from tunefront.bench.models.families import Backbone

NAME = "tunefront"
"""The name of the adapter and of its head."""
VERSION = "adapters.1.3.0"
"""The release whose format is written; its loader translates older ones."""

_INSIDE = ((r"(.+)\.dropout", r"\1"),)
_BESIDE = {"attention": "attention_adapters", "cross": "cross_attention_adapters", "output": "output_adapters"}
_PLACES: Mapping[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(("bert", "roberta", "deberta-v2", "t5", "mt5"), _INSIDE),
    "distilbert": (
        (r"(.+)\.attention\.out_lin", rf"\1.{_BESIDE['attention']}"),
        (r"(.+)\.ffn\.lin2", rf"\1.{_BESIDE['output']}"),
    ),
    "gpt2": (
        (r"(.+)\.attn\.resid_dropout", rf"\1.{_BESIDE['attention']}"),
        (r"(.+)\.mlp\.dropout", rf"\1.{_BESIDE['output']}"),
    ),
    **dict.fromkeys(
        ("llama", "mistral"),
        (
            (r"(.+)\.self_attn\.o_proj", rf"\1.{_BESIDE['attention']}"),
            (r"(.+)\.mlp\.down_proj", rf"\1.{_BESIDE['output']}"),
        ),
    ),
    "bart": (
        (r"(.+)\.self_attn\.out_proj", rf"\1.{_BESIDE['attention']}"),
        (r"(.+)\.encoder_attn\.out_proj", rf"\1.{_BESIDE['cross']}"),
        (r"(.+)\.fc2", rf"\1.{_BESIDE['output']}"),
    ),
}
"""Where AdapterHub keeps the adapter that follows a module, by architecture: a regex of the module's whole path, and
what to put in its place."""

_ACTIVATIONS = {"Tanh": "tanh", "GELUActivation": "gelu", "ReLU": "relu"}
"""AdapterHub's names of transformers' activations in heads."""


class AdapterHub:
    """AdapterHub's `adapter_config.json` and `adapter.safetensors`, those of the head where it has one, the manifest,
    and a sample: its library needs another transformers than this suite, so what was written cannot be loaded here."""

    about = "an adapter of AdapterHub"

    def check(self, subject: Exportable) -> None:
        """Unsupported for what AdapterHub cannot express exactly."""
        adapter_tensors(subject)

    def write(self, fitted: Fitted, stored: StoredCheckpoint, folder: Path) -> list[str]:
        """Writes the adapter, and random rows with the fitted model's logits to compare with."""
        subject, backbone = Exportable.of(fitted), fitted.backbone
        exported = adapter_tensors(subject)
        common = {
            "hidden_size": int(backbone.model.config.hidden_size),
            "model_class": _model_class(backbone),
            "model_name": base_name(fitted),
            "model_type": backbone.model.config.model_type,
            "name": NAME,
            "version": VERSION,
        }
        write_json({**common, "config": dict(exported.config)}, folder / "adapter_config.json")
        _save(exported.tensors, folder / "adapter.safetensors")
        notes = [
            f"loads with load_adapter(folder, use_safetensors=True) of adapters {VERSION.partition('.')[2]}, which is "
            f"not run here: compare its logits with those in {SAMPLE_NAME}"
        ]
        if isinstance(backbone, Encoder):
            head = _head(backbone, fitted.task)
            if head is None:
                notes.append(write_head(backbone, folder))
            else:
                write_json({**common, "config": dict(head.config)}, folder / "head_config.json")
                _save(head.tensors, folder / "model_head.safetensors")
        write_sample(subject, folder)
        write_manifest(fitted, stored, folder)
        return notes


def adapter_tensors(subject: Exportable) -> Exported:
    """AdapterHub's configuration and tensors of a fitted method. Unsupported, with the reason, if it has none."""
    backbone, form = subject.backbone, counterpart(subject, "adapterhub")
    if form.also:
        raise Unsupported(
            f"AdapterHub's format has no place for the backbone's own trained parameters ({min(form.also)} first)"
        )
    architecture = str(backbone.model.config.model_type)
    if architecture not in _PLACES:
        raise Unsupported(f"AdapterHub's adapters has no model of its own for {architecture}")
    prefix = f"{backbone.model.base_model_prefix}." if isinstance(backbone, Encoder) else ""
    tensors = {f"{prefix}{_place(architecture, name)}": value for name, value in form.exported.tensors.items()}
    return Exported(form.exported.config, tensors)


def _place(architecture: str, name: str) -> str:
    """AdapterHub's name of a tensor, named by its host here. Unsupported if it has none there."""
    named = re.fullmatch(r"(.+)\.(adapter_(?:down\.0|up)\.\w+)", name)
    for pattern, place in _PLACES[architecture]:
        if named is not None and (match := re.fullmatch(pattern, named[1])):
            return f"{match.expand(place)}.adapters.{NAME}.{named[2]}"
    raise Unsupported(f"AdapterHub has no place for {name}")


def _model_class(backbone: Backbone) -> str:
    """The class of an encoder with adapters and heads; that of transformers for a language model."""
    name = type(backbone.model).__name__
    return f"{name.removesuffix('Model')}AdapterModel" if isinstance(backbone, Encoder) else name


def _head(backbone: Encoder, task: Task) -> Exported | None:
    """AdapterHub's configuration and tensors of a head; None for one that it does not have, as on a mean."""
    dense = backbone.head.dense is not None
    activation = _ACTIVATIONS.get(type(backbone.head.activation).__name__) if dense else None
    if backbone.pooling == "mean" or (dense and activation is None):
        return None
    names = [*(("dense",) if dense else ()), "output"]
    config: dict[str, Any] = {
        "head_type": "classification",
        "num_labels": task.outputs,
        "layers": len(names),
        "activation_function": activation,
        "label2id": {name: place for place, name in enumerate(task.label_names)} or None,
        "use_pooler": backbone.pooling == "pooler",
        "bias": True,
        "dropout_prob": backbone.head.dropout.p,
    }
    places = {"dense": 1, "output": 4 if dense else 1}  # a dropout before each layer, and an activation between
    tensors = {
        f"heads.{NAME}.{places[layer]}.{name}": value
        for layer in names
        for name, value in backbone.head.get_submodule(layer).named_parameters()
    }
    return Exported(config, tensors)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
