"""Everything that training reads, made once and kept in its folder: text, tokens, the teacher's embeddings, classes."""

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

from tunefront.bench.errors import Mistake
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
    """Snippets as training reads them: token ids of each, the teacher's embeddings (snippets, 384), their classes."""

    ids: tuple[np.ndarray, ...]
    embeddings: Tensor
    groupings: Mapping[str, Grouping]


@dataclass(frozen=True)
class Material:
    """All that training reads: `documents`, the ids of all docstrings one after another; snippets to train on and to
    watch progress on; ids of the reserved labels and of the tokens of the recall warm-up; kinds of label; facts, what
    the model card tells of the text."""

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
        """Episodes of these snippets."""
        return Episodes(self.layout, read.ids, read.groupings, self.labels)


def prepare(out: Path, device: torch.device, beside: Path | None) -> Material:
    """The material, from the folder `out` as far as it is there. Args: beside, see `corpus.gather`."""
    found = read_versions(beside)
    out.mkdir(parents=True, exist_ok=True)
    corpus = gather(beside)
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
        _read(development_snippets(beside), tokenizer, out / "development.pt", device),
        np.array([tokenizer.get_vocab()[label] for label in tokens.LABELS]),
        recalled,
        _labels(corpus.snippets, tokenizer, rng),
        facts(corpus, found),
    )


def facts(corpus: Corpus, found: Mapping[str, str]) -> dict[str, Any]:  # Any: it becomes JSON
    """What the model card tells of the text: counts, versions, a digest, and how many benchmark texts stand in it."""
    texts = [*corpus.documents, *(snippet.text for snippet in corpus.snippets)]
    return {
        "documents": len(corpus.documents),
        "characters": sum(map(len, corpus.documents)),
        "snippets": len(corpus.snippets),
        "snippets_of_library": dict(Counter(snippet.library for snippet in corpus.snippets).most_common()),
        "versions": dict(found),
        "benchmark_texts": len(benchmark_texts()),
        "benchmark_texts_read": count_read(texts),
        "digest": _digest(texts),
    }


def _tokenizer(corpus: Corpus, out: Path) -> Tokenizer:
    """The one that was made of these documents, else a new one. Errors: Mistake where it was made of others."""
    place, source, made_of = out / "tokenizer.json", out / "tokenizer.sha256", _digest(corpus.documents)
    if place.exists() and source.exists():
        if source.read_text("utf-8") != made_of:
            raise Mistake(f"{place} was made of other documents than those at hand; give another --out")
        return Tokenizer.from_file(str(place))
    tokenizer = tokens.train(corpus.documents)
    for path, content in ((place, tokenizer.to_str()), (source, made_of)):
        with writing(path) as file:
            file.write(content.encode())
    return tokenizer


def layout(tokenizer: Tokenizer) -> Layout:
    """The ids of the plain template's words."""
    ids = tokenizer.get_vocab()
    between, opening, asked = (ids[word] for word in tokens.LAYOUT)
    return Layout(opening, asked, between, ids[tokens.END])


def _read(snippets: Sequence[Snippet], tokenizer: Tokenizer, place: Path, device: torch.device) -> Read:
    """Snippets in tokens and embeddings. Errors: Mistake where the kept embeddings are of other texts."""
    texts = [snippet.text for snippet in snippets]
    ids = tuple(np.array(one.ids) for one in tokenizer.encode_batch([f" {text}" for text in texts]))
    made_of = _digest(texts)
    if not place.exists():
        with writing(place) as file:
            torch.save({"made_of": made_of, "embeddings": teacher.embed(texts, device)}, file)
    kept = torch.load(place, weights_only=True)
    if kept["made_of"] != made_of:
        raise Mistake(f"{place} holds embeddings of other texts than those at hand; give another --out")
    lengths = np.array([len(one) for one in ids])
    return Read(ids, kept["embeddings"], groupings(snippets, lengths, kept["embeddings"].float().numpy()))


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


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
