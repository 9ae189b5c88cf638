"""A folder's tokenizer: loaded and tried on a text, so that one that is of no use is told of before anything runs."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunefront.bench.errors import UserError
from tunefront.bench.models.config_files import configuration, gist
from tunefront.bench.models.json_files import POINTER, about_pointer, read_object
from tunefront.bench.models.locate import locate
from tunefront.bench.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIECES = ("spm.model", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Models of sentencepiece, from which transformers makes a tokenizer."""
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", *PIECES)
"""Of which files a folder has at least one."""
_SENTINEL = re.compile(r"<extra_id_\d+>")
"""What transformers adds to T5's tokens by itself, and no text has."""
FEWEST_WORDS = 2
"""Of a tokenizer that was read; of one that transformers makes up the only one is a blank."""
_TRIED = ("The quick brown fox, 12 of them.", "good film")
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@functools.lru_cache(maxsize=8)
def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """The backbone's tokenizer. Errors: UserError for one that cannot be read, or that has no words."""
    folder = locate(name)
    _check_files(folder, name)
    tokenizer = _loaded(folder, name)
    special = set(tokenizer.all_special_tokens)
    words = [word for word in tokenizer.get_vocab() if word not in special and not _SENTINEL.fullmatch(word)]
    if len(words) < FEWEST_WORDS:  # made up by transformers, which looks for a file of another name
        raise UserError(
            f"{name} has no tokenizer with words: transformers finds none for {type(tokenizer).__name__} in {folder}; "
            "save it there with tokenizer.save_pretrained()."
        )
    return tokenizer


def check_tokenizer(name: str, config: Any) -> None:  # Any: as in config_files
    """UserError if the tokenizer cannot be read, splits no text, or has tokens that the model has no embedding for."""
    tokenizer = tokenizer_of(name)
    try:
        ids = list(tokenizer("a word")["input_ids"])
        words = [(number, token) for token, number in tokenizer.get_vocab().items() if not _SENTINEL.fullmatch(token)]
        longest = int(tokenizer.model_max_length)
    except BaseException as error:
        raise _unusable(name, error) from error
    if not ids or longest < 1:
        what = "makes no tokens of a text" if not ids else f"takes texts of {longest} tokens at most"
        raise UserError(f"the tokenizer of {name} {what}; save it again with tokenizer.save_pretrained().")
    rows = getattr(config, "vocab_size", None)
    beyond = sorted(word for word in words if rows and word[0] >= rows)
    if beyond:
        raise UserError(
            f"the tokenizer of {name} has {len(beyond)} tokens without an embedding in the model: {beyond[0][1]!r} has "
            f"the number {beyond[0][0]}, and the embedding {rows} rows, from 0. Give the tokenizer that goes with the "
            "weights, or call model.resize_token_embeddings(len(tokenizer)) and save both."
        )


def read_otherwise(name: str) -> str | None:
    """A warning where transformers splits texts otherwise than the folder's sentencepiece model itself; None where it
    does not, or where there is no such model alone."""
    folder = locate(name)
    file = next((folder / file for file in PIECES if (folder / file).is_file()), None)
    if file is None or (folder / "tokenizer.json").is_file():
        return None
    from sentencepiece import SentencePieceProcessor

    pieces, tokenizer = SentencePieceProcessor(model_file=str(file)), tokenizer_of(name)
    for text in _TRIED:
        own, found = pieces.encode(text, out_type=str), tokenizer.tokenize(text)
        if own != found:
            return (
                f"transformers splits {text!r} into {found[:4]}, where {file} itself gives {own[:4]}: the model "
                "reads other tokens than those it was trained on. Name its tokenizer_class in tokenizer_config.json."
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
    """What is said of an error of a tokenizer, whatever its kind: a panic of its Rust code is no Exception."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        raise error
    said = gist(error)
    pieces = next((file for file in PIECES if (locate(name) / file).is_file()), None)
    if pieces is not None and not (locate(name) / "tokenizer.json").is_file():
        said = f"{pieces} is no model of sentencepiece that transformers can convert: {said}"
    return UserError(
        f"the tokenizer of {name} cannot be used ({said}). Download its files again, or save it with "
        "tokenizer.save_pretrained()."
    )


def _check_files(folder: Path, name: str) -> None:
    """UserError where there is no tokenizer, or where a file of it is none, a pointer, or no JSON object."""
    if not any((folder / file).is_file() for file in TOKENIZERS):
        raise UserError(
            f"{name} has no tokenizer: none of {', '.join(TOKENIZERS)} is in {folder}; "
            "save it there with tokenizer.save_pretrained()."
        )
    if [(folder / file).is_file() for file in ("tokenizer.json", "vocab.json", "merges.txt")] == [False, True, False]:
        # transformers would make some merges up
        raise UserError(f"{name} has a vocab.json and no merges.txt, which go together; download the other too.")
    for path in (folder / file for file in (*TOKENIZERS, *_BESIDE, "merges.txt")):
        if os.path.lexists(path) and not path.is_file():  # a pipe would be waited on for ever
            raise UserError(f"{path} is no file; save the tokenizer there with tokenizer.save_pretrained().")
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(POINTER)) == POINTER:
                    raise UserError(about_pointer(path))
    if os.path.lexists(folder / "tokenizer_config.json"):
        _check_classes(read_object(folder / "tokenizer_config.json", "tokenizer configuration"), folder)


def _check_classes(fields: dict[str, Any], folder: Path) -> None:  # Any: whatever the file holds
    """UserError where the file asks for code of the model's own."""
    own = fields.get("auto_map")
    if own and not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"{folder / 'tokenizer_config.json'} has an auto_map: it asks for code that comes with the model, which is "
            "never run here. Give a model with a tokenizer.json."
        )
