"""The recall warm-up, which forms copying circuits: random phrases repeat, and their continuation is the target."""

from __future__ import annotations

import numpy as np

from tunefront.bench.nano.episodes import IGNORED, Layout

PHRASES, PHRASE = 4, 4
"""Phrases per sequence, and tokens per phrase."""


def phrases(rows: int, length: int, tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four random phrases of four tokens, repeated in random order: ids and targets, (rows, length).

    Targets are all tokens of a phrase that has occurred, except its first, which is unpredictable.
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
    """The same with "phrase, separator, label, newline" in the layout of episodes; the target is the label."""
    kinds = rng.choice(tokens, (rows, PHRASES, PHRASE))
    named = np.stack([rng.choice(labels, PHRASES, replace=False) for _ in range(rows)])
    pair = PHRASE + 4
    count = -(-length // pair)
    order = rng.integers(0, PHRASES, (rows, count))
    pairs = np.empty((rows, count, pair), dtype=np.int64)
    pairs[:, :, 0] = layout.opening
    pairs[:, :, 1 : PHRASE + 1] = np.take_along_axis(kinds, order[:, :, None], axis=1)
    pairs[:, :, PHRASE + 1] = layout.cue
    pairs[:, :, PHRASE + 2] = np.take_along_axis(named, order, axis=1)
    pairs[:, :, PHRASE + 3] = layout.between
    ids = pairs.reshape(rows, -1)[:, :length]
    counted = np.repeat(_occurred(order), pair, axis=1)[:, :length] & (np.arange(length) % pair == PHRASE + 2)
    return ids, _following(ids, counted)


def _occurred(order: np.ndarray) -> np.ndarray:
    """Whether the value at a position occurred before: (rows, count) -> (rows, count)."""
    same = order[:, :, None] == order[:, None, :]
    return np.tril(same, -1).any(-1)


def _following(ids: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Targets: the next id at each position, if that is counted."""
    targets = np.full(ids.shape, IGNORED, dtype=np.int64)
    targets[:, :-1] = np.where(counted[:, 1:], ids[:, 1:], IGNORED)
    return targets
