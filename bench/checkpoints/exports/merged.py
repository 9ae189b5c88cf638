"""A whole model in transformers' own format, with what was trained merged into its weights: any server loads it."""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from tunefront.bench.checkpoints.exports.heads import ConfigKey, close, head_names, random_inputs
from tunefront.bench.checkpoints.exports.pooled import check_pooled, pooled_logits, write_pooled
from tunefront.bench.checkpoints.exports.tensors import write_manifest
from tunefront.bench.errors import UserError
from tunefront.bench.models.families.encoder import Encoder, limit_of
from tunefront.bench.models.fit import auto_class
from tunefront.bench.quiet import quiet
from tunefront.methods.base import Batch, Unsupported
from tunefront.methods.inject import merged_plugs, plugged, what_cannot_merge
from tunefront.methods.torch_internals import hooks_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn
    from transformers import PreTrainedModel

    from tunefront.bench.checkpoints.exports.form import Exportable
    from tunefront.bench.checkpoints.loading import Fitted
    from tunefront.bench.checkpoints.stored import StoredCheckpoint
    from tunefront.bench.data.task import Task
    from tunefront.bench.models.families import Backbone


class Merged:
    """A folder as `save_pretrained` writes it: configuration, weights, tokenizer; and the manifest."""

    about = "a whole model with merged weights, for transformers and any server"

    def check(self, subject: Exportable) -> None:
        """Unsupported for what stays outside the weights: prompts, learned prefixes, modules that cannot be merged,
        and heads that no class of transformers has."""
        backbone = subject.backbone
        if subject.prompts.prefixes or subject.prompts.start_prefix is not None:
            raise Unsupported("demonstrations stand in the prompt, not in the weights; send them with each query")
        if backbone.led:
            raise Unsupported("learned keys and values, or embeddings, before the text are no part of the weights")
        if (reason := what_cannot_merge(backbone.model)) is not None:
            raise Unsupported(reason)
        if (changed := _changed(backbone)) is not None:
            raise Unsupported(f"{changed}, which is no part of a weight")
        if subject.method.scorer(backbone) != backbone.score:
            raise Unsupported(f"{subject.method.name} does more with the model's outputs than transformers does")
        if isinstance(backbone, Encoder):
            if not _has_class(backbone):
                check_pooled(backbone)
        elif backbone.head is not None:
            raise Unsupported("transformers has no class with this head on a language model")

    def write(self, fitted: Fitted, stored: StoredCheckpoint, folder: Path) -> list[str]:
        """Writes the model, loads it again and compares its logits with those of the fitted model."""
        backbone = fitted.backbone
        expected, inputs = logits(backbone), sample(backbone)
        with quiet():
            kind = save_model(fitted, folder)
            _save_tokenizer(fitted, folder)
            if kind is None and isinstance(backbone, Encoder):
                name, got = "SentenceTransformer", pooled_logits(folder, backbone, inputs)
            else:
                again = kind.from_pretrained(folder, local_files_only=True).eval()
                with torch.inference_mode():
                    name, got = type(again).__name__, again(**inputs).logits
        difference = float((got - expected).abs().max())
        if not close(got, expected):
            raise UserError(
                f"the exported {name} computes other logits (by up to {difference:.2g}); nothing was exported. Please "
                "report this, with the checkpoint's manifest."
            )
        write_manifest(fitted, stored, folder)
        what = ", whose embeddings of texts are the logits" if kind is None else ""
        return [f"loads as {name}{what}; logits differ by at most {difference:.1e}"]


def _save_tokenizer(fitted: Fitted, folder: Path) -> None:
    """Writes the tokenizer, which cuts a text where an encoder's rows were cut."""
    backbone = fitted.backbone
    tokenizer = copy.copy(backbone.tokenizer)
    if isinstance(backbone, Encoder):
        tokenizer.model_max_length = limit_of(backbone.model.config, tokenizer, fitted.cell.config.max_length)
    tokenizer.save_pretrained(folder)


