"""Tokenizers made from GGUF files split texts as the tokenizers that the files were made from."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GPT2Tokenizer, PreTrainedTokenizerBase, Qwen2Tokenizer

from tests.bench.models.gguf.files import tokenizer_entries, write_model
from tunefront.bench.errors import UserError
from tunefront.bench.models.gguf.tokenizer import SPLITTINGS
from tunefront.bench.models.tokenizer_files import tokenizer_of

TEXTS = 10_000
WORDS = (
    *(
        "the film's",
        "It",
        "don't",
        "WE'LL",
        "naïve",
        "naïve",
        "日本語",
        "ﬁn",
        "x²",
        "½",
        "٣٤",
        "Ⅷ",
        "résumé",
        "🙂",
        "a_b",
        "C++",
    ),
    *("def f(x):", "\n", "\n\n", "  ", "\t", "\r\n", "...", "--", "'", '"', "(", ")", "<|im_end|>", "<think>", "user"),
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def texts(count: int = TEXTS) -> Iterator[str]:
    """Texts with numbers in every company: dates, decimals, codes, digits of other scripts; always the same."""
    generator = random.Random(0)
    for _ in range(count):
        parts = []
        for _ in range(generator.randint(1, 12)):
            number = str(generator.randrange(10 ** generator.randint(1, 9)))
            written = generator.choice(
                (number, f"{number}.{number[:2]}", f"{number[:1]},{number}", f"v{number}x", f"-{number}")
            )
            parts.append(generator.choice((written, generator.choice(WORDS))))
        yield generator.choice(("", " ")).join(parts)


def byte_level(split: pre_tokenizers.PreTokenizer, composed: bool = False, whole_words: bool = False) -> Tokenizer:
    """A trained byte-level tokenizer that splits so: the rules of a published tokenizer.json, with fewer merges."""
    made = Tokenizer(models.BPE(ignore_merges=whole_words))
    made.pre_tokenizer, made.decoder = split, decoders.ByteLevel()
    if composed:
        made.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        vocab_size=900,
        show_progress=False,
    )
    made.train_from_iterator(texts(2000), trainer)
    made.add_tokens([AddedToken("<think>", normalized=False)])
    return made


def written(path: Path, made: Tokenizer, pre: str, folder: Path, /, **entries: Any) -> str:
    """A GGUF file of the folder's model with this tokenizer, by the name of a backbone."""
    roles = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    own = tokenizer_entries(json.loads(made.to_str()), roles, pre)
    return str(
        write_model(path, folder, entries=own | {f"tokenizer.ggml.{name}": value for name, value in entries.items()})
    )


def agree(found: PreTrainedTokenizerBase, reference: Any, **options: bool) -> bool:
    """Whether both give every text the same numbers."""
    return all(found(text, **options)["input_ids"] == _ids(reference, text) for text in texts())


def _ids(reference: Any, text: str) -> list[int]:
    return reference.encode(text).ids if isinstance(reference, Tokenizer) else reference(text)["input_ids"]


def sequence(*parts: pre_tokenizers.PreTokenizer) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(list(parts))


WHOLE = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


@pytest.fixture(scope="module")
def llama(language_models: dict[str, str]) -> Path:
    return Path(language_models["llama"])


@pytest.mark.parametrize(
    ("pre", "split", "options"),
    [
        ("smollm", sequence(pre_tokenizers.Digits(individual_digits=True), WHOLE), {}),
        ("gpt-2", WHOLE, {}),
        ("llama-bpe", sequence(pre_tokenizers.Split(Regex(LLAMA3), "isolated"), BYTES), {"whole_words": True}),
    ],
)
def test_texts_are_split_by_the_published_rules(
    pre: str, split: pre_tokenizers.PreTokenizer, options: dict[str, bool], llama: Path, tmp_path: Path
) -> None:
    made = byte_level(split, **options)
    assert agree(tokenizer_of(written(tmp_path / "model.gguf", made, pre, llama)), made)


def test_qwen2_splits_texts_as_its_class_in_transformers(language_models: dict[str, str], tmp_path: Path) -> None:
    split = sequence(pre_tokenizers.Split(Regex(LLAMA3.replace("{1,3}", "")), "isolated"), BYTES)
    made = byte_level(split, composed=True)
    model = json.loads(made.to_str())["model"]
    reference = Qwen2Tokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    reference.add_tokens(
        [AddedToken(token, special=token in SPECIAL, normalized=False) for token in (*SPECIAL, "<think>")]
    )
    name = written(tmp_path / "model.gguf", made, "qwen2", Path(language_models["qwen2"]))
    assert agree(tokenizer_of(name), reference)
    assert agree(tokenizer_of(name), made)


def test_gpt2_of_an_older_file_splits_texts_as_its_class_in_transformers(
    language_models: dict[str, str], tmp_path: Path
) -> None:
    """Files of before May 2024 name no way of splitting, and GPT-2 has only one."""
    made = byte_level(WHOLE)
    model = json.loads(made.to_str())["model"]
    reference = GPT2Tokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    reference.add_tokens(
        [AddedToken(token, special=token in SPECIAL, normalized=False) for token in (*SPECIAL, "<think>")]
    )
    name = written(tmp_path / "model.gguf", made, "gpt-2", Path(language_models["gpt2"]), pre=None)
    assert agree(tokenizer_of(name), reference)


