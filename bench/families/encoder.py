"""Encoders (BERT, RoBERTa, DistilBERT, DeBERTa-v2): a head on the pooled state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from bench.batching import EncodedExamples
from bench.errors import Mistake
from bench.tasks import Row, Task
from methods.base import Backbone, Batch, Unsupported, trained
from methods.inject import matching
from methods.sites import Sites

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from methods.base import Keep


class Head(nn.Module):
    """The output layer on the pooled state, after a dense layer where the architecture's published head has one.

    Args: width, of the pooled state; outputs, classes or 1; activation after the dense layer, None for no such layer;
    dropout before the output layer; std of the initial weights, biases start at zero (BERT's code: 0.02).
    Shapes: (batch, width) -> (batch, outputs).
    Differs: RoBERTa's published head also drops out before its dense layer.
    """

    def __init__(self, width: int, outputs: int, activation: str | None, dropout: float, std: float):
        super().__init__()
        self.dense = nn.Linear(width, width) if activation else None
        self.activation = ACT2FN[activation] if activation else None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, outputs)
        for layer in (self.dense, self.output):
            if layer is not None:
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        if self.dense is not None and self.activation is not None:
            pooled = self.activation(self.dense(pooled))
        return self.output(self.dropout(pooled))


class Encoder:
    """An encoder with a fresh head for one task; `model` is the base model with the head as its child `head`.

    `pooling` is what the head reads: `pooler` (the checkpoint's own), `first` (the first token's state) or `mean` (of
    the states of all tokens that are not padding).
    """

    head: nn.Module

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sites: Sites,
        pooling: str,
        task: Task,
        head_activation: str | None,
    ):
        if task.kind == "multiple choice":
            raise Unsupported(f"{task.name} is multiple choice, which needs a language model; encoders classify")
        config = model.config
        self.model, self.tokenizer, self.sites, self.pooling = model, tokenizer, sites, pooling
        self.width = int(config.hidden_size)
        self.regression = task.kind == "regression"
        head = Head(self.width, task.outputs, head_activation, _head_dropout(config), _init_std(config))
        head.to(device=model.device, dtype=model.dtype).train(model.training)
        self.model.add_module("head", head)
        self.head = head

    def freeze(self, keep: Keep | Sequence[Keep] = None) -> None:
        """Turns gradients off everywhere but in `keep`: modules, or sites matched in full on module paths."""
        kept = keep if isinstance(keep, Sequence) and not isinstance(keep, str) else [keep]
        self.model.requires_grad_(False)
        for part in kept:
            modules = matching(self.model, part).values() if isinstance(part, str) else [part]
            for module in modules:
                if module is not None:
                    module.requires_grad_(True)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that require gradients, by name."""
        return trained(self.model)

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the classes, or mean squared error of the values; a scalar."""
        outputs = self._outputs(batch)
        if self.regression:
            return nn.functional.mse_loss(outputs.squeeze(-1), batch.labels.to(outputs.dtype))
        return nn.functional.cross_entropy(outputs, batch.labels)

    def score(self, batch: Batch) -> Tensor:
        """Logits (batch, choices), or (batch, 1), the predicted values."""
        return self._outputs(batch)

    def features(self, batch: Batch) -> Tensor:
        """The pooled states that the head reads, (batch, width); as they are where the batch holds them already."""
        if "features" in batch.inputs:
            return batch.inputs["features"]
        output = self.model(**batch.inputs)
        if self.pooling == "pooler":
            return output.pooler_output
        states: Tensor = output.last_hidden_state
        if self.pooling == "first":
            return states[:, 0]
        mask = batch.inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1).clamp(min=1)

    def encode(self, task: Task, rows: Iterable[Row], max_length: int) -> EncodedExamples:
        """Tokenised rows; of several input fields the first is the first segment, the others, joined, the second.

        Errors: Mistake where max_length leaves no room beside the special tokens, for which nothing would be cut.
        """
        check_room(self.tokenizer, task, max_length)
        rows = list(rows)
        limit = min(max_length, _longest(self.model, self.tokenizer))
        texts = [task.texts(row) for row in rows]
        first = [text[0] for text in texts]
        second = [" ".join(text[1:]) for text in texts] if len(task.input_fields) > 1 else None
        encoded = self.tokenizer(first, second, truncation=True, max_length=limit)
        columns = {
            name: [torch.tensor(ids) for ids in encoded[name]]
            for name in self.tokenizer.model_input_names
            if name in encoded
        }
        padding = {"input_ids": self.tokenizer.pad_token_id or 0, "token_type_ids": self.tokenizer.pad_token_type_id}
        # Rows of exactly the limit may be whole: only those are tokenised again to tell.
        full = [place for place, ids in enumerate(encoded["input_ids"]) if len(ids) >= limit]
        truncated = sum(self._length(first[place], second[place] if second else None) > limit for place in full)
        return EncodedExamples(
            columns=columns,
            padding={name: padding.get(name, 0) for name in columns},
            labels=torch.tensor([row.label for row in rows], dtype=torch.float32 if self.regression else torch.long),
            truncated=truncated,
        )

    def _length(self, first: str, second: str | None) -> int:
        return len(self.tokenizer(first, second, truncation=False, verbose=False)["input_ids"])

    def _outputs(self, batch: Batch) -> Tensor:
        return self.head(self.features(batch)).float()


def check_room(tokenizer: PreTrainedTokenizerBase, task: Task, max_length: int) -> None:
    """Mistake where max_length leaves no room for a word beside the special tokens of a row."""
    special = tokenizer.num_special_tokens_to_add(pair=len(task.input_fields) > 1)
    if max_length <= special:
        raise Mistake(
            f"max_length is {max_length}, but a row of {task.name} has {special} special tokens; "
            f"give at least {special + 1}."
        )


def _head_dropout(config: object) -> float:
    names = ("classifier_dropout", "seq_classif_dropout", "cls_dropout", "hidden_dropout_prob", "dropout")
    given = (getattr(config, name, None) for name in names)
    return next((float(value) for value in given if value is not None), 0.1)


def _init_std(config: object) -> float:
    return float(getattr(config, "initializer_range", 0.02))


def _longest(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The longest input the positions allow; RoBERTa's first position is its padding index plus one."""
    positions = int(getattr(model.config, "max_position_embeddings", None) or 10**9)
    if model.config.model_type == "roberta":
        positions -= int(model.config.pad_token_id or 0) + 1
    return min(positions, int(tokenizer.model_max_length))


def _implements_protocol(encoder: Encoder) -> Backbone:
    """The type checker holds the family to the contract."""
    return encoder
