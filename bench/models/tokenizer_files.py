"""A folder's tokenizer: loaded, and tried on a text, so that an unusable one is reported before anything runs."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.errors import UserError
from tunefront.bench.models.config_files import configuration, short_message
from tunefront.bench.models.json_files import POINTER, pointer_message, read_object
from tunefront.bench.models.locate import locate
from tunefront.bench.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIECES = ("spm.model", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Sentencepiece models, which transformers converts to a tokenizer."""
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", *PIECES)
"""The vocabulary files; a folder needs at least one."""
_SENTINEL = re.compile(r"<extra_id_\d+>")
"""Tokens that transformers adds to T5's by itself; no text has them."""
FEWEST_WORDS = 2
"""A tokenizer from a file has at least this many words; one that transformers makes up has a single blank."""
_SAMPLE_TEXTS = ("The quick brown fox, 12 of them.", "good film")
_EXTRA_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@functools.lru_cache(maxsize=8)
def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """The backbone's tokenizer. Errors: UserError if it cannot be read or has no words."""
    folder = locate(name)
    _check_files(folder, name)
    tokenizer = _loaded(folder, name)
    special = set(tokenizer.all_special_tokens)
    words = [word for word in tokenizer.get_vocab() if word not in special and not _SENTINEL.fullmatch(word)]
    if len(words) < FEWEST_WORDS:  # made up by transformers, which expects another file name
        raise UserError(
            f"{name} has no tokenizer with words: transformers finds none for {type(tokenizer).__name__} in {folder}; "
            "save it there with tokenizer.save_pretrained()."
        )
    return tokenizer


def check_tokenizer(name: str, config: Any) -> None:  # Any: as in config_files
    """UserError if the tokenizer cannot be read, splits no text, or has tokens without an embedding in the model."""
    tokenizer = tokenizer_of(name)
    try:
        ids = list(tokenizer("a word")["input_ids"])
        words = [(number, token) for token, number in tokenizer.get_vocab().items() if not _SENTINEL.fullmatch(token)]
        longest = int(tokenizer.model_max_length)
    except BaseException as error:
        raise _unusable(name, error) from error
    if not ids or longest < 1:
        problem = "splits a text into no tokens" if not ids else f"accepts at most {longest} tokens"
        raise UserError(f"the tokenizer of {name} {problem}; save it again with tokenizer.save_pretrained().")
    rows = getattr(config, "vocab_size", None)
    beyond = sorted(word for word in words if rows and word[0] >= rows)
    if beyond:
        raise UserError(
            f"the tokenizer of {name} has {len(beyond)} tokens without an embedding in the model: {beyond[0][1]!r} has "
            f"the id {beyond[0][0]}, but the embedding has {rows} rows. Give the tokenizer that belongs to the "
            "weights, or call model.resize_token_embeddings(len(tokenizer)) and save both."
        )


def tokenization_warning(name: str) -> str | None:
    """A warning if transformers splits texts differently from the folder's sentencepiece model; None if it does not, or
    if the tokenizer does not come from such a model."""
    folder = locate(name)
    file = next((folder / file for file in PIECES if (folder / file).is_file()), None)
    if file is None or (folder / "tokenizer.json").is_file():
        return None
    from sentencepiece import SentencePieceProcessor

    pieces, tokenizer = SentencePieceProcessor(model_file=str(file)), tokenizer_of(name)
    for text in _SAMPLE_TEXTS:
        expected, actual = pieces.encode(text, out_type=str), tokenizer.tokenize(text)
        if expected != actual:
            return (
                f"transformers splits {text!r} into {actual[:4]}, but {file} itself gives {expected[:4]}: the model "
                "reads other tokens than in its training. Name its tokenizer_class in tokenizer_config.json."
            )
    return None


def _loaded(folder: Path, name: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        with quiet():
            return AutoTokenizer.from_pretrained(
                folder, config=configuration(folder), trust_remote_code=False, local_files_only=True
            )
    except UserError:
        raise
    except BaseException as error:
        raise _unusable(name, error) from error


def _unusable(name: str, error: BaseException) -> UserError:
    """The UserError for any error of a tokenizer; a panic in its Rust code is not an Exception."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        raise error
    message = short_message(error)
    pieces = next((file for file in PIECES if (locate(name) / file).is_file()), None)
    if pieces is not None and not (locate(name) / "tokenizer.json").is_file():
        message = f"{pieces} is not a sentencepiece model that transformers can convert: {message}"
    return UserError(
        f"the tokenizer of {name} cannot be used ({message}). Download its files again, or save it with "
        "tokenizer.save_pretrained()."
    )


def _check_files(folder: Path, name: str) -> None:
    """UserError if there is no tokenizer, or if a file of it is no regular file, a pointer, or not a JSON object."""
    if not any((folder / file).is_file() for file in TOKENIZERS):
        raise UserError(
            f"{name} has no tokenizer: none of {', '.join(TOKENIZERS)} is in {folder}; "
            "save it there with tokenizer.save_pretrained()."
        )
    if [(folder / file).is_file() for file in ("tokenizer.json", "vocab.json", "merges.txt")] == [False, True, False]:
        # transformers would make up merges
        raise UserError(f"{name} has a vocab.json but no merges.txt, which belongs to it; download merges.txt too.")
    for path in (folder / file for file in (*TOKENIZERS, *_EXTRA_FILES, "merges.txt")):
        if os.path.lexists(path) and not path.is_file():  # reading a pipe would never end
            raise UserError(f"{path} is not a file; save the tokenizer there with tokenizer.save_pretrained().")
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(POINTER)) == POINTER:
                    raise UserError(pointer_message(path))
    if os.path.lexists(folder / "tokenizer_config.json"):
        _check_classes(read_object(folder / "tokenizer_config.json", "tokenizer configuration"), folder)


def _check_classes(fields: dict[str, Any], folder: Path) -> None:  # Any: whatever the file holds
    """UserError if the file asks for custom code."""
    own = fields.get("auto_map")
    if own and not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"{folder / 'tokenizer_config.json'} has an auto_map: it asks for code that comes with the model, which is "
            "never run here. Give a model with a tokenizer.json."
        )
