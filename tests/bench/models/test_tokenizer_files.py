"""Tokenizers: sentencepiece models split as the library does; unusable ones are an error before a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench.models.folders import copy_of
from tests.toys import encode, fresh_copy
from tunefront.bench.errors import UserError
from tunefront.bench.models.config import check_backbone, warnings_of
from tunefront.bench.models.tiny import PROMPT_WORDS, WORDS, make_backbone, make_language_model
from tunefront.bench.models.tokenizer_files import tokenizer_of

T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
DEBERTA = {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3}
DEBERTA |= {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}  # type: ignore[dict-item]
LLAMA = {"model_type": "bpe", "byte_fallback": True, "vocab_size": 400}


def train_pieces(folder: Path, name: str, **options: Any) -> Any:
    """Trains a sentencepiece model in place of the folder's tokenizer; returns it loaded."""
    import sentencepiece

    for path in [*folder.glob("token*"), *folder.glob("*.txt"), folder / "special_tokens_map.json"]:
        path.unlink(missing_ok=True)
    text = folder / "text"
    text.write_text("\n".join(f"{word} {word} {word}" for word in (*WORDS, *PROMPT_WORDS)), encoding="utf-8")
    options = {"vocab_size": 90, "hard_vocab_limit": False, "minloglevel": 2} | options
    sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(folder / name), **options)
    (folder / f"{name}.vocab").unlink()
    text.unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{name}.model"))


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [("t5-gated", "spiece", T5), ("deberta-v2", "spm", DEBERTA), ("llama", "tokenizer", LLAMA)],
)
def test_a_tokenizer_from_a_sentencepiece_model_splits_as_the_model(
    kind: str, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    make = make_backbone if kind == "deberta-v2" else make_language_model
    folder = make(tmp_path / kind, kind, vocab_size=400)
    pieces = train_pieces(folder, name, **options)
    if kind == "llama":  # transformers cannot infer it from the file
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', encoding="utf-8")
    check_backbone(str(folder))
    tokenizer = tokenizer_of(str(folder))
    for text in ("a good film", "Review: quite awful", "Which book?"):
        assert tokenizer.tokenize(text) == pieces.encode(text, out_type=str)
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) == pieces.encode(text)
    assert warnings_of(str(folder)) == []
    assert len(encode(fresh_copy(str(folder)))) > 0


def test_a_tokenizer_that_splits_otherwise_than_in_training_causes_a_warning(tmp_path: Path) -> None:
    folder = make_language_model(tmp_path / "llama", "llama", vocab_size=400)
    train_pieces(folder, "tokenizer", **LLAMA)
    check_backbone(str(folder))
    assert "tokenizer.model itself" in warnings_of(str(folder))[0]


@pytest.mark.parametrize("name", ["spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model"])
@pytest.mark.parametrize("content", [b"", b"no model", b"\0" * 100], ids=["empty", "text", "zeros"])
def test_an_invalid_sentencepiece_model_is_an_error(name: str, content: bytes, tmp_path: Path) -> None:
    folder = make_language_model(tmp_path / "t5", "t5")
    for path in folder.glob("token*"):
        path.unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="tokenizer") as caught:
        check_backbone(str(folder))
    assert str(folder) in str(caught.value)


def test_half_a_tokenizer_is_reported(language_models: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(language_models["gpt2"], tmp_path / "copy")
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    (folder / "tokenizer.json").unlink()
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "</s>", "bos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", **names}), "utf-8")
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    with pytest.raises(UserError, match=r"vocab\.json .*merges\.txt"):
        check_backbone(str(folder))
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")
    check_backbone(str(folder))
    assert tokenizer_of(str(folder)).tokenize("good film") == tokenizer_of(language_models["gpt2"]).tokenize(
        "good film"
    )


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_tokens_beyond_the_embedding_are_reported_with_the_first(
    name: str, special: bool, folders: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(folders[name], tmp_path / "copy")
    tokenizer = tokenizer_of(str(folder))
    rows = len(tokenizer)
    tokenizer.add_tokens(["driver", "train"], special_tokens=special)
    tokenizer.save_pretrained(folder)
    tokenizer_of.cache_clear()
    with pytest.raises(UserError, match=rf"2 tokens without an embedding .*'driver' has the id {rows}, .*{rows} rows"):
        check_backbone(str(folder))


CONFIG = ["[]", "null", "{", '{"tokenizer_class": 3}', '{"model_max_length": "long"}', '{"model_max_length": -5}']
CONFIG += [
    '{"tokenizer_class": "NoSuch", "auto_map": 4}',
    '{"pad_token": {"content": 3}}',
    '{"a": ' + "[" * 9000 + "]" * 9000,
]
CONFIG += [
    '{"added_tokens_decoder": {"x": 1}}',
    '{"model_max_length": ' + "9" * 5000 + "}",
    "\ufeff{}",
    '{"extra_special_tokens": 3}',
]


@pytest.mark.parametrize("content", CONFIG, ids=range(len(CONFIG)))
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_wrong_tokenizer_configuration_is_an_error_or_ignored(
    content: str, name: str, folders: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_of(folders[name], tmp_path / "copy")
    (folder / "tokenizer_config.json").write_text(content, encoding="utf-8")
    message = None
    try:
        check_backbone(str(folder))
    except UserError as error:
        message = str(error)
    if message is None:
        encode(fresh_copy(str(folder)))
    else:
        assert str(folder) in message
        assert len(message) < 1500


BROKEN = [{}, [], {"model": None}, {"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, {"version": 2.0}]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_tokenizer_is_an_error(content: Any, backbones: dict[str, str], tmp_path: Path) -> None:
    folder = copy_of(backbones["bert"], tmp_path / "copy")
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=r"tokenizer .*cannot be used|no tokenizer with words"):
        check_backbone(str(folder))


def test_a_panic_in_the_tokenizers_rust_code_is_an_error(
    backbones: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not an Exception, so nothing else would catch it."""
    from transformers import AutoTokenizer

    class Panic(BaseException):
        pass

    def panics(*_: object, **__: object) -> None:
        raise Panic("called `Option::unwrap()` on a `None` value")

    folder = copy_of(backbones["bert"], tmp_path / "copy")
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", panics)
    with pytest.raises(UserError, match="unwrap"):
        check_backbone(str(folder))
