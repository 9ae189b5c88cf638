"""`nano`'s tokenizer: byte-level BPE, tokens for the words of the plain template, and reserved label tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
"""Separates documents; also the padding token."""
OPENING, CUE, BETWEEN = "Text:", "\nLabel:", "\n\n"
"""The parts around every demonstration, one token each, so that most of a prompt is text."""
LABELS = tuple(f" <label{number}>" for number in range(64))
"""Words without meaning, for labels; they include the space before an answer."""
SIZE = 8000


@dataclass(frozen=True)
class Layout:
    """Token ids around a text: `opening` before it, `cue` after it, `between` pairs; and the `end` of a document."""

    opening: int
    cue: int
    between: int
    end: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Layout:
        """The ids of a tokenizer."""
        ids = tokenizer.get_vocab()
        return cls(*(ids[token] for token in (OPENING, CUE, BETWEEN, END)))


def train(texts: Iterable[str], size: int = SIZE) -> Tokenizer:
    """A tokenizer of `size` tokens, learned from texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    reserved = (BETWEEN, OPENING, CUE, *LABELS)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(reserved),
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in reserved])
    return tokenizer
