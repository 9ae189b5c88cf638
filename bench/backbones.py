"""Pretrained models, and a pristine copy for every cell."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench.blueprints import Blueprint
from bench.errors import Mistake
from bench.families import Backbone, Decoder, Encoder, Prompting, Seq2Seq
from bench.families.encoder import check_room
from bench.families.language import refuse_regression
from bench.locations import WEIGHTS, backbone_bytes, fingerprint, locate
from bench.scoring.layouts import CPU_BUDGET, CUDA_BUDGET, DecoderLayout
from bench.settings import RunConfig
from bench.tasks import Row, Task
from bench.templates import Template
from methods.sites import Sites, sites_for

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger("tunefront")

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "spiece.model", "sentencepiece.bpe.model")

_LANGUAGE_MODELS: dict[str, type[Decoder | Seq2Seq]] = {"decoder": Decoder, "seq2seq": Seq2Seq}
MOST_SPECIAL_TOKENS = 16
"""More than any tokenizer is known to add to a pair of texts (RoBERTa's: 4)."""


def check_backbone(name: str) -> None:
    """Finds the backbone, its files and its configuration, no weights; Mistake where it cannot be used."""
    sites_of(config_at(name), name)
    folder = locate(name)
    folder_pooling(folder)
    for what, names, saved_by in (("weights", WEIGHTS, "model"), ("tokenizer", _TOKENIZERS, "tokenizer")):
        if not any((folder / file).is_file() for file in names):
            raise Mistake(
                f"{name} has no {what}: none of {', '.join(names)} is in {folder}; "
                f"save it there with {saved_by}.save_pretrained()."
            )


def check_length(name: str, task: Task, max_length: int | None) -> None:
    """Mistake where max_length leaves no room for a word; only a length that may be too short has the tokenizer read,
    which takes 50 ms."""
    if max_length is None or max_length > MOST_SPECIAL_TOKENS:
        return
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(locate(name), trust_remote_code=False)
    except Exception:  # whatever a broken file leads to: check_backbone() or the cell tells of it
        return
    check_room(tokenizer, task, max_length)


def check_encoding(name: str, task: Task, template: Template, rows: Sequence[Row], config: RunConfig) -> None:
    """Encodes rows of a task as a language model's cells will, without its weights; Mistake as theirs."""
    prompting = Prompting(template, config.normalization, context_length=config.context_length)
    model = config_at(name)
    sites = sites_of(model, name)
    try:
        outline = _LANGUAGE_MODELS[sites.family](_Outline(model), tokenizer_of(name), sites, task, prompting)
        outline.check(rows, config.max_length)
    except Mistake:
        raise
    except Exception:  # of a broken tokenizer, say, or Unsupported: the cell tells of it
        log.debug("%s cannot be encoded for %s before a cell runs", task.name, name, exc_info=True)


def import_code(name: str) -> None:
    """Imports the architecture's code, which takes seconds, and nothing else; a worker forked after it has it."""
    module = config_at(name).model_type.replace("-", "_")
    with contextlib.suppress(ImportError):  # named otherwise: the worker finds it when it loads the weights
        importlib.import_module(f"transformers.models.{module}.modeling_{module}")


def family_of(name: str) -> str:
    """encoder, decoder or seq2seq."""
    return sites_of(config_at(name), name).family


def sites_fingerprint(name: str) -> str:
    """sha256 of the sites that methods act on; a user may change an architecture's record."""
    sites = asdict(sites_of(config_at(name), name))
    ordered = {field: sorted(value) if isinstance(value, frozenset) else value for field, value in sites.items()}
    return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()


@functools.cache
def pretrained(name: str, device: str = "cpu") -> Pretrained:
    """The backbone's weights, read from disk once per process."""
    return Pretrained(name, torch.device(device))


class Pretrained:
    """A pretrained model in memory, never run and never changed, from which pristine backbones are made.

    A pristine backbone is a copy of the module tree (hooks, flags and all are the original's) whose parameters and
    buffers live in storage that every cell reuses, the weights copied in. So nothing has to be undone after a cell, and
    the previous cell's backbone is dead as soon as the next one is made.
    """

    def __init__(self, name: str, device: torch.device):
        folder = locate(name)
        self.name, self.config, self.device = name, config_at(name), device
        self.sites = sites_of(self.config, name)
        self.pooling: str | None = folder_pooling(folder) or self.sites.pooling
        self.head_activation = self.sites.head_activation
        if self.sites.family != "encoder":
            self.pooling = None  # features are the last token's state
        self.tokenizer = tokenizer_of(name)
        if len(self.tokenizer) <= len(self.tokenizer.all_special_tokens):  # made up by transformers, not read
            raise Mistake(f"{name} has no tokenizer with words; save it there with tokenizer.save_pretrained().")
        self._master = self._load(folder)
        self._tensors = [*self._master.parameters(), *self._master.buffers()]
        self._storage = [torch.empty_like(tensor, device=device) for tensor in self._tensors]
        self._blueprint = Blueprint(self._master, self._tensors)
        self.params = sum(parameter.numel() for parameter in self._master.parameters())
        self.file_bytes = backbone_bytes(name)

    def pristine(
        self, task: Task, seed: int, dropout: float | None = None, prompting: Prompting | None = None
    ) -> Backbone:
        """A backbone as published, an encoder's head for the task initialised by `seed`; the one before it is dead now.

        A language model is asked as `prompting` says, by the task's first template where it is None.
        """
        restored = []
        for tensor, stored in zip(self._tensors, self._storage, strict=True):
            with torch.no_grad():
                stored.copy_(tensor)
            is_parameter = isinstance(tensor, nn.Parameter)
            restored.append(nn.Parameter(stored, tensor.requires_grad) if is_parameter else stored)
        model = self._blueprint.build(restored)
        torch.manual_seed(seed)
        pooled = Pooled(self.pooling, self.head_activation)
        backbone = family_for(model, self.tokenizer, self.sites, pooled, task, prompting, dropout)
        backbone.fingerprint = fingerprint(self.name)
        return backbone

    def making(self) -> contextlib.AbstractContextManager[object]:
        """What modules of a pristine backbone are made under: nothing in particular."""
        return contextlib.nullcontext()

    def _load(self, folder: Path) -> PreTrainedModel:
        """Reads the weights; a pooler that nothing reads, or that the checkpoint lacks, is left out of the model."""
        from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

        kinds = {"encoder": AutoModel, "decoder": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}
        model, report = kinds[self.sites.family].from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
        missing = set(report["missing_keys"])
        if self.pooling == "pooler" and any(key.startswith("pooler.") for key in missing):
            # The checkpoint lacks the pooler: a fresh one belongs to the head, and is the same computation.
            self.pooling, self.head_activation = "first", "tanh"
        if self.pooling != "pooler" and getattr(model, "pooler", None) is not None:
            model.pooler = None
        lost = sorted(key for key in missing if not key.startswith("pooler."))
        if lost:
            raise Mistake(
                f"the weights of {self.name} lack {len(lost)} tensors of {type(model).__name__}, {lost[0]} first; "
                "is the folder complete, and its config.json the right one?"
            )
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
        backbone = _LANGUAGE_MODELS[sites.family](model, tokenizer, sites, task, prompting)
    if isinstance(backbone, Decoder):
        backbone.layout = DecoderLayout(CUDA_BUDGET if model.device.type == "cuda" else CPU_BUDGET)
        backbone.try_side_by_side()
    if dropout is not None:
        _set_dropout(backbone, dropout)
    return backbone


@dataclass(frozen=True)
class _Outline:
    """What encoding rows needs of a model."""

    config: Any  # Any: as `_config`


@functools.cache
def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(locate(name), trust_remote_code=False)


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


def config_at(name: str) -> Any:  # Any: transformers' configurations have no common type with their fields
    from transformers import AutoConfig

    folder = locate(name)
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise Mistake(f"the configuration of {name} cannot be read: {str(error).splitlines()[0]}") from error


def sites_of(config: Any, name: str) -> Sites:
    try:
        return replace(sites_for(config.model_type))
    except KeyError as error:
        raise Mistake(f"backbone {name}: {error.args[0]}") from error


def folder_pooling(folder: Path) -> str | None:
    """`mean` where a sentence-transformers pooling configuration says so, None where there is none."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise Mistake(f"the pooling configuration {path} cannot be read: {error}") from error
    modes = [mode for mode, on in config.items() if mode.startswith("pooling_mode_") and on is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "first"}
    if len(modes) != 1 or modes[0] not in known:
        raise Mistake(f"{path} asks for the pooling {modes}; only one of {', '.join(known)} can be used.")
    return known[modes[0]]
