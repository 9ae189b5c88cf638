"""Ways to group snippets into classes, from ones that a word gives away to ones that only meaning does."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tunefront.bench.nano.holdout import gives_away

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tunefront.bench.nano.corpus import Snippet

_WORD_ROWS = range(40, 3000)
"""In how many snippets a word has to occur, to make a class."""

CLUSTER_SIZES = (1000, 300, 80)
"""Of how many snippets or so a cluster is made, coarse and fine."""
_MOST_OF_ONE_LIBRARY = 0.8


@dataclass(frozen=True)
class Grouping:
    """Groups of snippets (rows of the corpus), any of which may be the classes of an episode.

    The classes of an episode come from one `scope` (a library, for files, modules, parts and clusters, so that
    which library a text comes from is never what tells classes apart); empty: from anywhere. In `overlapping` groups a
    snippet may stand in several.
    """

    name: str
    groups: tuple[np.ndarray, ...]
    scopes: tuple[tuple[int, ...], ...]
    overlapping: bool = False

    def draw(self, ways: int, rng: np.random.Generator) -> list[np.ndarray]:
        """`ways` groups of one scope, at random; fewer where no scope drawn has so many."""
        for _ in range(8):
            scope = self.scopes[rng.integers(len(self.scopes))]
            if len(scope) >= ways:
                break
        chosen = rng.permutation(len(scope))[:ways]
        return [self.groups[scope[at]] for at in chosen]


def groupings(
    snippets: Sequence[Snippet],
    lengths: np.ndarray,
    embeddings: np.ndarray,
    sizes: Sequence[int] = CLUSTER_SIZES,
) -> dict[str, Grouping]:
    """All of them; none is what a benchmark asks for (`holdout.NEVER_CLASSES`).

    Args: lengths in tokens (snippets,), the teacher's embeddings (snippets, width) of length one, sizes of clusters.
    """
    library = {s.path: s.library for s in snippets} | {s.module: s.library for s in snippets}
    of_library = library.__getitem__
    first_words = _by(snippets, lambda s: s.text.split()[0].casefold(), 16)
    found = [
        _scoped("file", _by(snippets, lambda s: s.path, 12), of_library),
        _scoped("module", _by(snippets, lambda s: s.module, 24), of_library),
        _scoped("first word", _telling_little(first_words, snippets)),
        replace(_scoped("word", _telling_little(_by_word(snippets), snippets)), overlapping=True),
        _scoped("part", _by(snippets, lambda s: f"{s.library} {s.part}", 40), lambda name: name.split()[0]),
        _scoped("length", _by_length(lengths)),
        _scoped("same text", {str(row): np.array([row]) for row in range(len(snippets))}),
    ]
    for size in sizes:
        found.append(_scoped(f"cluster of {size}", _clusters(snippets, embeddings, size), lambda name: name.split()[0]))
    return {grouping.name: grouping for grouping in found}


def _telling_little(groups: dict[str, np.ndarray], snippets: Sequence[Snippet]) -> dict[str, np.ndarray]:
    """Of groups by word, those that are no class of a benchmark: no library's name, kind or type, and spread over
    libraries, so that the word does not stand for one."""
    libraries = np.array([snippet.library for snippet in snippets])
    names = {snippet.library.casefold() for snippet in snippets}

    def spread(rows: np.ndarray) -> bool:
        counts = np.unique(libraries[rows], return_counts=True)[1]
        return len(names) == 1 or counts.max() <= _MOST_OF_ONE_LIBRARY * len(rows)

    return {
        word: rows
        for word, rows in groups.items()
        if word not in names and not gives_away(word.strip(".,:;()")) and spread(rows)
    }


def _scoped(name: str, groups: dict[str, np.ndarray], scope: Callable[[str], str] = lambda _: "") -> Grouping:
    """Only scopes of two groups and more; larger scopes are drawn more often, in proportion to their square root."""
    scopes: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(groups):
        scopes[scope(key)].append(place)
    several = [tuple(places) for places in scopes.values() if len(places) > 1]
    repeated = [places for places in several for _ in range(max(1, round(len(places) ** 0.5)))]
    return Grouping(name, tuple(groups.values()), tuple(repeated))


def _by(snippets: Sequence[Snippet], key: Callable[[Snippet], str], least: int) -> dict[str, np.ndarray]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, snippet in enumerate(snippets):
        rows[key(snippet)].append(row)
    return {name: np.array(of_one) for name, of_one in rows.items() if len(of_one) >= least}


def _by_word(snippets: Sequence[Snippet]) -> dict[str, np.ndarray]:
    """Snippets that share a word of four letters and more."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, snippet in enumerate(snippets):
        for word in set(re.findall(r"[a-z]{4,}", snippet.text.casefold())):
            rows[word].append(row)
    return {word: np.array(of_one) for word, of_one in rows.items() if len(of_one) in _WORD_ROWS}


def _by_length(lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Four lengths, apart from each other."""
    bounds = np.quantile(lengths, (0, 0.15, 0.28, 0.42, 0.55, 0.7, 0.83, 1))
    return {
        f"length {place}": np.flatnonzero((lengths >= bounds[place]) & (lengths < bounds[place + 1]))
        for place in (0, 2, 4, 6)
    }


def _clusters(
    snippets: Sequence[Snippet], embeddings: np.ndarray, size: int, rounds: int = 8, seed: int = 0
) -> dict[str, np.ndarray]:
    """Groups of near embeddings, of about `size` each, within every library: k-means by mini-batches."""
    from sklearn.cluster import MiniBatchKMeans

    groups: dict[str, np.ndarray] = {}
    for library, rows in _by(snippets, lambda s: s.library, 2 * size).items():
        means = MiniBatchKMeans(len(rows) // size, batch_size=4096, max_iter=rounds, n_init=1, random_state=seed)
        found = means.fit_predict(embeddings[rows])
        groups |= {f"{library} {place}": rows[found == place] for place in range(means.n_clusters)}
    return {name: rows for name, rows in groups.items() if len(rows) >= 12}
