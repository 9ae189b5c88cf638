"""Builds a tokenizer from a GGUF file's metadata: vocabulary, merges, pre-tokenizer, special tokens.

A file names its pre-tokenizer (`tokenizer.ggml.pre`) and does not describe it. Only those are supported whose published
rules are known and repeated exactly: any other would give a model tokens that it was not trained on. The chat template,
which is a program, is not read.
Source: llama.cpp, src/llama-vocab.cpp, and the published tokenizers that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunefront.bench.errors import UserError, nearest, printable
from tunefront.bench.models.gguf.pieces import sentencepiece
from tunefront.bench.models.gguf.reading import GGUF, metadata_error

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
"""Types of tokens in a file (`tokenizer.ggml.token_type`)."""
LONGEST = 1024
"""Characters of a token; runs of blanks in published vocabularies have up to 256."""
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
_QWEN2 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"


@dataclass(frozen=True)
class Splitting:
    """A pre-tokenizer, which splits texts before merges.

    Args: pattern, None for GPT-2's; digits_apart, whether every digit is split off first; composed, whether texts are
    normalised to NFC; whole_words, whether a word of the vocabulary is one token even if no merges lead to it;
    adds_bos, whether texts begin with the BOS token if the file does not say.
    """

    pattern: str | None = None
    digits_apart: bool = False
    composed: bool = False
    whole_words: bool = False
    adds_bos: bool = False


GPT2, DIGITS = Splitting(), Splitting(digits_apart=True)
LLAMA3, QWEN2 = Splitting(_LLAMA3, whole_words=True, adds_bos=True), Splitting(_QWEN2, composed=True)
SPLITTINGS = {
    "gpt-2": GPT2,
    "smollm": DIGITS,
    "starcoder": DIGITS,
    "llama-bpe": LLAMA3,
    "llama3": LLAMA3,
    "llama-v3": LLAMA3,
    "qwen2": QWEN2,
}
"""By `tokenizer.ggml.pre`."""
_ONLY = {"qwen2": ("qwen2",), "qwen3": ("qwen2",)}
"""Pre-tokenizers by architecture, if transformers always uses its own for the architecture."""


@dataclass(frozen=True)
class TokenizerFiles:
    """A tokenizer as stored in a model folder: the text of tokenizer.json, and the fields of tokenizer_config.json."""

    text: str
    config: dict[str, Any]  # Any: as in the file


def make_tokenizer(file: GGUF, most_tokens: int) -> TokenizerFiles:
    """Builds the tokenizer of a file; `most_tokens` is the longest text that the model accepts.

    Errors: UserError for an unsupported kind of tokenizer or pre-tokenizer, and for missing or contradictory tokens.
    """
    kind = file.metadata.get("tokenizer.ggml.model")
    makers: dict[object, Callable[[GGUF, list[str]], Tokenizer]] = {"gpt2": _byte_level, "llama": sentencepiece}
    if kind not in makers:
        shown = "none" if kind is None else repr(printable(str(kind)[:100], single_line=True))
        raise UserError(
            f"the tokenizer of {file.what} is of the kind {shown} (tokenizer.ggml.model); gpt2 and llama are "
            f"supported. {_INSTEAD}"
        )
    tokens = _tokens(file)
    try:
        tokenizer = makers[kind](file, tokens)
        _add_marked(tokenizer, file, tokens)
        special = _special(file, tokens)
        tokenizer.post_processor = _post_processor(file, special, kind)
        text = tokenizer.to_str()
    except UserError:
        raise
    except BaseException as error:  # a panic of the library's Rust code is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
            raise
        said = printable(str(error)[:200], single_line=True)
        raise UserError(f"the tokenizer of {file.what} cannot be made ({said}). {_INSTEAD}") from error
    config = {"tokenizer_class": "TokenizersBackend", "model_max_length": most_tokens, **special}
    return TokenizerFiles(text, {**config, "clean_up_tokenization_spaces": False})


_INSTEAD = (
    "Give the original model's folder, saved with save_pretrained() together with its tokenizer, or the model's Hub id."
)


def _tokens(file: GGUF) -> list[str]:
    """The vocabulary in order; UserError for a token that occurs twice or is too long."""
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens:
        raise metadata_error(file, "tokenizer.ggml.tokens", "a list of tokens")
    longest = max(tokens, key=len)
    if len(longest) > LONGEST:
        raise UserError(f"the tokenizer of {file.what} has a token of {len(longest):,} characters. {_INSTEAD}")
    if len(set(tokens)) != len(tokens):
        twice = next(token for place, token in enumerate(tokens) if tokens.index(token) != place)
        raise UserError(f"the tokenizer of {file.what} has the token {_shown(twice)} twice. {_INSTEAD}")
    return tokens


def _byte_level(file: GGUF, tokens: list[str]) -> Tokenizer:
    """A byte-level BPE tokenizer, as GPT-2's."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    way = _splitting(file)
    merges = file.metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list):
        raise metadata_error(file, "tokenizer.ggml.merges", "a list of merges")
    pairs = [tuple(merge.split(" ")) for merge in merges]
    known = set(tokens)
    for pair in pairs:
        if len(pair) != 2 or not known.issuperset((*pair, "".join(pair))):
            raise UserError(
                f"the tokenizer of {file.what} has the merge {_shown(' '.join(pair))}, which does not join two of its "
                f"tokens to a third. {_INSTEAD}"
            )
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=way.whole_words))
    if way.composed:
        tokenizer.normalizer = normalizers.NFC()
    first: list[pre_tokenizers.PreTokenizer] = []
    if way.pattern is not None:
        first.append(pre_tokenizers.Split(Regex(way.pattern), "isolated"))
    if way.digits_apart:
        first.append(pre_tokenizers.Digits(individual_digits=True))
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=way.pattern is None)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Sequence([*first, split]), decoders.ByteLevel()
    return tokenizer


