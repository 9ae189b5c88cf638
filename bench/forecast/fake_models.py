"""Backbones of a configuration alone: what `models.pretrained` makes of weights, made of tensors without values; and
methods attached to them, of which what is trained and costs is counted, nothing is run."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tunefront.bench.data.task import Task
from tunefront.bench.forecast.presets import config_of, fake_model, faking, presets
from tunefront.bench.forecast.synthetic import PlainTextTemplate, SyntheticRows
from tunefront.bench.meters.storage import safetensors_bytes
from tunefront.bench.models.config import config_at, sites_of
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.fast_copy import CopyTemplate
from tunefront.bench.models.gguf.names import is_gguf
from tunefront.bench.models.locate import backbone_bytes, known_backbones, locate, stored_weights
from tunefront.bench.models.pooling import folder_pooling
from tunefront.bench.models.pretrained import Pooled, family_for
from tunefront.bench.models.tokenizer_files import tokenizer_of
from tunefront.bench.models.weights import headers
from tunefront.methods.base import Method

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class FakePretrained:
    """A pretrained model without its weights, from which pristine backbones are made (see `Pretrained`).

    Args: name, a backbone as anywhere else, a preset, or the path of a config.json; lengths, of made-up rows, whose
    tokenizer takes the place of the backbone's; None where rows are real and the backbone has one.
    """

    def __init__(self, name: str, lengths: SyntheticRows | None = None):
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
        self._tensors: list[Tensor] = [*self._model.parameters(), *self._model.buffers()]
        self._blueprint = CopyTemplate(self._model, self._tensors)
        self.params = sum(parameter.numel() for parameter in self._model.parameters())
        self.file_bytes = _file_bytes(self._model) if folder is None else backbone_bytes(name)
        self.stored_weights = None if folder is None else stored_weights(name)

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
        torch.manual_seed(seed)  # as for weights: a method may record it
        pooled = Pooled(self.pooling, self._head_activation)
        with self.making():
            return family_for(model, self.tokenizer, self.sites, pooled, task, prompting, dropout)

    def making(self) -> AbstractContextManager[None]:
        """Modules made under this have no values either."""
        return faking(self._model)

    def _as_in(self, folder: Path) -> None:
        """The pooling that the folder asks for, and the pooler that its checkpoint lacks."""
        self.pooling = folder_pooling(folder) or self.sites.pooling
        if self.pooling == "pooler" and not any(".pooler." in f".{name}" for name in headers(folder)):
            self.pooling, self._head_activation = "first", "tanh"


@functools.lru_cache(maxsize=8)
def fake_pretrained(name: str, lengths: SyntheticRows | None = None) -> FakePretrained:
    """The outline of a backbone, made once per process."""
    return FakePretrained(name, lengths)


def _folder(name: str) -> Path | None:
    """Where the backbone's files lie, None for a preset and for a lone config.json."""
    if name in known_backbones() or is_gguf(name):
        return locate(name)
    path = Path(name).expanduser()
    if name in presets() or path.is_file() or (path.is_dir() and not (path / "tokenizer_config.json").is_file()):
        return None
    return locate(name) if path.is_dir() or ("/" in name and path.suffix != ".json") else None


def _file_bytes(model: nn.Module) -> int:
    """Of the file that `save_pretrained()` writes, where a tensor with two names stands once."""
    named = model.state_dict(keep_vars=True)  # else each would be a tensor of its own
    once = {id(tensor): name for name, tensor in reversed(named.items())}
    return safetensors_bytes({name: named[name] for name in once.values()})


_ANY = SyntheticRows()
"""The rows that the backbone is made for, which no count of parameters depends on; a head has two outputs."""


def outline_of(name: str) -> FakePretrained:
    """The outline that `attached` makes backbones of."""
    return fake_pretrained(name, _ANY)


def attached(method: Method, name: str) -> Backbone:
    """The backbone of a preset's name or a configuration's path, with the method attached; Unsupported as it says."""
    made = outline_of(name)
    backbone = made.pristine(_ANY.task(made.sites.family), seed=0, prompting=Prompting(PlainTextTemplate()))
    with made.making():
        method.attach(backbone)
    return backbone
