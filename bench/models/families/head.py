"""The head that a classifier trains: the output layer, and a dense layer before it if the architecture has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from transformers.activations import ACT2FN

from tunefront.methods.inject import place

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Head(nn.Module):
    """The output layer on the pooled state, after a dense layer if the architecture's published head has one.

    Args: width, of the pooled state; outputs, classes or 1; activation after the dense layer, None without that layer;
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


def make_head(model: PreTrainedModel, width: int, outputs: int, activation: str | None = None) -> Head:
    """A new head with the dropout and the initial standard deviation of the model's configuration, on the model's
    device and in its dtype and mode."""
    config = model.config
    head = Head(width, outputs, activation, _head_dropout(config), _init_std(config))
    place(head, model.device, model.dtype)
    return head.train(model.training)


def _head_dropout(config: object) -> float:
    names = ("classifier_dropout", "seq_classif_dropout", "cls_dropout", "hidden_dropout_prob", "dropout")
    values = (getattr(config, name, None) for name in names)
    return next((float(value) for value in values if value is not None), 0.1)


def _init_std(config: object) -> float:
    return float(getattr(config, "initializer_range", 0.02))