def _splitting(file: GGUF) -> Splitting:
    architecture, name = str(file.metadata.get("general.architecture")), file.metadata.get("tokenizer.ggml.pre")
    if architecture == "gpt2" and name in (None, "default"):  # files from before pre-tokenizers had names
        return GPT2
    known = _ONLY.get(architecture, tuple(SPLITTINGS))
    if name not in known:
        shown = "no pre-tokenizer" if name is None else f"the pre-tokenizer {_shown(str(name))}"
        near = nearest(str(name), known) if name is not None else None
        raise UserError(
            f"the tokenizer of {file.what} names {shown} (tokenizer.ggml.pre); supported for {architecture} are "
            f"{', '.join(known)}{f', of which {near} is the nearest' if near else ''}. {_INSTEAD}"
        )
    return SPLITTINGS[str(name)]


def _add_marked(tokenizer: Tokenizer, file: GGUF, tokens: list[str]) -> None:
    """Adds the tokens that are matched in a text before it is split: special and user-defined ones."""
    from tokenizers import AddedToken

    types = file.metadata.get("tokenizer.ggml.token_type")
    if types is None:
        return
    if not isinstance(types, np.ndarray) or len(types) != len(tokens):
        raise metadata_error(file, "tokenizer.ggml.token_type", "a type for each token")
    for kind in (CONTROL, USER_DEFINED):
        texts = [tokens[place] for place in np.flatnonzero(types == kind)]
        marked = [AddedToken(token, normalized=False, special=kind == CONTROL) for token in texts if token]
        (tokenizer.add_special_tokens if kind == CONTROL else tokenizer.add_tokens)(marked)


def _special(file: GGUF, tokens: list[str]) -> dict[str, str]:
    """Role -> token, for the special tokens whose ids are in the file."""
    special = {}
    for role, name in _SPECIAL.items():
        number = file.metadata.get(f"tokenizer.ggml.{name}_token_id")
        if type(number) is int and 0 <= number < len(tokens):
            special[role] = tokens[number]
    return special


def _post_processor(file: GGUF, special: dict[str, str], kind: object) -> Any:  # Any: processors have no common type
    """The post-processor that adds BOS and EOS tokens to a text; None if it adds none."""
    from tokenizers import processors

    by_default = kind == "llama" or _splitting(file).adds_bos
    adds = {
        role: file.metadata.get(f"tokenizer.ggml.add_{name}_token", default) is True and role in special
        for role, name, default in (("bos_token", "bos", by_default), ("eos_token", "eos", False))
    }
    first, last = ([special[role]] if adds[role] else [] for role in ("bos_token", "eos_token"))
    if not first and not last:
        return None
    tokens: list[str] = file.metadata["tokenizer.ggml.tokens"]
    numbered = [(token, tokens.index(token)) for token in dict.fromkeys([*first, *last])]
    return processors.TemplateProcessing(single=[*first, "$A", *last], special_tokens=numbered)


def _shown(text: str) -> str:
    return repr(printable(text[:100], single_line=True))
