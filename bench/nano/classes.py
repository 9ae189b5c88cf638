"""Groups snippets into classes, from classes that share a word to classes that share only a meaning."""

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
"""Numbers of snippets in which a word may occur to form a class."""

CLUSTER_SIZES = (1000, 300, 80)
"""Approximate snippets per cluster, from coarse to fine."""
_MOST_OF_ONE_LIBRARY = 0.8


@dataclass(frozen=True)
class Grouping:
    """Groups of snippets (rows of the corpus) that may be the classes of an episode.

    The classes of an episode come from one of the `scopes` (a library, for files, modules, parts and clusters, so that
    the library of a text never distinguishes classes). In `overlapping` groups a snippet may belong to several.
    """

    name: str
    groups: tuple[np.ndarray, ...]
    scopes: tuple[tuple[int, ...], ...]
    overlapping: bool = False

    def draw(self, ways: int, rng: np.random.Generator) -> list[np.ndarray]:
        """`ways` random groups of one scope; fewer if no drawn scope has enough."""
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
    """All groupings by name; none matches the classes of a benchmark (`holdout.NEVER_CLASSES`).

    Args: lengths in tokens (snippets,), the teacher's unit embeddings (snippets, width), sizes of clusters.
    """
    library = {s.path: s.library for s in snippets} | {s.module: s.library for s in snippets}
    of_library = library.__getitem__
    first_words = _by(snippets, lambda s: s.text.split()[0].casefold(), 16)
    all_groupings = [
        _scoped("file", _by(snippets, lambda s: s.path, 12), of_library),
        _scoped("module", _by(snippets, lambda s: s.module, 24), of_library),
        _scoped("first word", _without_benchmark_classes(first_words, snippets)),
        replace(_scoped("word", _without_benchmark_classes(_by_word(snippets), snippets)), overlapping=True),
        _scoped("part", _by(snippets, lambda s: f"{s.library} {s.part}", 40), lambda name: name.split()[0]),
        _scoped("length", _by_length(lengths)),
        _scoped("same text", {str(row): np.array([row]) for row in range(len(snippets))}),
    ]
    for size in sizes:
        all_groupings.append(
            _scoped(f"cluster of {size}", _clusters(snippets, embeddings, size), lambda name: name.split()[0])
        )
    return {grouping.name: grouping for grouping in all_groupings}


def _without_benchmark_classes(groups: dict[str, np.ndarray], snippets: Sequence[Snippet]) -> dict[str, np.ndarray]:
    """The groups by word that match no class of a benchmark: no library's name, kind or type, and spread over
    libraries, so that the word does not identify one."""
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
    """A grouping with the scopes of two or more groups; larger scopes are drawn in proportion to their square root."""
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
    return {name: np.array(members) for name, members in rows.items() if len(members) >= least}


def _by_word(snippets: Sequence[Snippet]) -> dict[str, np.ndarray]:
    """Groups of snippets that share a word of at least four letters."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, snippet in enumerate(snippets):
        for word in sorted(set(re.findall(r"[a-z]{4,}", snippet.text.casefold()))):  # a set's order is not repeatable
            rows[word].append(row)
    return {word: np.array(members) for word, members in rows.items() if len(members) in _WORD_ROWS}


def _by_length(lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Four disjoint, non-adjacent ranges of lengths."""
    bounds = np.quantile(lengths, (0, 0.15, 0.28, 0.42, 0.55, 0.7, 0.83, 1))
    return {
        f"length {place}": np.flatnonzero((lengths >= bounds[place]) & (lengths < bounds[place + 1]))
        for place in (0, 2, 4, 6)
    }


def _clusters(
    snippets: Sequence[Snippet], embeddings: np.ndarray, size: int, rounds: int = 8, seed: int = 0
) -> dict[str, np.ndarray]:
    """Clusters of embeddings, about `size` snippets each, within every library: mini-batch k-means."""
    from sklearn.cluster import MiniBatchKMeans

    groups: dict[str, np.ndarray] = {}
    for library, rows in _by(snippets, lambda s: s.library, 2 * size).items():
        means = MiniBatchKMeans(len(rows) // size, batch_size=4096, max_iter=rounds, n_init=1, random_state=seed)
        labels = means.fit_predict(embeddings[rows])
        groups |= {f"{library} {place}": rows[labels == place] for place in range(means.n_clusters)}
    return {name: rows for name, rows in groups.items() if len(rows) >= 12}
