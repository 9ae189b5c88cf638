"""Scores of choices against loops over plain numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.bench.models.scoring.choices import Ragged, padded, ragged
from tunefront.bench.models.scoring.normalization import NORMALIZATIONS, choice_scores, text_length

TEXTS = (("yes", "naïve", "日本", ""), ("no", "a b"), ("🙂",))
"""One text a choice of the rows of `ragged`; the empty one is scored by its end-of-sequence token alone."""


def lengths_of(normalization: str, choices: int = 4) -> Tensor:
    """As a family would pad them: with zeros."""
    rows = [[text_length(text, normalization) for text in row] for row in TEXTS]
    return torch.tensor([row + [0] * (choices - len(row)) for row in rows])


def by_loop(rows: Ragged, normalization: str, choices: int = 4) -> Tensor:
    scores = torch.full((len(rows), choices), -math.inf)
    for place, row in enumerate(rows):
        for choice, tokens in enumerate(row):
            text = TEXTS[place][choice]
            length = {"none": 1, "token": len(tokens), "char": len(text), "byte": len(text.encode("utf-8"))}
            scores[place, choice] = math.fsum(tokens) / max(1, length[normalization])
    return scores


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_scores_are_the_sums_over_the_lengths(normalization: str) -> None:
    rows = ragged()
    scores = choice_scores(*padded(rows), normalization, lengths_of(normalization))
    assert scores.dtype == torch.float32
    assert torch.allclose(scores, by_loop(rows, normalization), rtol=1e-6)
    assert scores.isneginf().tolist() == [[False] * 4, [False, False, True, True], [False, True, True, True]]


def test_lengths_are_of_the_text_and_not_of_its_tokens() -> None:
    """By hand: log 1/2 + log 1/4 over one, two tokens, five characters, six bytes."""
    logprobs, mask = padded([[[math.log(0.5), math.log(0.25)]]])
    total = math.log(0.125)
    scores = {
        name: choice_scores(logprobs, mask, name, torch.tensor([[text_length("naïve", name)]])).item()
        for name in NORMALIZATIONS
    }
    assert scores == pytest.approx({"none": total, "token": total / 2, "char": total / 5, "byte": total / 6})


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_padding_and_batch_mates_change_no_score(normalization: str) -> None:
    rows = ragged()
    lengths = lengths_of(normalization)
    scores = choice_scores(*padded(rows), normalization, lengths)
    wide = choice_scores(*padded(rows, choices=6, tokens=9), normalization, lengths_of(normalization, 6))
    assert torch.allclose(wide[:, :4], scores, rtol=1e-6)
    assert wide[:, 4:].isneginf().all()
    for place, row in enumerate(rows):
        alone = choice_scores(*padded([row]), normalization, lengths[place : place + 1, : len(row)])
        assert torch.allclose(alone[0], scores[place, : len(row)], rtol=1e-6)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradients_are_right_and_zero_where_there_is_no_token(normalization: str) -> None:
    logprobs, mask = padded(ragged(), fill=-3.0)
    logprobs = logprobs.double().requires_grad_()
    lengths, exists = lengths_of(normalization), mask.any(-1)
    assert torch.autograd.gradcheck(lambda given: choice_scores(given, mask, normalization, lengths)[exists], logprobs)
    (slope,) = torch.autograd.grad(choice_scores(logprobs, mask, normalization, lengths)[exists].sum(), logprobs)
    assert torch.equal(slope != 0, mask)


def test_low_precision_is_summed_in_float32() -> None:
    """1,001 tokens of -1/256; the bfloat16 nearest to their sum is off by 1/256."""
    logprobs = torch.full((1, 1, 1001), -1 / 256, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        scores = choice_scores(logprobs, torch.ones_like(logprobs, dtype=torch.bool))
    assert scores.dtype == torch.float32
    assert scores.item() == -1001 / 256


def test_what_is_missing_or_unknown_is_named() -> None:
    logprobs, mask = padded(ragged())
    with pytest.raises(ValueError, match="normalization 'byte' needs the lengths"):
        choice_scores(logprobs, mask, "byte")
    with pytest.raises(ValueError, match="no normalization 'tokens'; did you mean 'token'"):
        choice_scores(logprobs, mask, "tokens")
    with pytest.raises(ValueError, match="no normalization 'bytes'; did you mean 'byte'"):
        text_length("yes", "bytes")
