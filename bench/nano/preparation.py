"""Prepares and caches the training data: text, tokens, the teacher's embeddings, classes."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tunefront.bench.errors import UserError
from tunefront.bench.files import writing
from tunefront.bench.nano import teacher, tokens
from tunefront.bench.nano.classes import Grouping, groupings
from tunefront.bench.nano.corpus import Corpus, Snippet, development_snippets, gather, read_versions
from tunefront.bench.nano.episodes import Episodes, Layout
from tunefront.bench.nano.holdout import benchmark_texts, count_read

log = logging.getLogger("tunefront")

RECALL_TOKENS = 1000
_WORDS_FROM, _MOST_WORDS = 40_000, 4000
_LETTERS = tuple(chr(65 + place) for place in range(26))
_DIGITS = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Read:
    """Encoded snippets: token ids, the teacher's embeddings (snippets, 384), and groupings into classes."""

    ids: tuple[np.ndarray, ...]
    embeddings: Tensor
    groupings: Mapping[str, Grouping]


@dataclass(frozen=True)
class Material:
    """All training data: `documents`, the concatenated ids of all docstrings; snippets to train on and to monitor
    progress on; ids of the reserved labels and of the tokens of the recall warm-up; labels by kind; facts about the
    text for the model card."""

    tokenizer: Tokenizer
    layout: Layout
    documents: np.ndarray
    train: Read
    development: Read
    reserved: np.ndarray
    recalled: np.ndarray
    labels: Mapping[str, tuple[tuple[int, ...], ...]]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def episodes(self, read: Read) -> Episodes:
        """A source of episodes of these snippets."""
        return Episodes(self.layout, read.ids, read.groupings, self.labels)


def prepare(out: Path, device: torch.device, packages: Path | None) -> Material:
    """The training data, reusing the folder `out`. Args: packages, see `corpus.gather`."""
    package_versions = read_versions(packages)
    out.mkdir(parents=True, exist_ok=True)
    corpus = gather(packages)
    log.info("%d docstrings, %d snippets", len(corpus.documents), len(corpus.snippets))
    tokenizer = _tokenizer(corpus, out)
    rng = np.random.default_rng(1)
    recalled = rng.choice(np.arange(300, tokenizer.get_vocab_size() - 80), RECALL_TOKENS, replace=False)
    end = tokenizer.get_vocab()[tokens.END]
    documents = [
        np.array([*encoding.ids, end], dtype=np.uint16) for encoding in tokenizer.encode_batch(list(corpus.documents))
    ]
    return Material(
        tokenizer,
        layout(tokenizer),
        np.concatenate(documents),
        _read(corpus.snippets, tokenizer, out / "train.pt", device),
        _read(development_snippets(packages), tokenizer, out / "development.pt", device),
        np.array([tokenizer.get_vocab()[label] for label in tokens.LABELS]),
        recalled,
        _labels(corpus.snippets, tokenizer, rng),
        facts(corpus, package_versions),
    )


def facts(corpus: Corpus, package_versions: Mapping[str, str]) -> dict[str, Any]:  # Any: it becomes JSON
    """Facts for the model card: counts, versions, a digest, and the number of benchmark texts in the corpus."""
    texts = [*corpus.documents, *(snippet.text for snippet in corpus.snippets)]
    return {
        "documents": len(corpus.documents),
        "characters": sum(map(len, corpus.documents)),
        "snippets": len(corpus.snippets),
        "snippets_of_library": dict(Counter(snippet.library for snippet in corpus.snippets).most_common()),
        "versions": dict(package_versions),
        "benchmark_texts": len(benchmark_texts()),
        "benchmark_texts_read": count_read(texts),
        "digest": _digest(texts),
    }


def _tokenizer(corpus: Corpus, out: Path) -> Tokenizer:
    """The saved tokenizer, else a new one. Errors: UserError if it was trained on other documents."""
    place, source, made_of = out / "tokenizer.json", out / "tokenizer.sha256", _digest(corpus.documents)
    if place.exists() and source.exists():
        if source.read_text("utf-8") != made_of:
            raise UserError(f"{place} was trained on other documents; choose another --out")
        return Tokenizer.from_file(str(place))
    tokenizer = tokens.train(corpus.documents)
    for path, content in ((place, tokenizer.to_str()), (source, made_of)):
        with writing(path) as file:
            file.write(content.encode())
    return tokenizer


def layout(tokenizer: Tokenizer) -> Layout:
    """The ids of the plain template's tokens."""
    ids = tokenizer.get_vocab()
    between, opening, cue = (ids[word] for word in tokens.LAYOUT)
    return Layout(opening, cue, between, ids[tokens.END])


def _read(snippets: Sequence[Snippet], tokenizer: Tokenizer, place: Path, device: torch.device) -> Read:
    """Encodes snippets. Errors: UserError if the saved embeddings are of other texts."""
    texts = [snippet.text for snippet in snippets]
    ids = tuple(np.array(encoding.ids) for encoding in tokenizer.encode_batch([f" {text}" for text in texts]))
    made_of = _digest(texts)
    if not place.exists():
        with writing(place) as file:
            torch.save({"made_of": made_of, "embeddings": teacher.embed(texts, device)}, file)
    saved = torch.load(place, weights_only=True)
    if saved["made_of"] != made_of:
        raise UserError(f"{place} contains embeddings of other texts; choose another --out")
    lengths = np.array([len(text_ids) for text_ids in ids])
    return Read(ids, saved["embeddings"], groupings(snippets, lengths, saved["embeddings"].float().numpy()))


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _labels(
    snippets: Sequence[Snippet], tokenizer: Tokenizer, rng: np.random.Generator
) -> dict[str, tuple[tuple[int, ...], ...]]:
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
