"""Backbones of a configuration alone: what `bench.backbones` makes of weights, made of tensors without values."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.backbones import Pooled, config_at, family_for, folder_pooling, sites_of, tokenizer_of
from bench.blueprints import Blueprint
from bench.errors import Mistake
from bench.families import Backbone, Prompting
from bench.forecast.made_up import Lengths
from bench.forecast.presets import config_of, fake_mode, fake_model, presets
from bench.locations import known_backbones, locate
from bench.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class Zeros(TorchDispatchMode):
    """Answers for tensors without values: what is asked of one is zero, or no. So that initial values may be drawn
    until all are in range, say, and a rate may follow from the size of a weight."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # Any: as torch's
        if func is torch.ops.aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            dtype = args[0].dtype
            return False if dtype == torch.bool else 0.0 if dtype.is_floating_point else 0
        return func(*args, **(kwargs or {}))


class Outline:
    """A pretrained model without its weights, from which pristine backbones are made (see `backbones.Pretrained`).

    Args: name, a backbone as anywhere else, a preset, or the path of a config.json; lengths, of made-up rows, whose
    tokenizer takes the place of the backbone's; None where rows are real and the backbone has one.
    """

    def __init__(self, name: str, lengths: Lengths | None = None):
        folder = _folder(name)
        self.config = config_of(name) if folder is None else config_at(name)
        self.name, self.sites = name, sites_of(self.config, name)
        self._head_activation = self.sites.head_activation
        self.pooling: str | None = self.sites.pooling if self.sites.family == "encoder" else None
        if folder is not None and self.sites.family == "encoder":
            self._as_in(folder)
        self._lengths = lengths
        self._model = fake_model(self.config)
        if self.pooling != "pooler" and getattr(self._model, "pooler", None) is not None:
            self._model.pooler = None
        self._mode = fake_mode(self._model)
        self._tensors: list[Tensor] = [*self._model.parameters(), *self._model.buffers()]
        self._blueprint = Blueprint(self._model, self._tensors)
        self.params = sum(parameter.numel() for parameter in self._model.parameters())

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The backbone's own, or the made-up rows'."""
        if self._lengths is None:
            return tokenizer_of(self.name)
        return self._lengths.tokenizer(self.sites.family, self.config)

    def pristine(
        self, task: Task, seed: int, dropout: float | None = None, prompting: Prompting | None = None
    ) -> Backbone:
        """A backbone of this shape; its parameters have no values, and a run through it moves none."""
        fresh = [
            nn.Parameter(tensor.detach(), tensor.requires_grad) if isinstance(tensor, nn.Parameter) else tensor
            for tensor in self._tensors
        ]
        model: Any = self._blueprint.build(fresh)  # Any: a PreTrainedModel
        pooled = Pooled(self.pooling, self._head_activation)
        with self.making():
            backbone = family_for(model, self.tokenizer, self.sites, pooled, task, prompting, dropout)
        backbone.load = _loads_nothing  # type: ignore[method-assign]  # what is copied into fake tensors costs nothing
        return backbone

    @contextmanager
    def making(self) -> Iterator[None]:
        """Modules made under this have no values either."""
        with self._mode, Zeros():
            yield

    def _as_in(self, folder: Path) -> None:
        """The pooling that the folder asks for, and the pooler that its checkpoint lacks."""
        self.pooling = folder_pooling(folder) or self.sites.pooling
        if self.pooling == "pooler" and not any(".pooler." in f".{name}" for name in _tensor_names(folder)):
            self.pooling, self._head_activation = "first", "tanh"


@functools.cache
def outline(name: str, lengths: Lengths | None = None) -> Outline:
    """The outline of a backbone, made once per process."""
    return Outline(name, lengths)


def _folder(name: str) -> Path | None:
    """Where the backbone's files lie, None for a preset and for a lone config.json."""
    if name in known_backbones():
        return locate(name)
    path = Path(name).expanduser()
    if name in presets() or path.is_file() or (path.is_dir() and not (path / "tokenizer_config.json").is_file()):
        return None
    return locate(name) if path.is_dir() or "/" in name else None


def _tensor_names(folder: Path) -> list[str]:
    """The names of the checkpoint's tensors, from headers; those that a pooler would have where it cannot be told."""
    from safetensors import safe_open

    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    try:
        if index.is_file():
            return list(json.loads(index.read_text("utf-8"))["weight_map"])
        if single.is_file():
            with safe_open(single, framework="pt") as file:
                return list(file.keys())
    except (OSError, ValueError, KeyError) as error:
        raise Mistake(f"the weights in {folder} cannot be read: {error}.") from error
    return ["pooler."]


def _loads_nothing(path: str) -> None:
    """Takes the place of `Backbone.load`."""

