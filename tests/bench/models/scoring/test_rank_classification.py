"""Rank classification against the plain computation, one full forward pass for every choice."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.bench.models.scoring.plain import logprob, plain_scores, text_of
from tests.toys import Listed, encode, fresh_copy, harness, listed_task, mixed_task, widened
from tunefront.bench.data.task import Task
from tunefront.bench.models.families import decoder
from tunefront.bench.models.scoring.answers import predictions_of
from tunefront.bench.models.scoring.normalization import NORMALIZATIONS
from tunefront.bench.models.tiny import LANGUAGE_MODELS
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.icl import ICL

DECODERS = [name for name, family in LANGUAGE_MODELS.items() if family == "decoder"]


def close(scores: Tensor, expected: Tensor) -> bool:
    """Equal to 1e-4 (rounding takes a twentieth of that), with the same missing entries."""
    there = expected.isfinite()
    return torch.equal(there, scores.isfinite()) and bool((scores - expected)[there].abs().max() < 1e-4)


def fitted(folder: str, task: Task, k: int, rows: int = 16, **prompting: Any) -> tuple[Any, Any, MeasuringHarness]:
    """A backbone with k demonstrations before every query: (backbone, scorer, harness)."""
    backbone = fresh_copy(folder, task, template=Listed(), **prompting)
    method = ICL(k=k)
    method.attach(backbone)
    trainer = harness(backbone, method, rows=rows)
    return backbone, method.fit(backbone, encode(backbone, task), trainer), trainer


@pytest.mark.parametrize("k", [0, 6])
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_scores_are_those_of_a_forward_pass_for_every_choice(
    name: str, k: int, language_models: dict[str, str]
) -> None:
    """Rows of mixed lengths with choices of mixed number and length, 1 and 16 at a time, padded on either side."""
    task = mixed_task()
    backbone, _, _ = fitted(language_models[name], task, k)
    rows, demonstrations = encode(backbone, task, "test"), encode(backbone, task).prompts[:k]
    assert len({len(choices) for choices in rows.choices}) > 1
    assert len({len(choice) for choices in rows.choices for choice in choices}) > 2
    expected = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, demonstrations)
    for size in (1, 16):
        backbone, scorer, trainer = fitted(language_models[name], task, k, size)
        rows = encode(backbone, task, "test")
        assert max(map(len, trainer.prompts.prepend_to(rows).scoring_order(size))) == size
        assert close(trainer.score(scorer, rows).values, expected)
    batch = trainer.prompts.prepend_to(rows).batch(range(16))
    with torch.no_grad():
        for left in (False, True):
            assert close(scorer(widened(batch, rows, 5, left)), expected[:16])


@pytest.mark.parametrize("name", ["gpt2", "t5"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_scores_are_divided_by_the_length_that_the_normalization_names(
    normalization: str, name: str, language_models: dict[str, str]
) -> None:
    task = listed_task([("Text: the film", "good|very bad|naïve", 0), ("Text: a book", "fine film|poor", 1)])
    backbone, scorer, trainer = fitted(language_models[name], task, 0, normalization=normalization)
    rows = encode(backbone, task, "test")
    scores = trainer.score(scorer, rows).values
    for row, prompt in enumerate(rows.prompts):
        for place, choice in enumerate(prompt.choices):
            with torch.no_grad():
                total, count = logprob(backbone.model, backbone.tokenizer, prompt.text, choice)
            length = {"none": 1, "token": count, "char": len(choice), "byte": len(choice.encode())}[normalization]
            assert scores[row, place].item() == pytest.approx(total / length, abs=1e-4)
    assert scores[1, 2] == -math.inf


def test_ties_go_to_the_first_choice(language_models: dict[str, str]) -> None:
    """A model that finds all tokens equally likely, and choices of one token each."""
    task = listed_task([("Text: the film", "good|bad|fine", 2), ("Text: a book", "poor|awful", 1)])
    backbone, scorer, trainer = fitted(language_models["gpt2"], task, 0)
    torch.nn.init.zeros_(backbone.model.lm_head.weight)
    scores = trainer.score(scorer, encode(backbone, task, "test")).values
    assert len(set(scores[scores.isfinite()].tolist())) == 1
    assert predictions_of(task, scores) == [0, 0]
    assert predictions_of(task, torch.tensor([[1.0, 2, 2], [2, 1, 2], [0, 0, 0], [-math.inf, -9, -9]])) == [1, 0, 0, 1]


@pytest.mark.parametrize("k", [0, 6])
@pytest.mark.parametrize("name", DECODERS)
def test_plain_rows_give_what_side_by_side_gives(
    name: str, k: int, language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, scores = mixed_task(), {}
    for side_by_side in (True, False):
        backbone, scorer, trainer = fitted(language_models[name], task, k)
        assert backbone.side_by_side, "found out by itself"
        monkeypatch.setitem(decoder._SIDE_BY_SIDE, backbone.kind, side_by_side)
        scores[side_by_side] = trainer.score(scorer, encode(backbone, task, "test")).values
        monkeypatch.undo()
    assert close(scores[True], scores[False])


def test_training_scores_are_those_of_plain_rows(
    language_models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where masks are not heeded, gradients go through plain rows too, and are the same."""
    task, gradients = mixed_task(), {}
    for side_by_side in (True, False):
        backbone = fresh_copy(language_models["llama"], task, dropout=0.0, template=Listed())
        monkeypatch.setitem(decoder._SIDE_BY_SIDE, backbone.kind, side_by_side)
        backbone.model.train()
        backbone.loss(encode(backbone, task).batch(range(6))).backward()
        gradients[side_by_side] = {name: p.grad.clone() for name, p in backbone.trainable().items()}
    for name, gradient in gradients[True].items():
        difference = (gradient - gradients[False][name]).abs().max()
        assert difference < 1e-4 * gradient.abs().max(), name  # of sums that cancel out rounding is no share


