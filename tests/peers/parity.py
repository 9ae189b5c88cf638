"""Outputs and gradients of methods here and in peft, with equal weights: one table row per case.

Both sides have the same tiny random model and the same trained values, moved away from their initial ones. Encoders:
the logits of every row and the gradients of the cross-entropy. Language models: the log-probability of every token of
every choice, in peft by one plain forward pass per choice, and the gradients of the mean negative log-likelihood of the
right choices. Float32, no dropout.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tests.peers.peft_methods import (
    COUNTERPARTS,
    by_default,
    copy_values,
    peft_model,
    trained_tensors,
    without_warnings,
)
from tests.toys import Listed, encode, mixed_task, shake, toy_task
from tunefront.bench.models.families import Backbone, Prompting
from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.tiny import LANGUAGE_MODELS, make_backbone, make_language_model
from tunefront.methods.base import Batch
from tunefront.methods.spelling import parse

if TYPE_CHECKING:
    from peft import PeftModel

TOLERANCE = 1e-5
"""Largest difference of an output, and of a gradient relative to the largest entry of its tensor."""
ROWS = 12


@dataclass(frozen=True)
class Case:
    """A method as spelled, and a tiny backbone by its name in tests/conftest.py."""

    method: str
    backbone: str


ENCODERS = ("bert", "roberta", "distilbert", "deberta-v2")
SPLIT = ("opt", "llama", "mistral", "qwen2", "t5", "t5-gated", "bart")
"""Language models with separate projections of queries, keys and values."""
FUSED = ("gpt2", "gpt_neox")
DECODERS = (*FUSED, "opt", "llama", "mistral", "qwen2")
CASES = tuple(
    Case(method, backbone)
    for method, backbones in {
        "ia3": (*ENCODERS, *SPLIT),
        "lora": (*ENCODERS, *SPLIT),
        "lora:rank=4,alpha=16,sites=every": ("bert", *FUSED, "llama", "t5-gated"),
        "layernorm": (*ENCODERS, *FUSED, *SPLIT),
        "prompt_tuning:length=5": DECODERS,
        "prefix_tuning:length=5,hidden=0": DECODERS,
        # If query heads share keys, peft's embeddings before the two layers have only the width of the keys.
        "prefix_tuning:length=5,hidden=16": tuple(name for name in DECODERS if name != "qwen2"),
    }.items()
    for backbone in backbones
)


@dataclass(frozen=True)
class Difference:
    """The largest differences of a case, and the number of tensors whose gradients were compared."""

    outputs: float
    gradients: float
    tensors: int

    @property
    def small(self) -> bool:
        """Whether the two sides agree; NaN is not small."""
        return max(self.outputs, self.gradients) <= TOLERANCE and self.outputs == self.outputs


@dataclass(frozen=True)
class Result:
    """The outputs of a side and the gradients of its trained tensors."""

    outputs: Tensor
    gradients: Mapping[str, Tensor]


def main() -> bool:
    """Prints the table; returns whether every case agrees."""
    torch.set_num_threads(1)
    agreed = True
    table = Table(title=f"Tunefront and peft {version('peft')}: largest differences on the same weights")
    for column in ("method", "backbone", "tensors", "outputs", "gradients", "", "peft's default places"):
        table.add_column(column, no_wrap=column == "method")
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            try:
                difference, default = compare(case, Path(scratch))
            except AssertionError as error:
                agreed = False
                table.add_row(case.method, case.backbone, "", "", "", f"[red]{error}", "")
                continue
            agreed &= difference.small
            figures = (f"{difference.outputs:.0e}", f"{difference.gradients:.0e}")
            verdict = "agrees" if difference.small else "[red]differs"
            table.add_row(case.method, case.backbone, str(difference.tensors), *figures, verdict, default)
    table.caption = (
        f"float32; differences up to {TOLERANCE:g} agree; torch {torch.__version__}, "
        f"transformers {version('transformers')}"
    )
    Console(width=150).print(table)
    return agreed


def compare(case: Case, scratch: Path) -> tuple[Difference, str]:
    """The differences, and the default places of peft. Errors: AssertionError if peft trains other tensors."""
    method = parse(case.method)
    folder = scratch / case.backbone
    if not folder.exists():
        (make_language_model if case.backbone in LANGUAGE_MODELS else make_backbone)(folder, case.backbone)
    ours, theirs = (make_side(folder) for _ in range(2))
    batch = _batch(ours)
    method.attach(ours)
    shake(inserted(ours))
    model = peft_model(theirs, method)
    rearrange = COUNTERPARTS[method.name].rearrange
    values = rearrange(ours, inserted(ours))
    copy_values(model, values)
    result = run_ours(ours, batch)
    both = difference(Result(result.outputs, rearrange(ours, result.gradients)), run_peft(theirs, model, batch))
    return both, by_default(make_side(folder), method, values)


def difference(ours: Result, theirs: Result) -> Difference:
    """The differences of two results. Errors: AssertionError if they have gradients of different tensors."""
    assert ours.gradients.keys() == theirs.gradients.keys()
    assert all(gradient.any() for gradient in theirs.gradients.values()), "a gradient is zero and shows nothing"
    outputs = float((ours.outputs - theirs.outputs).abs().max())
    relative = [
        float((gradient - ours.gradients[name]).abs().max() / gradient.abs().max())
        for name, gradient in theirs.gradients.items()
    ]
    return Difference(outputs, max(relative), len(relative))


def run_ours(backbone: Backbone, batch: Batch) -> Result:
    """Our result, as in training and scoring: choices of a language model share a row if the suite does so."""
    parameters = inserted(backbone)
    choices = _choices(batch)
    outputs = backbone.choice_logprobs(batch)[batch.inputs["choice_mask"]] if choices else backbone.score(batch)
    gradients = torch.autograd.grad(backbone.loss(batch), list(parameters.values()))
    return Result(outputs.detach(), dict(zip(parameters, gradients, strict=True)))


def run_peft(backbone: Backbone, model: PeftModel, batch: Batch) -> Result:
    """peft's result by plain forward passes; an encoder uses the pooling and head of the backbone."""
    parameters = trained_tensors(model)
    with without_warnings():
        if _choices(batch):
            logprobs = plain_logprobs(model, batch, backbone.sites.family)
            outputs = torch.cat([choice for row in logprobs for choice in row])
            right = [row[label] for row, label in zip(logprobs, batch.labels.tolist(), strict=True)]
            loss = -torch.cat(right).mean()
        else:
            outputs = backbone.score(batch)
            loss = torch.nn.functional.cross_entropy(outputs, batch.labels)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
    return Result(outputs.detach(), dict(zip(parameters, gradients, strict=True)))


