"""The tasks `sentiment/<texts>` and `sentiment/<texts>_rating`: sentences with the mean of 20 people's ratings.

Source: Hutto and Gilbert 2014, VADER (ICWSM-14); rated from -4 (most negative) to 4.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from tunefront.bench.data.archives.cached import opened, tar_members
from tunefront.bench.data.archives.catalog import ARCHIVES
from tunefront.bench.data.hashing import normalised
from tunefront.bench.data.sources.fetched import cached, in_splits, origin_of
from tunefront.bench.data.task import MetricSpec, Row, Task

ARCHIVE = ARCHIVES["sentiment"]
CUT = 1.0
"""Least distance of a mean rating from 0 with which a sentence has a class; people agree on the sign of few others."""
RATING = "_rating"
"""What the names of the tasks end in that ask for the rating itself."""
_PACKED = "vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz"
_FILES = {
    "movies": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "tweets": "tweets",
    "editorials": "nytEditorialSnippets",
}


@dataclass(frozen=True)
class Rated:
    """A sentence with its mean rating, and the review or article that it is from (itself where it stands alone)."""

    id: str
    text: str
    rating: float
    part_of: str


def names() -> list[str]:
    """The tasks' names after `sentiment/`."""
    return [*_FILES, *(f"{name}{RATING}" for name in _FILES)]


def load(name: str) -> Task:
    """The task `sentiment/<name>`, from the cache or made now. Errors: NotFetched."""
    return cached(f"sentiment/{name}", ARCHIVE, __file__, lambda: build(name, _rated(name.removesuffix(RATING))))


def build(name: str, sentences: Iterable[Rated]) -> Task:
    """The task of distinct sentences: no text and no review or article is in two splits."""
    sentences = list(sentences)
    distinct = _distinct(sentences)
    notes = [
        f"{len(sentences) - len(distinct):,} of {len(sentences):,} sentences are copies of another: their ratings are "
        "averaged"
    ]
    rating = name.endswith(RATING)
    kept = distinct if rating else {text: rated for text, rated in distinct.items() if abs(rated.rating) >= CUT}
    if not rating:
        notes.append(
            f"{len(distinct) - len(kept):,} of {len(distinct):,} sentences with a mean rating between -{CUT:g} and "
            f"{CUT:g} have no class: left out"
        )
    rows = {
        text: (
            rated.part_of,
            Row(rated.id, {"text": rated.text, "rating": rated.rating}, _label(rated.rating, as_rating=rating)),
        )
        for text, rated in kept.items()
    }
    return Task(
        name=f"sentiment/{name}",
        kind="regression" if rating else "classification",
        splits=in_splits(rows),
        input_fields=("text",),
        label_names=() if rating else ("negative", "positive"),
        metrics=tuple(map(MetricSpec, ("spearman", "pearson") if rating else ("accuracy", "macro_f1"))),
        origin=origin_of(ARCHIVE),
        left_out={"rating": "what the class is made from" if not rating else "the label"},
        notes=tuple(notes),
    )


def _label(rating: float, as_rating: bool) -> int | float:
    return rating if as_rating else int(rating > 0)


def _distinct(sentences: Iterable[Rated]) -> dict[str, Rated]:
    """One sentence for each text, with the mean of its copies' ratings."""
    copies: dict[str, list[Rated]] = {}
    for sentence in sentences:
        copies.setdefault(normalised(sentence.text), []).append(sentence)
    return {
        text: Rated(same[0].id, same[0].text, fmean(copy.rating for copy in same), same[0].part_of)
        for text, same in copies.items()
    }


def _rated(name: str) -> list[Rated]:
    """The sentences of a file: id, mean rating and text, with tabs between them. An id is a number, or that of a review
    or article and of a sentence in it."""
    member = f"hutto_ICWSM_2014/{_FILES[name]}_GroundTruth.txt"
    with opened(ARCHIVE, f"the task sentiment/{name}") as members:
        content = tar_members(members.read(_PACKED), [member])[member]
    sentences = []
    for line in content.decode("utf-8").split("\n"):
        if line.strip():
            number, rating, text = line.split("\t")
            plain = html.unescape(html.unescape(text)).strip()  # some ampersands are escaped twice
            sentences.append(Rated(number, plain, float(rating), number.split("_")[0]))
    return sentences
