"""Kinds of tokenizers that published models have, made in code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunefront.bench.models.tiny import byte_level_tokenizer, fast_tokenizer, unigram_tokenizer

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""The split of Llama 3 and Qwen, by which a full stop takes the newlines after it along."""


def byte_pairs(merges: Sequence[str], split: str | None, leading: str | None = None) -> Any:
    """Byte-level pairs, `merges` given as written (`. \\n`); `split` a regex, `gpt2`, or None for no split at all."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    written = {" ": "Ġ", "\n": "Ċ"}
    pairs = [tuple("".join(written.get(char, char) for char in part) for part in merge.split("+")) for merge in merges]
    special = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>"}
    pieces = [*special.values(), *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in pairs)]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.BPE(vocabulary, pairs))
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split == "gpt2")
    rule = [pre_tokenizers.Split(Regex(split), "isolated")] if split not in ("gpt2", None) else []
    made.pre_tokenizer = pre_tokenizers.Sequence([*rule, as_bytes])
    made.decoder = decoders.ByteLevel()
    if leading:
        ids = [(token, vocabulary[token]) for token in special.values()]
        made.post_processor = processors.TemplateProcessing(single=f"{leading} $A", special_tokens=ids)
    return fast_tokenizer(made, special)


def metaspace(scheme: str, split: bool, leading: str | None = None) -> Any:
    """Pairs over ▁ for spaces, as SentencePiece has them; newlines are a piece of their own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    pairs = [("o", "o"), ("▁", "g"), ("▁g", "oo"), ("▁goo", "d"), ("▁", "T"), ("▁T", "e"), ("▁", "▁"), ("\n", "\n")]
    letters = ["▁", "\n", *(chr(code) for code in range(33, 127))]
    pieces = [*special.values(), *letters, *("".join(pair) for pair in pairs)]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.BPE(vocabulary, pairs, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    if leading:
        ids = [(token, vocabulary[token]) for token in special.values()]
        made.post_processor = processors.TemplateProcessing(single=f"{leading} $A", special_tokens=ids)
    return fast_tokenizer(made, special)


MERGES = ("\n+\n", ".+\n", ".\n+\n", ".+\n\n", "o+o", "oo+d", " +g", "e+s", " +y")

TOKENIZERS = {
    **{name: lambda name=name: byte_level_tokenizer(name) for name in ("gpt2", "opt", "llama", "qwen2", "bart")},
    "t5": unigram_tokenizer,
    "llama-3": lambda: byte_pairs(MERGES, LLAMA3, "<s>"),
    "qwen": lambda: byte_pairs(MERGES, LLAMA3),
    "two newlines": lambda: byte_pairs(MERGES, "gpt2"),
    "no split": lambda: byte_pairs((*MERGES, ":+ ", "?+ "), None),
    "words": lambda: metaspace("always", split=True),
    "llama-2": lambda: metaspace("first", split=False, leading="<s>"),
}
"""The tokenizers of the fixtures, and others, by what they are like. `no split` has tokens of prompt and answer."""
