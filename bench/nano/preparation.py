"""Everything that training reads, made once and kept in its folder: text, tokens, the teacher's embeddings, classes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from bench.nano import teacher, tokens
from bench.nano.classes import Grouping, groupings
from bench.nano.corpus import Corpus, Snippet, development_snippets, gather
from bench.nano.episodes import Episodes, Layout

log = logging.getLogger("tunefront")

RECALL_TOKENS = 1000
_WORDS_FROM, _MOST_WORDS = 40_000, 4000
_LETTERS = tuple(chr(65 + place) for place in range(26))
_DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Read:
    """Snippets as training reads them: token ids of each, the teacher's embeddings (snippets, 384), their classes."""

    ids: tuple[np.ndarray, ...]
    embeddings: Tensor
    groupings: Mapping[str, Grouping]


@dataclass(frozen=True)
class Material:
    """All that training reads: `documents`, the ids of all docstrings one after another; snippets to train on and to
    watch progress on; ids of the reserved labels and of the tokens of the recall warm-up; kinds of label."""

    tokenizer: Tokenizer
    layout: Layout
    documents: np.ndarray
    train: Read
    development: Read
    reserved: np.ndarray
    recalled: np.ndarray
    labels: Mapping[str, tuple[tuple[int, ...], ...]]

    def episodes(self, read: Read) -> Episodes:
        """Episodes of these snippets."""
        return Episodes(self.layout, read.ids, read.groupings, self.labels)


def prepare(out: Path, device: torch.device, beside: Path | None) -> Material:
    """The material, from the folder `out` as far as it is there. Args: beside, see `corpus.gather`."""
    out.mkdir(parents=True, exist_ok=True)
    corpus: Corpus = gather(beside)
    watched = development_snippets(beside)
    log.info("%d docstrings, %d snippets", len(corpus.documents), len(corpus.snippets))
    place = out / "tokenizer.json"
    if not place.exists():
        tokens.train(corpus.documents).save(str(place))
    tokenizer = Tokenizer.from_file(str(place))
    rng = np.random.default_rng(1)
    recalled = rng.choice(np.arange(300, tokenizer.get_vocab_size() - 80), RECALL_TOKENS, replace=False)
    documents = [
        np.array([*encoding.ids, tokenizer.token_to_id(tokens.END)], dtype=np.uint16)
        for encoding in tokenizer.encode_batch(list(corpus.documents))
    ]
    return Material(
        tokenizer,
        layout(tokenizer),
        np.concatenate(documents),
        _read(corpus.snippets, tokenizer, out / "train.pt", device),
        _read(watched, tokenizer, out / "development.pt", device),
        np.array([tokenizer.token_to_id(label) for label in tokens.LABELS]),
        recalled,
        _labels(corpus.snippets, tokenizer, rng),
    )


def layout(tokenizer: Tokenizer) -> Layout:
    """The ids of the plain template's words."""
    ids = tokenizer.get_vocab()
    between, opening, asked = (ids[word] for word in tokens.LAYOUT)
    return Layout(opening, asked, between, ids[tokens.END])


def _read(snippets: Sequence[Snippet], tokenizer: Tokenizer, place: Path, device: torch.device) -> Read:
    ids = tuple(np.array(one.ids) for one in tokenizer.encode_batch([f" {snippet.text}" for snippet in snippets]))
    embeddings = _kept(place, lambda: teacher.embed([snippet.text for snippet in snippets], device))
    if len(embeddings) != len(snippets):
        raise ValueError(f"{place} holds {len(embeddings)} embeddings of {len(snippets)} snippets; delete it")
    lengths = np.array([len(one) for one in ids])
    return Read(ids, embeddings, groupings(snippets, lengths, embeddings.float().numpy()))


def _kept(place: Path, make: Callable[[], Tensor]) -> Tensor:
    if not place.exists():
        unfinished = place.with_suffix(".part")
        torch.save(make(), unfinished)
        unfinished.replace(place)
    return torch.load(place, weights_only=True)


def _labels(
    snippets: Sequence[Snippet], tokenizer: Tokenizer, rng: np.random.Generator
) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Every kind of label and the ids of each: reserved tokens, words of at most three tokens, letters, digits."""
    words = sorted({word for s in snippets[:_WORDS_FROM] for word in re.findall(r"(?<= )[a-z]{3,12}(?= )", s.text)})
    kinds = {
        "reserved": [label.strip() for label in tokens.LABELS],
        "words": list(rng.permutation(words)[:_MOST_WORDS]),
        "letters": _LETTERS,
        "digits": _DIGITS,
    }
    encoded = {kind: [tuple(tokenizer.encode(f" {label}").ids) for label in of_kind] for kind, of_kind in kinds.items()}
    return {kind: tuple(ids for ids in of_kind if len(ids) <= 3) for kind, of_kind in encoded.items()}
