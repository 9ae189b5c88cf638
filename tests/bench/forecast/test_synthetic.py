"""Synthetic rows have the requested lengths under their own tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunefront.bench.forecast.fake_models import FakePretrained
from tunefront.bench.forecast.synthetic import PlainTextTemplate, SyntheticRows
from tunefront.bench.models.families import Prompting

SIZES = SyntheticRows(tokens=19, choices=3, answer_tokens=2, train_rows=4, test_rows=5)


def fake_pretrained(folder: str, lengths: SyntheticRows) -> Any:
    return FakePretrained(str(Path(folder) / "config.json"), lengths)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "deberta-v2"])
def test_a_row_of_an_encoder_has_all_its_tokens(family: str, backbones: dict[str, str]) -> None:
    source = fake_pretrained(backbones[family], SIZES)
    task = SIZES.task("encoder")
    backbone = source.fresh_copy(task, 0)
    encoded = backbone.encode(task, task.splits["train"], SIZES.tokens)
    assert [len(ids) for ids in encoded.columns["input_ids"]] == [19] * 4
    assert encoded.truncated == 0
    assert backbone.head.weight.shape[0] == 3 if hasattr(backbone.head, "weight") else True


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "t5-gated", "bart"])
@pytest.mark.parametrize("answer_tokens", [1, 2, 5])
def test_a_prompt_and_its_answers_have_all_their_tokens(
    name: str, answer_tokens: int, language_models: dict[str, str]
) -> None:
    lengths = SyntheticRows(tokens=19, choices=3, answer_tokens=answer_tokens, train_rows=4, test_rows=5)
    source = fake_pretrained(language_models[name], lengths)
    task = lengths.task(source.sites.family)
    encoded = source.fresh_copy(task, 0, prompting=Prompting(PlainTextTemplate())).encode(task, task.splits["test"], 19)
    assert len(encoded) == 5
    assert [len(ids) for ids in encoded.columns["input_ids"]] == [19] * 5
    ends = source.sites.family == "seq2seq"  # an answer there ends with </s> and has at least one word
    assert {len(choice) for row in encoded.choices for choice in row} == {max(answer_tokens, 1 + ends)}
    assert {len(row) for row in encoded.choices} == {3}
    assert encoded.truncated == 0


def test_labels_take_turns_and_answers_differ() -> None:
    task = SIZES.task("decoder")
    assert [row.label for row in task.splits["test"]] == [0, 1, 2, 0, 1]
    assert len(set(task.label_names)) == task.outputs == 3


def test_rows_have_segments_if_the_model_has_them() -> None:
    class Config:
        type_vocab_size = 2

    assert "token_type_ids" in SIZES.tokenizer("encoder", Config()).model_input_names
    assert "token_type_ids" not in SIZES.tokenizer("encoder", object()).model_input_names
    assert "token_type_ids" not in SIZES.tokenizer("decoder", Config()).model_input_names


@pytest.mark.parametrize(
    ("field", "wrong"), [("tokens", 7), ("choices", 1), ("answer_tokens", 0), ("train_rows", 0), ("test_rows", 0)]
)
def test_sizes_out_of_bounds_are_errors(field: str, wrong: int) -> None:
    with pytest.raises(ValueError, match=f"{field} must be at least"):
        SyntheticRows(**{field: wrong})
