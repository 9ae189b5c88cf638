"""`nano`'s tokenizer: byte-level BPE, tokens for the words of the plain template, and reserved label tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
"""Separates documents; also the padding token."""
CUE = "\nLabel:"
BETWEEN = "\n\n"
LAYOUT = (BETWEEN, "Text:", CUE)
"""The parts around every demonstration, one token each, so that most of a prompt is text."""
LABELS = tuple(f" <label{number}>" for number in range(64))
"""Words without meaning, for labels; they include the space before an answer."""
SIZE = 8000


def train(texts: Iterable[str], size: int = SIZE) -> Tokenizer:
    """A tokenizer of `size` tokens, learned from texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    reserved = (*LAYOUT, *LABELS)
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(reserved),
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in reserved])
    return tokenizer


def fast(tokenizer: Tokenizer, context: int) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers loads it; texts begin with no special token."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, model_max_length=context, padding_side="right"
    )
