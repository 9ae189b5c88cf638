"""Episodes of "text, label" pairs in the plain template's format, with random classes and labels per episode.

Every label is a target once its class has occurred; before that, it cannot be predicted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from nano.material import Label, Material

IGNORED = -100


@dataclass(frozen=True)
class Difficulty:
    """The distribution of episodes: shares of groupings, maximum classes, tokens per text, shares of label kinds."""

    groupings: Mapping[str, float]
    most_ways: int
    text_tokens: int
    labels: Mapping[str, float]


@dataclass(frozen=True)
class Rows:
    """A batch of sequences.

    ids, (batch, seq), padded at the end; targets, (batch, seq): the id after each position, IGNORED if it is no target;
    of episodes also places, (cues, 2): row and position of each `cue`; and texts (cues,): the snippet before it.
    """

    ids: np.ndarray
    targets: np.ndarray
    places: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    texts: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


class Episodes:
    """Draws episodes of a material's snippets."""

    def __init__(self, material: Material, rng: np.random.Generator):
        self._material, self._rng = material, rng

    def batch(self, rows: int, length: int, difficulty: Difficulty) -> Rows:
        """`rows` episodes, each with the pairs that fit into `length` tokens."""
        layout = self._material.layout
        ids = np.full((rows, length), layout.end, dtype=np.int64)
        targets = np.full((rows, length), IGNORED, dtype=np.int64)
        places, snippets = [], []
        for row in range(rows):
            end, known = 0, set[Label]()
            for snippet, text, label in self._pairs(length, difficulty):
                pair = [layout.opening, *text, layout.cue, *label, layout.between]
                ids[row, end : end + len(pair)] = pair
                cue = end + 1 + len(text)
                if label in known:
                    targets[row, cue : cue + len(label)] = label
                known.add(label)
                places.append((row, cue))
                snippets.append(snippet)
                end += len(pair)
        return Rows(ids, targets, np.array(places), np.array(snippets))

    def _pairs(self, length: int, difficulty: Difficulty) -> Iterator[tuple[int, np.ndarray, Label]]:
        """(snippet, its first tokens, its label) of one episode."""
        rng = self._rng
        grouping = self._material.groupings[draw(difficulty.groupings, rng)]
        groups = grouping.draw(int(rng.integers(2, difficulty.most_ways + 1)), rng)
        labels = self._draw_labels(draw(difficulty.labels, rng), len(groups))
        groups = groups[: len(labels)]
        shares = rng.dirichlet(np.full(len(groups), 8.0))
        members = [set(group.tolist()) for group in groups] if grouping.overlapping else []
        queues = [rng.permutation(group) for group in groups]
        taken, used = [0] * len(groups), 0
        while True:
            which = int(rng.choice(len(groups), p=shares))
            snippet = int(queues[which][taken[which] % len(queues[which])])
            taken[which] += 1
            if sum(snippet in member for member in members) > 1:  # a text that belongs to two classes
                if taken[which] > 4 * length:
                    return
                continue
            text = self._material.texts[snippet][: difficulty.text_tokens]
            used += len(text) + len(labels[which]) + 3
            if used > length:
                return
            yield snippet, text, labels[which]

    def _draw_labels(self, kind: str, number: int) -> list[Label]:
        """Labels of one kind that differ in their first token."""
        pool, drawn = self._material.labels[kind], dict[int, Label]()
        for at in self._rng.permutation(len(pool)):
            drawn.setdefault(pool[at][0], pool[at])
            if len(drawn) == number:
                break
        return list(drawn.values())


def draw(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    """A random name, by its share."""
    weights = np.array(list(shares.values()))
    return list(shares)[rng.choice(len(weights), p=weights / weights.sum())]
