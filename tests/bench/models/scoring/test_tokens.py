"""Demonstrations, query and answer in pieces are the tokens of the text as a whole."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.bench.models.scoring.plain import text_of
from tests.bench.models.scoring.tokenizers import LLAMA3, MERGES, TOKENIZERS, byte_pairs
from tests.toys import Listed, encode, listed_task
from tunefront.bench.data.task import Task
from tunefront.bench.models.families import Decoder, Prompting, Seq2Seq
from tunefront.bench.models.families.language import LanguageModel
from tunefront.bench.models.scoring.prefix import Demonstrations
from tunefront.bench.models.scoring.tokens import Tokens, shared_tokens
from tunefront.bench.templates import Prompt
from tunefront.methods.sites import SITES

TEXTS = (
    ("Review: the film was good.\nSentiment:", "yes.|no.", 0),
    ("Is 12345 a number?", "yes|no", 1),
    ("The answer (in a word) is:", "good!|not good...", 1),
    ('"Quoted." he said\n\nAnswer:', '"yes"|"no"', 0),
    ("naïve 日本語 🙂 text =", "ja|nein", 0),
    ("Text: two  spaces and\ttab\nLabel:", "good|bad", 0),
    ("Last one.", "Yes.\nIt is.|No.", 1),
    ("(1) first", "2|10", 0),
)
"""Prompts and answers whose ends and starts may merge into one token in every known way."""


def without_weights(
    tokenizer: Any, task: Task, family: type[LanguageModel] = Decoder, separator: str = " ", **config: Any
) -> LanguageModel:
    """A language model without weights, for its tokens alone."""
    model = SimpleNamespace(config=SimpleNamespace(hidden_size=8, **config))
    template = Listed(separator=separator)
    return family(model, tokenizer, SITES["gpt2"], task, Prompting(template))  # type: ignore[arg-type]


@pytest.mark.parametrize("separator", [" ", "\n", "\n\n"], ids=repr)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_prefix_query_and_choice_are_the_tokens_of_the_whole_text(kind: str, separator: str) -> None:
    tokenizer, task = TOKENIZERS[kind](), listed_task(TEXTS)
    backbone = without_weights(tokenizer, task, separator=separator)
    trailing = len(backbone.tokens.trailing)
    rows = encode(backbone, task, "test", 1000)
    for count in range(len(TEXTS)):
        demonstrations: Demonstrations = backbone.prefix(rows.take(range(count))).demonstrations
        followed = demonstrations.prepend_to(rows).by_prefix[demonstrations.name]
        assert set(followed.kept) == {count}
        for row, prompt in enumerate(rows.prompts):
            for choice, ids in zip(prompt.choices, rows.choices[row], strict=True):
                joined = [*demonstrations.ids[: followed.before[row]], *followed.tokens[row].tolist(), *ids.tolist()]
                text = f"{text_of(rows.prompts[:count], prompt.text)}{separator}{choice}"
                whole = tokenizer(text)["input_ids"]
                assert joined == whole[: len(whole) - trailing], (count, text)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_an_encoder_reads_the_whole_text_with_the_tokens_around_it(kind: str) -> None:
    tokenizer, task = TOKENIZERS[kind](), listed_task(TEXTS)
    backbone = without_weights(tokenizer, task, Seq2Seq)
    rows = encode(backbone, task, "test", 1000)
    for count in (0, 1, 4):
        demonstrations = backbone.prefix(rows.take(range(count))).demonstrations
        followed = demonstrations.prepend_to(rows).by_prefix[demonstrations.name]
        for row, prompt in enumerate(rows.prompts):
            assert followed.tokens[row].tolist() == tokenizer(text_of(rows.prompts[:count], prompt.text))["input_ids"]
            for choice, ids in zip(prompt.choices, rows.choices[row], strict=True):
                assert ids.tolist() == tokenizer(choice)["input_ids"]


def test_a_full_stop_and_the_newlines_after_it_are_one_token_and_no_demonstrations_own() -> None:
    """The case that a prefix tokenised on its own gets wrong."""
    tokenizer = byte_pairs(MERGES, LLAMA3)
    tokens = Tokens(tokenizer)
    assert tokenizer.tokenize("a.\n\nb") == ["a", ".ĊĊ", "b"]
    demonstrations = Demonstrations.of(
        [Listed().render(listed_task(TEXTS), row) for row in listed_task(TEXTS).splits["test"][:2]], tokens, None, 99
    )
    assert demonstrations.text.endswith("yes.\n\nIs 12345 a number? no")
    alone, both = tokens.of([demonstrations.texts[0]])[0], tokens.of([demonstrations.text])[0]
    assert demonstrations.ends == (0, len(alone) - 1, len(both)), "the full stop goes with what follows"
    assert demonstrations.ids[: demonstrations.ends[1]] == alone[:-1] == both[: demonstrations.ends[1]]


def test_leading_and_trailing_tokens_are_separated_from_the_text() -> None:
    known = {name: Tokens(TOKENIZERS[name]()) for name in ("gpt2", "llama", "bart", "t5", "llama-2")}
    around = {name: (len(tokens.leading), len(tokens.trailing)) for name, tokens in known.items()}
    assert around == {"gpt2": (0, 0), "llama": (1, 0), "bart": (1, 1), "t5": (0, 1), "llama-2": (1, 0)}
    assert known["bart"].tokenizer.convert_ids_to_tokens(known["bart"].leading) == ["<s>"]
    assert known["gpt2"].of([]) == []


def test_answers_begin_where_the_answered_prompts_part_from_the_prompt() -> None:
    tokens = Tokens(TOKENIZERS["no split"]())
    (split,) = tokens.with_answers([Prompt("Label:", ("yes", "no"), 0)])
    assert split.boundary_tokens == 1
    assert tokens.tokenizer.decode(split.prompt) == "Label", "the colon and the space are one token of the answer"
    assert [tokens.tokenizer.decode(answer) for answer in split.answers] == [": yes", ": no"]


def test_shared_counts_what_two_sequences_begin_with() -> None:
    pairs: list[tuple[list[int], list[int]]] = [([1, 2, 3], [1, 2, 4]), ([1], [1, 2]), ([], [1]), ([2], [1])]
    assert [shared_tokens(*pair) for pair in pairs] == [2, 1, 0, 0]
