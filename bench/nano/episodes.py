"""Episodes of "text, label" pairs in the plain template's format, with random classes and labels per episode.

Every label is a target once its class has occurred; before that, it cannot be predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunefront.bench.nano.classes import Grouping

IGNORED = -100


@dataclass(frozen=True)
class Layout:
    """Token ids around a text: `opening` before it, `cue` after it, `between` pairs."""

    opening: int
    cue: int
    between: int
    end: int


@dataclass(frozen=True)
class Difficulty:
    """The distribution of episodes: shares of groupings, maximum classes, tokens per text, shares of label kinds,
    minimum classes."""

    groupings: Mapping[str, float]
    most_ways: int
    text_tokens: int
    labels: Mapping[str, float]
    fewest_ways: int = 2


@dataclass(frozen=True)
class Rows:
    """A batch of sequences.

    ids, (batch, seq), padded at the end; targets, (batch, seq): the id after each position, IGNORED if it is no target;
    places, (cues, 2): row and position of each `cue`; texts (cues,): the snippet before it; candidates (cues, most
    ways): the first ids of all labels of the episode, padded with -1; right (cues,), the index of the right one; seen
    (cues,), the number of preceding pairs.
    """

    ids: np.ndarray
    targets: np.ndarray
    places: np.ndarray
    texts: np.ndarray
    candidates: np.ndarray
    right: np.ndarray
    seen: np.ndarray


class Episodes:
    """Draws episodes. Args: texts, the snippets' ids; labels, the ids of all labels by kind."""

    def __init__(
        self,
        layout: Layout,
        texts: Sequence[np.ndarray],
        groupings: Mapping[str, Grouping],
        labels: Mapping[str, Sequence[tuple[int, ...]]],
    ):
        self._layout, self._texts, self._groupings, self._labels = layout, texts, groupings, labels

    def batch(self, rows: int, length: int, difficulty: Difficulty, rng: np.random.Generator) -> Rows:
        """`rows` episodes, each with the pairs that fit into `length` tokens."""
        episodes = [self._episode(length, difficulty, rng) for _ in range(rows)]
        ids = np.full((rows, length), self._layout.end, dtype=np.int64)
        targets = np.full((rows, length), IGNORED, dtype=np.int64)
        widest = max(len(episode.labels) for episode in episodes)
        places, texts, candidates, right, seen = [], [], [], [], []
        for row, episode in enumerate(episodes):
            ids[row, : len(episode.ids)] = episode.ids
            first = [label[0] for label in episode.labels] + [-1] * (widest - len(episode.labels))
            known: set[int] = set()
            for number, (place, text, which) in enumerate(
                zip(episode.places, episode.texts, episode.classes, strict=True)
            ):
                places.append((row, place))
                texts.append(text)
                candidates.append(first)
                right.append(which)
                seen.append(number)
                if which in known:
                    for step, token in enumerate(episode.labels[which]):
                        targets[row, place + step] = token
                known.add(which)
        return Rows(
            ids, targets, np.array(places), np.array(texts), np.array(candidates), np.array(right), np.array(seen)
        )

    def _episode(self, length: int, difficulty: Difficulty, rng: np.random.Generator) -> _Episode:
        grouping = self._groupings[_choice(difficulty.groupings, rng)]
        ways = int(rng.integers(difficulty.fewest_ways, difficulty.most_ways + 1))
        groups = grouping.draw(ways, rng)
        labels = self._draw_labels(_choice(difficulty.labels, rng), len(groups), rng)
        groups = groups[: len(labels)]
        shares = rng.dirichlet(np.full(len(groups), 8.0))
        members = [set(group.tolist()) for group in groups] if grouping.overlapping else []
        queues = [rng.permutation(group) for group in groups]
        taken = [0] * len(groups)
        episode = _Episode(labels)
        layout = self._layout
        while True:
            which = int(rng.choice(len(groups), p=shares))
            row = int(queues[which][taken[which] % len(queues[which])])
            taken[which] += 1
            if members and sum(row in member for member in members) > 1:
                if taken[which] > 4 * length:
                    return episode
                continue  # a text that belongs to two classes
            text = self._texts[row][: difficulty.text_tokens]
            if len(episode.ids) + len(text) + len(labels[which]) + 3 > length:
                return episode
            episode.ids += [layout.opening, *text, layout.cue]
            episode.places.append(len(episode.ids) - 1)
            episode.ids += [*labels[which], layout.between]
            episode.texts.append(row)
            episode.classes.append(which)

    def _draw_labels(self, kind: str, number: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
        """Labels of one kind that differ in their first token."""
        pool, drawn = self._labels[kind], dict[int, tuple[int, ...]]()
        for at in rng.permutation(len(pool)):
            drawn.setdefault(pool[at][0], pool[at])
            if len(drawn) == number:
                break
        return list(drawn.values())


class _Episode:
    def __init__(self, labels: list[tuple[int, ...]]):
        self.labels = labels
        self.ids: list[int] = []
        self.places: list[int] = []
        self.texts: list[int] = []
        self.classes: list[int] = []


def _choice(shares: Mapping[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(shares.values()))
    return list(shares)[rng.choice(len(weights), p=weights / weights.sum())]
