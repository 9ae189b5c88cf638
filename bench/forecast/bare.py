"""Backbones of fake models: methods are attached to them and what they train is counted, nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bench.families import Backbone, Decoder, Encoder, Prompting, Seq2Seq
from bench.forecast.presets import config_of, fake_model, faking
from bench.tasks import Task
from bench.templates import PLAIN, find_template
from methods.base import Method
from methods.sites import sites_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TASK = Task("a task", "classification", {}, ("text",), ("no", "yes"), ())
"""Two labels, which an encoder's head tells apart."""


def attached(method: Method, name: str) -> Backbone:
    """The backbone of a preset's name or a configuration's path, with the method attached; Unsupported as it says."""
    backbone = bare(name)
    with faking(backbone.model):
        method.attach(backbone)
    return backbone


def bare(name: str) -> Backbone:
    """The backbone alone, of the family that `bench.backbones` makes of the architecture."""
    model = fake_model(config_of(name))
    sites = sites_for(model.config.model_type)
    if sites.family == "encoder":
        with faking(model):  # the head is made here
            return Encoder(model, _tokenizer(), sites, sites.pooling, TASK, sites.head_activation)
    family = Decoder if sites.family == "decoder" else Seq2Seq
    return family(model, _tokenizer(), sites, TASK, Prompting(find_template(TASK, PLAIN)))


class _OneToken:
    """Every text is one token: families look at a tokenizer when they are made."""

    def __call__(self, texts: str | list[str], **_: object) -> dict[str, object]:
        return {"input_ids": [0] if isinstance(texts, str) else [[0] for _ in texts]}


def _tokenizer() -> PreTrainedTokenizerBase:
    return cast("PreTrainedTokenizerBase", _OneToken())
