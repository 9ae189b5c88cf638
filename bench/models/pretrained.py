"""Pretrained models, and a fresh copy for every cell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.architectures import is_recorded
from tunefront.bench.models.checkpoints import persistent_buffers
from tunefront.bench.models.config import check_finite, config_at, sites_of, start_token
from tunefront.bench.models.constants import keep_constants
from tunefront.bench.models.families import LANGUAGE_MODELS, Backbone, Decoder, Encoder, Prompting
from tunefront.bench.models.families.language import refuse_regression
from tunefront.bench.models.fast_copy import CopyTemplate
from tunefront.bench.models.fit import auto_class, misfit_message, misfits
from tunefront.bench.models.locate import backbone_bytes, fingerprint, locate, stored_weights
from tunefront.bench.models.pooling import folder_pooling, found_pooling, published_pooling
from tunefront.bench.models.restorable import restorable
from tunefront.bench.models.scoring.layouts import CPU_BUDGET, CUDA_BUDGET, DecoderLayout
from tunefront.bench.models.site_check import check_sites
from tunefront.bench.models.tokenizer_files import tokenizer_of
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Pretrained:
    """The weights of a pretrained model, never run and never changed, from which fresh backbones are made.

    A fresh backbone is a copy of the module tree, with the original's hooks and flags. Its parameters and buffers live
    in memory that every cell reuses, restored to the weights. So nothing has to be undone after a cell, and a backbone
    becomes unusable when the next one is made.
    """

    def __init__(self, name: str, device: torch.device):
        folder = locate(name)
        self.name, self.config, self.device = name, config_at(name), device
        self.sites = sites_of(self.config, name)
        self.pooling: str | None = None  # None for a language model: its features are the last token's state
        self.head_activation = self.sites.head_activation
        if self.sites.family == "encoder":
            self.pooling = folder_pooling(folder) or published_pooling(self.config, self.sites)
        self.tokenizer = tokenizer_of(name)
        model = self.load()
        tensors = [*model.parameters(), *model.buffers()]
        self._tensors = restorable(tensors, device)
        self._flags = [tensor.requires_grad if isinstance(tensor, nn.Parameter) else None for tensor in tensors]
        self._copy_template = CopyTemplate(model, tensors)
        self.params = sum(parameter.numel() for parameter in model.parameters())
        self.file_bytes, self.stored_weights = backbone_bytes(name), stored_weights(name)

    def fresh_copy(
        self, task: Task, seed: int, dropout: float | None = None, prompting: Prompting | None = None
    ) -> Backbone:
        """A backbone as published; an encoder's head for the task is initialised by `seed`. Earlier backbones become
        unusable.

        `prompting` says how a language model's prompts are built; None means the task's first template.
        """
        restored = zip(self._tensors.restore(), self._flags, strict=True)
        tensors = [tensor if flag is None else nn.Parameter(tensor, flag) for tensor, flag in restored]
        model = self._copy_template.build(tensors)
        torch.manual_seed(seed)
        pooled = Pooled(self.pooling, self.head_activation)
        backbone = family_for(model, self.tokenizer, self.sites, pooled, task, prompting, dropout)
        backbone.fingerprint = fingerprint(self.name)
        return backbone

    def init_context(self) -> contextlib.AbstractContextManager[object]:
        """The context in which new modules of a backbone are created: nothing special here."""
        return contextlib.nullcontext()

    def load(self) -> PreTrainedModel:
        """The model as transformers reads it, without a pooler that nothing reads or that the checkpoint lacks."""
        from transformers import GenerationConfig

        folder = locate(self.name)
        if self.sites.family == "seq2seq":
            self.config.decoder_start_token_id = start_token(folder, self.config)
        model, report = auto_class(self.sites.family).from_pretrained(
            folder,
            config=self.config,
            dtype=torch.float32,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            # Nothing is generated: the generation settings are not read.
            **({} if self.sites.family == "encoder" else {"generation_config": GenerationConfig()}),
        )
        if is_recorded(self.sites):
            check_sites(model, self.sites, self.config.model_type)
        missing = set(report["missing_keys"])
        if self.sites.family == "encoder" and self.pooling is None:
            has_pooler = getattr(model, "pooler", None) is not None and not any("pooler" in key for key in missing)
            self.pooling = found_pooling(has_pooler, self.tokenizer)
        if self.pooling == "pooler" and any(key.startswith("pooler.") for key in missing):
            # The checkpoint lacks the pooler: a fresh one belongs to the head, and is the same computation.
            self.pooling, self.head_activation = "first", "tanh"
        if self.pooling != "pooler" and getattr(model, "pooler", None) is not None:
            model.pooler = None
        problems = misfits(model, report, self.sites.family)
        if problems:
            raise UserError(misfit_message(self.name, problems))
        for _, tensor in model.named_parameters():
            if not tensor.sum().isfinite():
                check_finite(self.name)
        keep_constants(model)
        model.requires_grad_(True).eval()
        return model


@dataclass(frozen=True)
class Pooled:
    """The pooling that an encoder's head reads, and the activation of the head's dense layer; see `Sites`."""

    pooling: str | None
    head_activation: str | None


def family_for(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sites: Sites,
    pooled: Pooled,
    task: Task,
    prompting: Prompting | None,
    dropout: float | None,
) -> Backbone:
    """The backbone of a pretrained model for methods; Unsupported if it cannot do the task."""
    backbone: Backbone
    if sites.family == "encoder":
        backbone = Encoder(model, tokenizer, sites, pooled.pooling or "first", task, pooled.head_activation)
    else:
        refuse_regression(task)  # before a template is looked up
        backbone = LANGUAGE_MODELS[sites.family](model, tokenizer, sites, task, prompting)
    backbone.published_buffers = frozenset(persistent_buffers(model))
    backbone.probe()
    if isinstance(backbone, Decoder):
        backbone.layout = DecoderLayout(CUDA_BUDGET if model.device.type == "cuda" else CPU_BUDGET)
    if dropout is not None:
        _set_dropout(backbone, dropout)
    return backbone


def _set_dropout(backbone: Backbone, rate: float) -> None:
    """Sets one rate everywhere: in Dropout modules, in layers that store it as a number (OPT, Llama, BART), and in a
    head that is created later."""
    backbone.dropout = rate
    for module in backbone.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name, value in vars(module).items():
            if name.endswith(("dropout", "dropout_rate")) and isinstance(value, float):
                setattr(module, name, rate)
