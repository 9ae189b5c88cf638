"""Fake counterparts of `models.pretrained`: backbones from a configuration, whose tensors have no values, and methods
attached to them, for counting parameters and costs without running anything."""

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
from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.config import config_at, sites_of
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.fast_copy import CopyTemplate
from tunefront.bench.models.gguf.names import is_gguf
from tunefront.bench.models.locate import backbone_bytes, known_backbones, locate, stored_weights
from tunefront.bench.models.pooling import folder_pooling, found_pooling, published_pooling
from tunefront.bench.models.pretrained import Pooled, family_for
from tunefront.bench.models.tokenizer_files import tokenizer_of
from tunefront.bench.models.weights import headers
from tunefront.methods.base import Method
from tunefront.methods.sites import SITES

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


class FakePretrained:
    """A pretrained model without weights, which makes pristine backbones (see `Pretrained`).

    Args: name, a backbone as elsewhere, a preset, or the path of a config.json; lengths of synthetic rows, whose
    tokenizer replaces that of the backbone; None for real rows, which need a backbone with a tokenizer.
    """

    def __init__(self, name: str, lengths: SyntheticRows | None = None):
        folder = folder_of(name)
        self.config = config_of(name) if folder is None else config_at(name)
        self.name, self.sites = name, sites_of(self.config, name)
        self._head_activation = self.sites.head_activation
        self._lengths = lengths
        self._model = fake_model(self.config)
        self.pooling: str | None = self._pooling(folder) if self.sites.family == "encoder" else None
        if self.pooling != "pooler" and getattr(self._model, "pooler", None) is not None:
            self._model.pooler = None
        self._tensors: list[Tensor] = [*self._model.parameters(), *self._model.buffers()]
        self._copy_template = CopyTemplate(self._model, self._tensors)
        self.params = sum(parameter.numel() for parameter in self._model.parameters())
        self.file_bytes = _file_bytes(self._model) if folder is None else backbone_bytes(name)
        self.stored_weights = None if folder is None else stored_weights(name)

    @functools.cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the backbone or of the synthetic rows."""
        if self._lengths is None:
            return tokenizer_of(self.name)
        return self._lengths.tokenizer(self.sites.family, self.config)

    def fresh_copy(
        self, task: Task, seed: int, dropout: float | None = None, prompting: Prompting | None = None
    ) -> Backbone:
        """A backbone of this shape, whose parameters have no values; running it changes none."""
        fresh = [
            nn.Parameter(tensor.detach(), tensor.requires_grad) if isinstance(tensor, nn.Parameter) else tensor
            for tensor in self._tensors
        ]
        model: Any = self._copy_template.build(fresh)  # Any: a PreTrainedModel
        torch.manual_seed(seed)  # as with weights: a method may record the seed
        pooled = Pooled(self.pooling, self._head_activation)
        with self.init_context():
            return family_for(model, self.tokenizer, self.sites, pooled, task, prompting, dropout)

    def init_context(self) -> AbstractContextManager[None]:
        """A context in which new modules have no values either."""
        return faking(self._model)

    def _pooling(self, folder: Path | None) -> str:
        """What the head reads, as `Pretrained` finds it; sets the head's activation in place of a pooler that a
        checkpoint lacks. Without a folder, the checkpoint is taken to have all that its class has."""
        has_pooler = getattr(self._model, "pooler", None) is not None and (
            folder is None or any(".pooler." in f".{name}" for name in headers(folder))
        )
        pooling = (None if folder is None else folder_pooling(folder)) or published_pooling(self.config, self.sites)
        if pooling is None:
            return found_pooling(has_pooler, None if folder is None else self.tokenizer)
        if pooling == "pooler" and folder is not None and not has_pooler:
            self._head_activation = "tanh"
            return "first"
        return pooling


def fake_pretrained(name: str, lengths: SyntheticRows | None = None) -> FakePretrained:
    """The fake model of a backbone, made once per process as long as its architecture has the same record of sites."""
    made = _made(name, lengths)
    if SITES.get(made.config.model_type) is not (made.sites if is_recorded(made.sites) else None):
        _made.cache_clear()
        made = _made(name, lengths)
    return made


@functools.lru_cache(maxsize=8)
def _made(name: str, lengths: SyntheticRows | None) -> FakePretrained:
    return FakePretrained(name, lengths)


def folder_of(name: str) -> Path | None:
    """The folder of the backbone's files, None for a preset or a lone config.json."""
    if name in known_backbones() or is_gguf(name):
        return locate(name)
    path = Path(name).expanduser()
    if name in presets() or path.is_file() or (path.is_dir() and not (path / "tokenizer_config.json").is_file()):
        return None
    return locate(name) if path.is_dir() or ("/" in name and path.suffix != ".json") else None


def _file_bytes(model: nn.Module) -> int:
    """The size of the file that `save_pretrained()` writes; it contains a tensor with two names once."""
    state = model.state_dict(keep_vars=True)  # otherwise each name would have its own tensor
    names = {id(tensor): name for name, tensor in reversed(state.items())}
    return safetensors_bytes({name: state[name] for name in names.values()})


_DEFAULT_ROWS = SyntheticRows()
"""Rows to make the backbone for; no count of parameters depends on them, and a head has two outputs."""


def fake_for_counting(name: str) -> FakePretrained:
    """The fake model from which `attached` makes backbones."""
    return fake_pretrained(name, _DEFAULT_ROWS)


def attached(method: Method, name: str) -> Backbone:
    """A fake backbone of a preset or a configuration file, with the method attached. Errors: those of `attach`."""
    source = fake_for_counting(name)
    backbone = source.fresh_copy(
        _DEFAULT_ROWS.task(source.sites.family), seed=0, prompting=Prompting(PlainTextTemplate())
    )
    with source.init_context():
        method.attach(backbone)
    return backbone
