"""The warm-up that makes copying circuits: random phrases come again, and what follows in them is to be recalled."""

from __future__ import annotations

import numpy as np

from tunefront.bench.nano.episodes import IGNORED, Layout

PHRASES, PHRASE = 4, 4
"""Phrases in a sequence, and tokens in a phrase."""


def phrases(rows: int, length: int, tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four random phrases of four tokens, again and again in random order: ids and targets, (rows, length).

    Counted is every token of a phrase that has occurred, but its first, which nothing tells.
    """
    kinds = rng.choice(tokens, (rows, PHRASES, PHRASE))
    count = -(-length // PHRASE)
    order = rng.integers(0, PHRASES, (rows, count))
    ids = np.take_along_axis(kinds, order[:, :, None], axis=1).reshape(rows, -1)[:, :length]
    known = np.repeat(_occurred(order), PHRASE, axis=1)[:, :length]
    first = np.arange(length) % PHRASE == 0
    counted = known & ~first
    return ids, _following(ids, counted)


def labelled(
    rows: int, length: int, tokens: np.ndarray, labels: np.ndarray, layout: Layout, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same with "phrase, separator, label, newline" in the layout of episodes; counted is the label."""
    kinds = rng.choice(tokens, (rows, PHRASES, PHRASE))
    named = np.stack([rng.choice(labels, PHRASES, replace=False) for _ in range(rows)])
    pair = PHRASE + 4
    count = -(-length // pair)
    order = rng.integers(0, PHRASES, (rows, count))
    pairs = np.empty((rows, count, pair), dtype=np.int64)
    pairs[:, :, 0] = layout.opening
    pairs[:, :, 1 : PHRASE + 1] = np.take_along_axis(kinds, order[:, :, None], axis=1)
    pairs[:, :, PHRASE + 1] = layout.asked
    pairs[:, :, PHRASE + 2] = np.take_along_axis(named, order, axis=1)
    pairs[:, :, PHRASE + 3] = layout.between
    ids = pairs.reshape(rows, -1)[:, :length]
    counted = np.repeat(_occurred(order), pair, axis=1)[:, :length] & (np.arange(length) % pair == PHRASE + 2)
    return ids, _following(ids, counted)


def _occurred(order: np.ndarray) -> np.ndarray:
    """Whether what stands at a place stands at an earlier one too: (rows, count) -> (rows, count)."""
    same = order[:, :, None] == order[:, None, :]
    return np.tril(same, -1).any(-1)


def _following(ids: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Targets: at each place the next id, where that one counts."""
    targets = np.full(ids.shape, IGNORED, dtype=np.int64)
    targets[:, :-1] = np.where(counted[:, 1:], ids[:, 1:], IGNORED)
    return targets
