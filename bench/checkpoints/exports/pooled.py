"""An encoder with its pooling and head as a folder of sentence-transformers: the embedding of a text is its logits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tunefront.methods.base import Unsupported

if TYPE_CHECKING:
    from pathlib import Path

    from tunefront.bench.models.families.encoder import Encoder

POOLINGS = {"mean": "pooling_mode_mean_tokens", "first": "pooling_mode_cls_token"}
"""The poolings of a head, and how sentence-transformers has called them in every version."""
_ACTIVATIONS = {"Tanh": nn.Tanh, "GELUActivation": nn.GELU, "ReLU": nn.ReLU}
"""transformers' activations, and torch's own that compute the same: others would be code to trust."""
_POOLING, _WEIGHTS = "1_Pooling", "model.safetensors"


def check_pooled(backbone: Encoder) -> None:
    """Unsupported for a pooling or an activation that sentence-transformers has not."""
    if backbone.pooling not in POOLINGS:
        raise Unsupported(f"sentence-transformers has no pooling like {backbone.pooling}")
    activation = type(backbone.head.activation).__name__
    if backbone.head.dense is not None and activation not in _ACTIVATIONS:
        raise Unsupported(f"sentence-transformers has no dense layer with {activation}")


def write_pooled(backbone: Encoder, folder: Path) -> None:
    """Adds the pooling, and a dense layer for each layer of the head, to the folder of a model."""
    names = ["", _POOLING]
    kinds = ["Transformer", "Pooling"]
    _write(folder / _POOLING / "config.json", _pooling(backbone))
    for number, (layer, activation) in enumerate(_layers(backbone), len(names)):
        place = f"{number}_Dense"
        _write(folder / place / "config.json", _dense(layer, activation))
        tensors = {f"linear.{name}": value.detach().cpu().contiguous() for name, value in layer.named_parameters()}
        save_file(tensors, folder / place / _WEIGHTS, {"format": "pt"})
        names.append(place)
        kinds.append("Dense")
    modules = [
        {"idx": place, "name": str(place), "path": name, "type": f"sentence_transformers.models.{kind}"}
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    _write(folder / "modules.json", modules)


def pooled_logits(folder: Path, backbone: Encoder, inputs: dict[str, Tensor]) -> Tensor:
    """The logits (rows, outputs) of the files alone: transformers' own model, the pooling and the dense layers."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
        pooled: Tensor = states.mean(1) if backbone.pooling == "mean" else states[:, 0]
        for place in sorted(folder.glob("*_Dense")):
            stored, activation = load_file(place / _WEIGHTS), json.loads((place / "config.json").read_text())
            function = getattr(nn, activation["activation_function"].rsplit(".", 1)[-1])()
            pooled = function(nn.functional.linear(pooled, stored["linear.weight"], stored["linear.bias"]))
    return pooled


def _layers(backbone: Encoder) -> list[tuple[nn.Linear, type[nn.Module]]]:
    head = backbone.head
    first = [] if head.dense is None else [(head.dense, _ACTIVATIONS[type(head.activation).__name__])]
    return [*first, (head.output, nn.Identity)]


def _pooling(backbone: Encoder) -> dict[str, Any]:  # Any: numbers and flags
    flags = {flag: pooling == backbone.pooling for pooling, flag in POOLINGS.items()}
    return {"word_embedding_dimension": backbone.width, **flags}


def _dense(layer: nn.Linear, activation: type[nn.Module]) -> dict[str, Any]:  # Any: as above
    return {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": True,
        "activation_function": f"{activation.__module__}.{activation.__name__}",
    }


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