def test_digits_make_a_difference(llama: Path, tmp_path: Path) -> None:
    """With another pre-tokenizer some of the texts get other ids."""
    made = byte_level(sequence(pre_tokenizers.Digits(individual_digits=True), WHOLE))
    for pre in ("gpt-2", "llama-bpe"):
        assert not agree(tokenizer_of(written(tmp_path / f"{pre}.gguf", made, pre, llama)), made)


def test_special_tokens_are_those_that_the_file_names(llama: Path, tmp_path: Path) -> None:
    name = written(tmp_path / "model.gguf", byte_level(WHOLE), "gpt-2", llama, chat_template="{{ 1 / 0 }}")
    found = tokenizer_of(name)
    assert (found.bos_token, found.eos_token, found.unk_token) == ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    assert {"<|im_end|>", "<|im_start|>"} <= set(found.all_special_tokens)
    assert "<think>" not in found.all_special_tokens
    assert found.tokenize("a<think>b<|im_end|>") == ["a", "<think>", "b", "<|im_end|>"]
    assert found.chat_template is None
    assert found.model_max_length == 256


@pytest.mark.parametrize(
    ("entries", "added"),
    [
        ({"add_bos_token": True}, ([1], [])),
        ({"add_bos_token": True, "add_eos_token": True}, ([1], [2])),
        ({"add_bos_token": False}, ([], [])),
        ({"add_bos_token": None, "pre": "llama-bpe"}, ([1], [])),
        ({"add_bos_token": None}, ([], [])),
    ],
)
def test_a_text_begins_and_ends_as_the_file_says(
    entries: dict[str, Any], added: tuple[list[int], list[int]], llama: Path, tmp_path: Path
) -> None:
    found = tokenizer_of(written(tmp_path / "model.gguf", byte_level(WHOLE), "gpt-2", llama, **entries))
    alone = found("a film", add_special_tokens=False)["input_ids"]
    assert found("a film")["input_ids"] == [*added[0], *alone, *added[1]]


@pytest.mark.parametrize("before", [True, False])
def test_pieces_with_scores_are_merged_as_sentencepiece_does(before: bool, llama: Path, tmp_path: Path) -> None:
    """Against sentencepiece itself, trained as Llama 2's was: pieces for bytes, digits apart, no normalisation."""
    import sentencepiece

    held = io.BytesIO()
    lines = [text.replace("\n", " ").replace("\r", " ") for text in texts(3000)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=held,
        model_type="bpe",
        vocab_size=900,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=before,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    reference = sentencepiece.SentencePieceProcessor(model_proto=held.getvalue())
    places = range(reference.vocab_size())
    kinds = [(reference.is_unknown, 2), (reference.is_control, 3), (reference.is_byte, 6)]
    entries = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [reference.id_to_piece(place) for place in places],
        "tokenizer.ggml.scores": [reference.get_score(place) for place in places],
        "tokenizer.ggml.token_type": [next((kind for test, kind in kinds if test(place)), 1) for place in places],
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": None,
        "tokenizer.ggml.add_bos_token": None,
        "tokenizer.ggml.add_space_prefix": before,
    }
    found = tokenizer_of(str(write_model(tmp_path / "model.gguf", llama, entries=entries)))
    plain = [text for text in texts() if not any(token in text for token in ("<s>", "</s>", "<unk>"))]
    assert all(found(text)["input_ids"] == [1, *reference.encode(text)] for text in plain)
    assert all(found.decode(reference.encode(text)) == reference.decode(reference.encode(text)) for text in plain[:200])


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"pre": "tekken"}, r"names the pre-tokenizer 'tekken'.*smollm.*Give the original model's folder"),
        ({"pre": "smolm"}, "smollm is the nearest"),
        ({"pre": None}, "names no pre-tokenizer"),
        (
            {"model": "bert"},
            r"of the kind 'bert' \(tokenizer.ggml.model\); gpt2 and llama are supported.*save_pretrained",
        ),
        ({"model": None}, "of the kind none"),
        ({"model": "llama"}, "has no tokenizer.ggml.scores"),
        ({"merges": None}, "has no tokenizer.ggml.merges"),
        ({"merges": ["a b c"]}, "has the merge 'a b c'"),
        ({"merges": ["zzz yyy"]}, "has the merge 'zzz yyy', which does not join two of its tokens"),
        ({"tokens": ["a", "b", "a"]}, "has the token 'a' twice"),
        ({"tokens": ["a" * 2000]}, "has a token of 2,000 characters"),
        ({"token_type": [1, 1]}, "has an invalid tokenizer.ggml.token_type; it must be a type for each token"),
    ],
)
def test_a_tokenizer_that_is_not_read_is_refused(
    entries: dict[str, Any], said: str, llama: Path, tmp_path: Path
) -> None:
    name = written(tmp_path / "model.gguf", byte_level(WHOLE), "gpt-2", llama, **entries)
    with pytest.raises(UserError, match=said):
        tokenizer_of(name)


def test_qwen2_takes_no_other_way_of_splitting(language_models: dict[str, str], tmp_path: Path) -> None:
    """transformers splits in Qwen2's way whatever the folder says."""
    name = written(tmp_path / "model.gguf", byte_level(WHOLE), "smollm", Path(language_models["qwen2"]))
    with pytest.raises(UserError, match="supported for qwen2 are qwen2"):
        tokenizer_of(name)


def test_every_way_of_splitting_is_one_of_four() -> None:
    assert len(set(SPLITTINGS.values())) == 4
