"""Scores by the plain computation: one forward pass of the published model for every choice, straight from text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tunefront.bench.templates import Prompt


def text_of(demonstrations: Sequence[Prompt], query: str) -> str:
    """The whole prompt."""
    answered = [f"{prompt.text}{prompt.separator}{prompt.choices[prompt.label]}" for prompt in demonstrations]
    return "\n\n".join([*answered, query])


def logprob(model: Any, tokenizer: Any, prompt: str, choice: str) -> tuple[float, int]:
    """The log-probability of a choice after a prompt, and its number of tokens: transformers' own mean loss."""
    if model.config.is_encoder_decoder:
        ids, labels = [torch.tensor([tokenizer(text)["input_ids"]]) for text in (prompt, choice)]
        # mBART would start with the last token of the labels.
        start = torch.tensor([[model.config.decoder_start_token_id]])
        others = {"decoder_input_ids": torch.cat([start, labels[:, :-1]], dim=1)}
    else:
        others = {}
        before, ids = [tokenizer(text)["input_ids"] for text in (prompt, f"{prompt} {choice}")]
        assert ids[: len(before)] == before, "the prompt's tokens are the same with an answer after it"
        ids, labels = torch.tensor([ids]), torch.tensor([[-100] * len(before) + ids[len(before) :]])
    count = int((labels != -100).sum())
    return -model(input_ids=ids, labels=labels, **others).loss.item() * count, count


def plain_scores(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], demonstrations: Sequence[Prompt] = ()
) -> Tensor:
    """(rows, choices) mean log-probabilities of the choices' tokens, -inf where a row has fewer."""
    scores = torch.full((len(prompts), max(len(prompt.choices) for prompt in prompts)), -math.inf)
    model.eval()
    with torch.no_grad():
        for row, prompt in enumerate(prompts):
            for place, choice in enumerate(prompt.choices):
                total, count = logprob(model, tokenizer, text_of(demonstrations, prompt.text), choice)
                scores[row, place] = total / count
    return scores
