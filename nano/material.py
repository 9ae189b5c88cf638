"""Prepares the training data: text, tokens, the teacher's embeddings, classes, labels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor

from nano import tokens
from nano.classes import Grouping, groupings
from nano.corpus import Snippet, gather
from nano.teacher import embed
from nano.tokens import Layout

DIGEST = "e8f5ed728ad1b3e301704ca1003672ffc16c1c31c761aa4921507296120497e6"
"""sha256 of the text on which the model in `bench/models/nano/` was trained."""
Label = tuple[int, ...]
_RECALL_TOKENS = 1000
_WORDS_FROM, _MOST_WORDS = 40_000, 4000
_LETTERS = tuple(chr(65 + place) for place in range(26))
_DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Material:
    """All training data: `documents`, the concatenated ids of all docstrings; of each snippet its ids, the teacher's
    embedding (snippets, 384) and its groups; ids of the reserved labels and of the tokens of the recall warm-up; labels
    by kind."""

    tokenizer: Tokenizer
    layout: Layout
    documents: np.ndarray
    texts: tuple[np.ndarray, ...]
    embeddings: Tensor
    groupings: Mapping[str, Grouping]
    reserved: np.ndarray
    recalled: np.ndarray
    labels: Mapping[str, Sequence[Label]]


def prepare(packages: Path | None) -> Material:
    """The training data; says whether it is that of the shipped model. Args: packages, see `corpus.gather`."""
    docstrings, snippets = gather(packages)
    sentences = [snippet.text for snippet in snippets]
    same = digest((*docstrings, *sentences)) == DIGEST
    about = "as the shipped model was trained on" if same else "not the text that the shipped model was trained on"
    print(f"{len(docstrings)} docstrings, {len(sentences)} snippets: {about}", flush=True)
    tokenizer = tokens.train(docstrings)
    vocabulary, rng = tokenizer.get_vocab(), np.random.default_rng(1)
    recalled = rng.choice(np.arange(300, len(vocabulary) - 80), _RECALL_TOKENS, replace=False)
    documents = [
        np.array([*encoding.ids, vocabulary[tokens.END]], dtype=np.uint16)
        for encoding in tokenizer.encode_batch(docstrings)
    ]
    texts, embeddings = encode(sentences, tokenizer), embed(sentences)
    lengths = np.array([len(ids) for ids in texts])
    return Material(
        tokenizer,
        Layout.of(tokenizer),
        np.concatenate(documents),
        texts,
        embeddings,
        groupings(snippets, lengths, embeddings.float().numpy()),
        np.array([vocabulary[label] for label in tokens.LABELS]),
        recalled,
        _labels(snippets, tokenizer, rng),
    )


def digest(texts: Iterable[str]) -> str:
    """sha256 over texts."""
    hashed = hashlib.sha256()
    for text in texts:
        hashed.update(text.encode() + b"\0")
    return hashed.hexdigest()


def encode(texts: Iterable[str], tokenizer: Tokenizer) -> tuple[np.ndarray, ...]:
    """The ids of each text, after the space that follows `Text:`."""
    return tuple(np.array(encoding.ids) for encoding in tokenizer.encode_batch([f" {text}" for text in texts]))


def _labels(
    snippets: Sequence[Snippet], tokenizer: Tokenizer, rng: np.random.Generator
) -> dict[str, tuple[Label, ...]]:
    """The ids of all labels by kind: reserved tokens, words of at most three tokens, letters, digits."""
    words = sorted({word for s in snippets[:_WORDS_FROM] for word in re.findall(r"(?<= )[a-z]{3,12}(?= )", s.text)})
    kinds = {
        "reserved": [label.strip() for label in tokens.LABELS],
        "words": list(rng.permutation(words)[:_MOST_WORDS]),
        "letters": _LETTERS,
        "digits": _DIGITS,
    }
    encoded = {kind: [tuple(tokenizer.encode(f" {label}").ids) for label in labels] for kind, labels in kinds.items()}
    return {kind: tuple(ids for ids in labels if len(ids) <= 3) for kind, labels in encoded.items()}
