"""Groups snippets into classes, from classes that share a word to classes that share only a meaning.

None matches the classes of a benchmark: the library of a text, the kind of an object, the type of a parameter.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from nano.corpus import Snippet
from nano.holdout import gives_away

_WORD_ROWS = range(40, 3000)
"""Numbers of snippets in which a word may occur to form a class."""
CLUSTER_SIZES = (1000, 300, 80)
"""Approximate snippets per cluster, from coarse to fine."""
_MOST_OF_ONE_LIBRARY = 0.8
Groups = dict[tuple[str, str], np.ndarray]
"""(scope, name) -> rows of the corpus."""


@dataclass(frozen=True)
class Grouping:
    """Groups of snippets (rows of the corpus) that may be the classes of an episode.

    The classes of an episode come from one of the `scopes` (a library, for files, modules, parts and clusters, so that
    the library of a text never distinguishes classes). In `overlapping` groups a snippet may belong to several.
    """

    groups: tuple[np.ndarray, ...]
    scopes: tuple[tuple[int, ...], ...]
    overlapping: bool = False

    @classmethod
    def of(cls, groups: Groups, overlapping: bool = False) -> Grouping:
        """Scopes of one group are left out; larger ones are drawn in proportion to their square root."""
        scopes: dict[str, list[int]] = defaultdict(list)
        for place, (scope, _) in enumerate(groups):
            scopes[scope].append(place)
        several = [tuple(places) for places in scopes.values() if len(places) > 1]
        repeated = [places for places in several for _ in range(max(1, round(len(places) ** 0.5)))]
        return cls(tuple(groups.values()), tuple(repeated), overlapping)

    def draw(self, ways: int, rng: np.random.Generator) -> list[np.ndarray]:
        """`ways` random groups of one scope; fewer if no drawn scope has enough."""
        for _ in range(8):
            scope = self.scopes[rng.integers(len(self.scopes))]
            if len(scope) >= ways:
                break
        chosen = rng.permutation(len(scope))[:ways]
        return [self.groups[scope[at]] for at in chosen]


def groupings(
    snippets: Sequence[Snippet], lengths: np.ndarray, embeddings: np.ndarray, sizes: Sequence[int] = CLUSTER_SIZES
) -> dict[str, Grouping]:
    """All groupings by name.

    Args: lengths in tokens (snippets,), the teacher's unit embeddings (snippets, width), sizes of clusters.
    """
    modules = ([(s.library, str(PurePosixPath(s.path).parent))] for s in snippets)
    words = (sorted({("", word) for word in re.findall(r"[a-z]{4,}", s.text.casefold())}) for s in snippets)
    sharing = {word: rows for word, rows in _by(words).items() if len(rows) in _WORD_ROWS}
    first_words = _by(([("", s.text.split()[0].casefold())] for s in snippets), 16)
    return {
        "file": Grouping.of(_by(([(s.library, s.path)] for s in snippets), 12)),
        "module": Grouping.of(_by(modules, 24)),
        "first word": Grouping.of(_without_benchmark_classes(first_words, snippets)),
        "word": Grouping.of(_without_benchmark_classes(sharing, snippets), overlapping=True),
        "part": Grouping.of(_by(([(s.library, s.part)] for s in snippets), 40)),
        "length": Grouping.of(_by_length(lengths)),
        "same text": Grouping.of({("", str(row)): np.array([row]) for row in range(len(snippets))}),
        **{f"cluster of {size}": Grouping.of(_clusters(snippets, embeddings, size)) for size in sizes},
    }


def _by(keys: Iterable[Iterable[tuple[str, str]]], least: int = 1) -> Groups:
    """The groups of at least `least` rows that share a key. Args: the keys of each row."""
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, own in enumerate(keys):
        for key in own:
            rows[key].append(row)
    return {key: np.array(members) for key, members in rows.items() if len(members) >= least}


def _without_benchmark_classes(groups: Groups, snippets: Sequence[Snippet]) -> Groups:
    """The groups by word that match no class of a benchmark: no library's name, kind or type, and spread over
    libraries, so that the word does not identify one."""
    libraries = np.array([snippet.library for snippet in snippets])
    names = {snippet.library.casefold() for snippet in snippets}

    def spread(rows: np.ndarray) -> bool:
        counts = np.unique(libraries[rows], return_counts=True)[1]
        return len(names) == 1 or counts.max() <= _MOST_OF_ONE_LIBRARY * len(rows)

    return {
        key: rows
        for key, rows in groups.items()
        if key[1] not in names and not gives_away(key[1].strip(".,:;()")) and spread(rows)
    }


def _by_length(lengths: np.ndarray) -> Groups:
    """Four disjoint, non-adjacent ranges of lengths."""
    bounds = np.quantile(lengths, (0, 0.15, 0.28, 0.42, 0.55, 0.7, 0.83, 1))
    return {("", str(at)): np.flatnonzero((lengths >= bounds[at]) & (lengths < bounds[at + 1])) for at in (0, 2, 4, 6)}


def _clusters(snippets: Sequence[Snippet], embeddings: np.ndarray, size: int) -> Groups:
    """Clusters of embeddings, about `size` snippets each, within every library: mini-batch k-means."""
    groups: Groups = {}
    for (library, _), rows in _by(([(s.library, "")] for s in snippets), 2 * size).items():
        means = MiniBatchKMeans(len(rows) // size, batch_size=4096, max_iter=8, n_init=1, random_state=0)
        labels = means.fit_predict(embeddings[rows])
        groups |= {(library, str(place)): rows[labels == place] for place in range(means.n_clusters)}
    return {name: rows for name, rows in groups.items() if len(rows) >= 12}
