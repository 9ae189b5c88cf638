"""Pretrained models, and a pristine copy for every cell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.checkpoints import persistent_buffers
from tunefront.bench.models.config import check_finite, config_at, sites_of, start_token
from tunefront.bench.models.families import LANGUAGE_MODELS, Backbone, Decoder, Encoder, Prompting
from tunefront.bench.models.families.language import refuse_regression
from tunefront.bench.models.fast_copy import CopyTemplate
from tunefront.bench.models.fit import auto_class, misfit_message, misfits
from tunefront.bench.models.locate import backbone_bytes, fingerprint, locate, stored_weights
from tunefront.bench.models.pooling import folder_pooling
from tunefront.bench.models.restorable import restorable
from tunefront.bench.models.scoring.layouts import CPU_BUDGET, CUDA_BUDGET, DecoderLayout
from tunefront.bench.models.tokenizer_files import tokenizer_of
from tunefront.methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Pretrained:
    """The weights of a pretrained model, never run and never changed, from which pristine backbones are made.

    A pristine backbone is a copy of the module tree (hooks, flags and all are the original's) whose parameters and
    buffers live in memory that every cell reuses, restored to the weights. So nothing has to be undone after a cell,
    and the previous cell's backbone is dead as soon as the next one is made.
    """

    def __init__(self, name: str, device: torch.device):
        folder = locate(name)
        self.name, self.config, self.device = name, config_at(name), device
        self.sites = sites_of(self.config, name)
        self.pooling: str | None = None  # of a language model, whose features are the last token's state
        self.head_activation = self.sites.head_activation
        if self.sites.family == "encoder":
            self.pooling = folder_pooling(folder) or self.sites.pooling
        self.tokenizer = tokenizer_of(name)
        model = self.load()
        tensors = [*model.parameters(), *model.buffers()]
        self._tensors = restorable(tensors, device)
        self._flags = [tensor.requires_grad if isinstance(tensor, nn.Parameter) else None for tensor in tensors]
        self._blueprint = CopyTemplate(model, tensors)
        self.params = sum(parameter.numel() for parameter in model.parameters())
        self.file_bytes, self.stored_weights = backbone_bytes(name), stored_weights(name)

    def pristine(
        self, task: Task, seed: int, dropout: float | None = None, prompting: Prompting | None = None
    ) -> Backbone:
        """A backbone as published, an encoder's head for the task initialised by `seed`; the one before it is dead now.

        A language model is asked as `prompting` says, by the task's first template where it is None.
        """
        restored = zip(self._tensors.restored(), self._flags, strict=True)
        tensors = [tensor if trained is None else nn.Parameter(tensor, trained) for tensor, trained in restored]
        model = self._blueprint.build(tensors)
        torch.manual_seed(seed)
        pooled = Pooled(self.pooling, self.head_activation)
        backbone = family_for(model, self.tokenizer, self.sites, pooled, task, prompting, dropout)
        backbone.fingerprint = fingerprint(self.name)
        return backbone

    def making(self) -> contextlib.AbstractContextManager[object]:
        """What modules of a pristine backbone are made under: nothing in particular."""
        return contextlib.nullcontext()

    def load(self) -> PreTrainedModel:
        """The model as transformers reads it; a pooler that nothing reads, or the checkpoint lacks, is left out."""
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
            # Nothing is generated: the file that says how is not read.
            **({} if self.sites.family == "encoder" else {"generation_config": GenerationConfig()}),
        )
        missing = set(report["missing_keys"])
        if self.pooling == "pooler" and any(key.startswith("pooler.") for key in missing):
            # The checkpoint lacks the pooler: a fresh one belongs to the head, and is the same computation.
            self.pooling, self.head_activation = "first", "tanh"
        if self.pooling != "pooler" and getattr(model, "pooler", None) is not None:
            model.pooler = None
        wrong = misfits(model, report, self.sites.family)
        if wrong:
            raise UserError(misfit_message(self.name, wrong))
        for _, tensor in model.named_parameters():
            if not tensor.sum().isfinite():
                check_finite(self.name)
        model.requires_grad_(True).eval()
        return model


@dataclass(frozen=True)
class Pooled:
    """What the head of an encoder reads, and the activation of the dense layer before its output layer; see `Sites`."""

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
    """A pretrained model as methods see it; Unsupported where it cannot do the task."""
    backbone: Backbone
    if sites.family == "encoder":
        backbone = Encoder(model, tokenizer, sites, pooled.pooling or "first", task, pooled.head_activation)
    else:
        refuse_regression(task)  # before a template is looked for
        backbone = LANGUAGE_MODELS[sites.family](model, tokenizer, sites, task, prompting)
    backbone.published_buffers = frozenset(persistent_buffers(model))
    backbone.try_paths()
    if isinstance(backbone, Decoder):
        backbone.layout = DecoderLayout(CUDA_BUDGET if model.device.type == "cuda" else CPU_BUDGET)
    if dropout is not None:
        _set_dropout(backbone, dropout)
    return backbone


def _set_dropout(backbone: Backbone, rate: float) -> None:
    """One rate everywhere: in modules, where a layer keeps it as a number of its own (OPT, Llama, BART), and in a head
    that is made later."""
    backbone.dropout = rate
    for module in backbone.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name, value in vars(module).items():
            if name.endswith(("dropout", "dropout_rate")) and isinstance(value, float):
                setattr(module, name, rate)