def plain_logprobs(model: Any, batch: Batch, family: str) -> list[list[Tensor]]:
    """The log-probabilities of the tokens of the choices of each row. Each choice has its own row, which ends with its
    last token; rows are padded on the right."""
    inputs = batch.inputs
    queries = [ids[mask.bool()] for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
    choices = [
        [ids[mask] for ids, mask in zip(*row, strict=True) if mask.any()]
        for row in zip(inputs["choice_ids"], inputs["choice_mask"], strict=True)
    ]
    pairs = [(query, choice) for query, row in zip(queries, choices, strict=True) for choice in row]
    if family == "decoder":
        rows = [torch.cat([query, choice]) for query, choice in pairs]
        logits = model(**_padded(rows)).logits
        tokens = max(map(len, rows))
        starts = [len(query) - 1 for query, _ in pairs]
    else:
        start = torch.tensor([model.config.decoder_start_token_id])
        answers = pad_sequence([torch.cat([start, choice]) for _, choice in pairs], batch_first=True)
        logits = model(**_padded([query for query, _ in pairs]), decoder_input_ids=answers).logits
        tokens = answers.shape[1]
        starts = [0] * len(pairs)
    # A prompt of peft precedes the tokens and has logits too.
    logprobs = logits[:, logits.shape[1] - tokens :].log_softmax(-1)
    values = iter(
        logprobs[row, start : start + len(choice)].gather(1, choice[:, None])[:, 0]
        for row, (start, (_, choice)) in enumerate(zip(starts, pairs, strict=True))
    )
    return [[next(values) for _ in row] for row in choices]


def _padded(rows: Iterable[Tensor]) -> dict[str, Tensor]:
    rows = list(rows)
    return {
        "input_ids": pad_sequence(rows, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
    }


def make_side(folder: Path) -> Backbone:
    """A backbone in its own memory, in evaluation mode."""
    pretrained, task = Pretrained(str(folder), torch.device("cpu")), toy_task()
    if pretrained.sites.family == "encoder":
        backbone = pretrained.fresh_copy(task, 0, dropout=0.0)
    else:
        task = mixed_task()
        prompting = Prompting(Listed(), losses=LossWeights(1, 0, 0))
        backbone = pretrained.fresh_copy(task, 0, dropout=0.0, prompting=prompting)
    backbone.model.eval()
    return backbone


def _batch(backbone: Backbone) -> Batch:
    """Rows of several lengths; for a language model, with choices of different numbers and lengths."""
    task = toy_task() if backbone.sites.family == "encoder" else mixed_task()
    return encode(backbone, task, "test").batch(range(ROWS))


def inserted(backbone: Backbone) -> dict[str, Any]:
    """The trained tensors without the head, which is equal on both sides."""
    return {name: tensor for name, tensor in backbone.trainable().items() if not name.startswith("head.")}


def _choices(batch: Batch) -> bool:
    return "choice_ids" in batch.inputs
