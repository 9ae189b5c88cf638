"""Prompts that are too long: demonstrations go first, the last of them before the others, then a query's start."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.bench.models.scoring.plain import plain_scores
from tests.bench.models.scoring.test_tokens import without_weights
from tests.bench.models.scoring.tokenizers import TOKENIZERS
from tests.toys import Listed, encode, fresh_copy, harness, listed_task
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError
from tunefront.bench.models.families import Decoder, Seq2Seq
from tunefront.bench.models.families.language import FEWEST_QUERY_TOKENS, LanguageModel
from tunefront.bench.models.scoring.tokens import BETWEEN
from tunefront.bench.models.tiny import LANGUAGE_MODELS, WORDS
from tunefront.methods.icl import ICL


def task_of(lengths: tuple[int, ...], train: int = 4) -> Task:
    """Rows of these numbers of words; the first are demonstrations."""
    texts = [" ".join(WORDS[(row + place) % 14] for place in range(count)) for row, count in enumerate(lengths)]
    return listed_task([(text, "yes|no" if row % 2 else "very good|bad", 0) for row, text in enumerate(texts)], train)


LENGTHS = (6, 7, 8, 9, 10, 40, 52, 63, 100, 20)
"""Four demonstrations of 6 to 9 words, which are tokens in the fixtures, and queries of 10 to 100."""


def followed(backbone: Any, task: Task, max_length: int = 128) -> tuple[Any, Any]:
    """The encoded test rows, after the demonstrations of all training rows."""
    rows = encode(backbone, task, "test", max_length)
    demonstrations = backbone.prefix(encode(backbone, task, "train", max_length)).demonstrations
    return rows, demonstrations.prepend_to(rows)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_query_longer_than_max_length_keeps_its_end_and_is_counted(
    name: str, language_models: dict[str, str]
) -> None:
    task = task_of(LENGTHS)
    backbone: Any = fresh_copy(language_models[name], task, template=Listed())
    whole, cut = encode(backbone, task, "test"), encode(backbone, task, "test", 50)
    leading, trailing = len(backbone.tokens.leading), len(backbone.tokens.trailing)
    trailing = trailing if LANGUAGE_MODELS[name] == "seq2seq" else 0
    assert whole.truncated == 0
    assert cut.truncated == sum(length > 50 for length in map(len, whole.columns["input_ids"])) >= 2
    for before, after in zip(whole.columns["input_ids"], cut.columns["input_ids"], strict=True):
        before, after = before.tolist(), after.tolist()
        assert len(after) == min(50, len(before))
        assert after[:leading] == before[:leading]
        assert after[leading:] == before[len(before) - len(after) + leading :]
        assert after[len(after) - trailing :] == before[len(before) - trailing :]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_query_that_is_cut_follows_the_whole_separator(kind: str) -> None:
    """Newlines before a text may be other tokens than newlines alone are, as in GPT-2."""
    task = task_of((2, 3, 30), train=2)
    backbone = without_weights(TOKENIZERS[kind](), task)
    (whole,), (cut,) = [next(iter(followed(backbone, task, room)[1].by_prefix.values())).tokens for room in (1000, 12)]
    pieces = backbone.tokenizer.convert_ids_to_tokens(whole)
    newline = [place for place, piece in enumerate(pieces) if piece[-1:] in ("Ċ", "\n") or piece == "<unk>"]
    separator = newline[-1] + 1
    assert separator <= 2
    if kind in ("t5", "words"):  # a word after newlines lacks the space that it has at a text's start, so it stays too
        assert cut[:separator].tolist() == whole[:separator].tolist()
        assert cut[-12:].tolist() == whole[-12:].tolist()
        assert len(cut) <= 12 + separator + len("fine")
    else:
        assert cut.tolist() == [*whole[:separator].tolist(), *whole[-12:].tolist()]


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_the_last_demonstrations_are_dropped_before_the_query_is_cut(
    name: str, language_models: dict[str, str]
) -> None:
    """Every row keeps the first demonstrations that fit, and its score is that of the shortened text."""
    task, method = task_of(LENGTHS), ICL(k=4)
    backbone: Any = fresh_copy(language_models[name], task, template=Listed(), context_length=90)
    method.attach(backbone)
    trainer = harness(backbone, method)
    rows, demonstrations = encode(backbone, task, "test"), encode(backbone, task).prompts
    scorer = method.fit(backbone, encode(backbone, task), trainer)
    after = trainer.prompts.prepend_to(rows)
    (prefix,) = trainer.prompts._prefixes
    texts, prefixed = prefix.demonstrations.texts, after.by_prefix[prefix.demonstrations.name]
    seq2seq = LANGUAGE_MODELS[name] == "seq2seq"
    kept = []
    for row, choices in enumerate(rows.choices):
        query = backbone.tokenizer(rows.prompts[row].text)["input_ids"]
        answer = 0 if seq2seq else max(map(len, choices))
        fits = [0]
        for count in range(1, 5):
            text = BETWEEN.join([*texts[:count], rows.prompts[row].text])
            if len(backbone.tokenizer(text)["input_ids"]) + answer <= 90:
                fits.append(count)
        kept.append(max(fits))
        assert len(prefixed.tokens[row]) + prefixed.before[row] + answer <= 90
        if kept[-1] == 0:
            assert prefixed.tokens[row].tolist() == rows.columns["input_ids"][row].tolist()
            assert len(prefixed.tokens[row]) == min(len(query), 90 - answer)
    assert prefixed.kept == tuple(kept)
    assert len(set(kept)) >= 3
    assert after.shortened == sum(count < 4 for count in kept)
    assert after.demonstrations_per_row == sum(kept) / len(kept)
    scores = trainer.score(scorer, rows).values
    for row, count in enumerate(kept):
        if row == LENGTHS[4:].index(100):
            continue  # cut, as the query alone: no text has these tokens for certain
        plain = plain_scores(backbone.model, backbone.tokenizer, [rows.prompts[row]], demonstrations[:count])
        assert torch.allclose(scores[row], plain[0], atol=1e-5)
    assert rows.truncated == 1


def test_rows_that_keep_different_numbers_are_never_in_one_batch(language_models: dict[str, str]) -> None:
    task, method = task_of(LENGTHS), ICL(k=4)
    backbone: Any = fresh_copy(language_models["gpt2"], task, template=Listed(), context_length=90)
    trainer = harness(backbone, method)
    scorer = method.fit(backbone, encode(backbone, task), trainer)
    after = trainer.prompts.prepend_to(encode(backbone, task, "test"))
    (prefixed,) = after.by_prefix.values()
    order = after.scoring_order(16)
    assert sorted(row for rows in order for row in rows) == list(range(6))
    assert all(len({prefixed.kept[row] for row in rows}) == 1 for rows in order)
    mixed = [prefixed.kept.index(count) for count in sorted(set(prefixed.kept))[:2]]
    with pytest.raises(ValueError, match=r"rows that keep \[0, \d\] demonstrations cannot be scored in one batch"):
        scorer(after.batch(mixed))


@pytest.mark.parametrize(("name", "limit"), [("gpt2", 256), ("opt", 256), ("mistral", 200), ("bart", 256)])
def test_positions_windows_and_context_length_limit_the_whole_prompt(
    name: str, limit: int, language_models: dict[str, str]
) -> None:
    backbone: Any = fresh_copy(language_models[name])
    backbone.model.config.sliding_window = 200 if name == "mistral" else None
    assert backbone.room == limit
    shorter: Any = fresh_copy(language_models[name], context_length=77)
    assert shorter.room == 77
    longer: Any = fresh_copy(language_models[name], context_length=10_000)
    assert longer.room == 256


@pytest.mark.parametrize("name", ["t5", "t5-gated"])
def test_relative_positions_set_no_limit(name: str, language_models: dict[str, str]) -> None:
    backbone: Any = fresh_copy(language_models[name])
    assert backbone.room is None
    limited: Any = fresh_copy(language_models[name], context_length=77)
    assert limited.room == 77


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_choice_that_leaves_no_room_for_the_prompt_is_a_mistake(name: str, language_models: dict[str, str]) -> None:
    task = listed_task([("Text: the film\nLabel:", f"yes|{' '.join(WORDS)}", 0)])
    room = len(WORDS) + FEWEST_QUERY_TOKENS
    assert encode(fresh_copy(language_models[name], task, template=Listed(), context_length=room), task, "test")
    backbone = fresh_copy(language_models[name], task, template=Listed(), context_length=room - 1)
    with pytest.raises(UserError) as caught:
        encode(backbone, task, "test")
    said = str(caught.value)
    assert "has a choice of 14 tokens, which leaves 7 tokens for its prompt" in said
    assert f"accepts {room - 1} tokens in total; raise context_length" in said


@pytest.mark.parametrize("family", [Decoder, Seq2Seq])
def test_choices_that_are_the_same_tokens_are_a_mistake(family: type[LanguageModel]) -> None:
    """Characters that a vocabulary does not distinguish."""
    task = listed_task([("Text: the film", "日|月", 0)])
    with pytest.raises(UserError, match="two choices with the same tokens, '日' and '月'"):
        encode(without_weights(TOKENIZERS["t5"](), task, family), task, "test")


def test_a_choice_without_tokens_is_a_mistake() -> None:
    """A control character that a normalizer takes away."""
    from tokenizers import normalizers

    tokenizer = TOKENIZERS["gpt2"]()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(" \u200b", "")
    task = listed_task([("Text: the film", "yes|\u200b", 0)])
    with pytest.raises(UserError, match="has a choice without tokens"):
        encode(without_weights(tokenizer, task), task, "test")


def test_no_demonstrations_fit_and_nothing_is_read(language_models: dict[str, str]) -> None:
    """Of demonstrations that are longer than the whole room, none is read and every query stands alone."""
    task = task_of((60, 10, 12), train=1)
    backbone: Any = fresh_copy(language_models["opt"], task, template=Listed(), context_length=40)
    method = ICL(k=1)
    trainer = harness(backbone, method)
    scorer = method.fit(backbone, encode(backbone, task), trainer)
    assert trainer.prompts.tokens == 0
    assert trainer.prompts.cache_bytes == 0
    rows = encode(backbone, task, "test")
    after = trainer.prompts.prepend_to(rows)
    assert (after.shortened, after.demonstrations_per_row) == (2, 0)
    plain = plain_scores(backbone.model, backbone.tokenizer, rows.prompts)
    assert torch.allclose(trainer.score(scorer, rows).values, plain, atol=1e-5)