def save_model(fitted: Fitted, folder: Path) -> Any:  # Any: as `auto_class`
    """Writes configuration and weights, merged; returns the class of transformers that loads them, None for a folder
    of sentence-transformers."""
    backbone, model = fitted.backbone, fitted.backbone.model
    with merged_plugs(model):
        if isinstance(backbone, Encoder) and _has_class(backbone):
            plain = _classifier(backbone, fitted.task)
            plain.save_pretrained(folder)
            return type(plain)
        # The model itself: a new one of its class might tie its output layer to the embeddings, which T5 v1.1 does not.
        kind = auto_class(backbone.sites.family)
        with torch.device("meta"), quiet():
            names = set(kind.from_config(model.config).state_dict())
        if isinstance(backbone, Encoder):  # its pooler is gone if nothing reads it
            names = {name for name in names if not name.startswith("pooler.")}
        model.save_pretrained(folder, state_dict={name: _tensor(model, name) for name in names})
        if not isinstance(backbone, Encoder):
            return kind
        labelled(model.config, fitted.task).save_pretrained(folder)
        write_pooled(backbone, folder)
        return None


def _changed(backbone: Backbone) -> str | None:
    """The first module of the pretrained model that is another one now, or has hooks that are no plugs."""
    published = _classes(ConfigKey(backbone.model.config), backbone.sites.family)
    for path, module in backbone.model.named_modules():
        cls = published.get(path)
        if cls is not None and not (type(module) is cls or parametrize.is_parametrized(module)):
            return f"{path} is a {type(module).__name__} now"
        if len(hooks_of(module)) > len(plugged(module)):
            return f"{path or 'the model'} has a hook"
    return None


@functools.lru_cache(maxsize=16)
def _classes(key: ConfigKey, family: str) -> Mapping[str, type]:
    """The classes of all modules of a model with this configuration, by path."""
    with torch.device("meta"), quiet():
        return {path: type(module) for path, module in auto_class(family).from_config(key.config).named_modules()}


def _has_class(backbone: Encoder) -> bool:
    """Whether transformers has a class with the encoder's head."""
    try:
        head_names(backbone)
    except Unsupported:
        return False
    return True


def _classifier(backbone: Encoder, task: Task) -> PreTrainedModel:
    """An encoder with its head as transformers' own class, with the labels' names."""
    from transformers import AutoModelForSequenceClassification

    form = head_names(backbone)
    config = labelled(backbone.model.config, task)
    plain = cast("PreTrainedModel", AutoModelForSequenceClassification.from_config(config))
    with torch.no_grad():
        for name, value in plain.state_dict(keep_vars=True).items():
            value.copy_(_tensor(backbone.model, form.names.get(name, name.removeprefix(f"{form.prefix}."))))
    return plain


def labelled(config: Any, task: Task) -> Any:  # Any: transformers' configurations
    """A copy of a configuration with the task's labels."""
    made = copy.deepcopy(config)
    made.num_labels = task.outputs
    made.problem_type = "regression" if task.kind == "regression" else "single_label_classification"
    if task.kind == "classification":
        made.id2label = dict(enumerate(task.label_names))
        made.label2id = {name: place for place, name in enumerate(task.label_names)}
    return made


def logits(backbone: Backbone) -> Tensor:
    """The fitted model's own logits of random rows: of the classes, or of the next token at every place."""
    inputs = sample(backbone)
    rows = torch.arange(len(inputs["input_ids"]))
    with torch.inference_mode():
        if isinstance(backbone, Encoder):
            return backbone.score(Batch(inputs, rows, rows))
        output: Tensor = backbone.model(**inputs).logits
        return output


def sample(backbone: Backbone) -> dict[str, Tensor]:
    """Random rows as inputs of a model of the backbone's family."""
    inputs = random_inputs(backbone.model)
    if backbone.sites.family == "seq2seq":
        inputs["decoder_input_ids"] = inputs["input_ids"].flip(1)
    return inputs


def _tensor(model: nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its name; a parametrized one as it is computed now."""
    path, _, leaf = name.rpartition(".")
    return cast(Tensor, getattr(model.get_submodule(path), leaf))