@pytest.mark.parametrize("k", [0, 4])
def test_an_architecture_that_ignores_positions_is_detected_and_scored_in_plain_rows(
    k: int,
    more_language_models: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bloom's attention is biased by the places of a two-dimensional mask."""
    monkeypatch.setattr(decoder, "_SIDE_BY_SIDE", {})
    task = mixed_task()
    backbone, scorer, trainer = fitted(more_language_models["bloom"], task, k)
    rows = encode(backbone, task, "test")
    scores = trainer.score(scorer, rows).values
    assert {backbone.kind: False} == decoder._SIDE_BY_SIDE
    assert "BloomForCausalLM" in caplog.text
    expected = plain_scores(backbone.model, backbone.tokenizer, rows.prompts, encode(backbone, task).prompts[:k])
    assert close(scores, expected)


def test_the_text_is_made_of_answered_prompts_and_blank_lines(language_models: dict[str, str]) -> None:
    """What the plain computation reads is what the tokens say."""
    task = listed_task([("Text: good", "yes|no", 0), ("Text: bad", "yes|no", 1), ("Text: fine", "yes|no", 0)], train=2)
    backbone, _, trainer = fitted(language_models["gpt2"], task, 2)
    (prefix,) = trainer.prompts._prefixes
    (tokens,) = trainer.prompts.prepend_to(encode(backbone, task, "test")).by_prefix[prefix.demonstrations.name].tokens
    read = backbone.tokenizer.decode([*prefix.demonstrations.ids, *tokens])
    assert read == "Text: good yes\n\nText: bad no\n\nText: fine"
    assert read == text_of(encode(backbone, task).prompts, "Text: fine")


def test_a_row_needs_no_batch_mate_with_as_many_choices(language_models: dict[str, str]) -> None:
    """Rows scored one by one come back as one table, -inf where a row has fewer choices."""
    task = listed_task([("Text: good", "yes|no|one", 0), ("Text: bad", "yes|no", 1)])
    backbone, scorer, trainer = fitted(language_models["opt"], task, 0, rows=1)
    scores = trainer.score(scorer, encode(backbone, task, "test")).values
    assert scores.isfinite().tolist() == [[True] * 3, [True, True, False]]
