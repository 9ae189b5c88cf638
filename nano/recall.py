"""The recall warm-up, which forms copying circuits: random phrases repeat, and their continuation is the target."""

from __future__ import annotations

import numpy as np

from nano.episodes import IGNORED, Rows
from nano.tokens import Layout

PHRASES, PHRASE = 4, 4
"""Phrases per sequence, and tokens per phrase."""


def phrases(rows: int, length: int, tokens: np.ndarray, rng: np.random.Generator) -> Rows:
    """Four random phrases of four tokens, repeated in random order.

    Targets are all tokens of a phrase that has occurred, except its first, which is unpredictable.
    """
    kinds = rng.choice(tokens, (rows, PHRASES, PHRASE))
    order = rng.integers(0, PHRASES, (rows, -(-length // PHRASE)))
    ids = np.take_along_axis(kinds, order[:, :, None], axis=1).reshape(rows, -1)[:, :length]
    return _recalled(ids, order, PHRASE, range(1, PHRASE))


def labelled(
    rows: int, length: int, tokens: np.ndarray, labels: np.ndarray, layout: Layout, rng: np.random.Generator
) -> Rows:
    """The same with "phrase, separator, label, newline" in the layout of episodes; the target is the label."""
    unit = PHRASE + 4
    kinds = rng.choice(tokens, (rows, PHRASES, PHRASE))
    named = np.stack([rng.choice(labels, PHRASES, replace=False) for _ in range(rows)])
    order = rng.integers(0, PHRASES, (rows, -(-length // unit)))
    pairs = np.empty((*order.shape, unit), dtype=np.int64)
    pairs[:, :, 0] = layout.opening
    pairs[:, :, 1:-3] = np.take_along_axis(kinds, order[:, :, None], axis=1)
    pairs[:, :, -3] = layout.cue
    pairs[:, :, -2] = np.take_along_axis(named, order, axis=1)
    pairs[:, :, -1] = layout.between
    return _recalled(pairs.reshape(rows, -1)[:, :length], order, unit, range(unit - 2, unit - 1))


def _recalled(ids: np.ndarray, order: np.ndarray, unit: int, predictable: range) -> Rows:
    """Targets are these places of every unit that occurred before in `order`, (rows, units)."""
    length = ids.shape[1]
    occurred = np.tril(order[:, :, None] == order[:, None, :], -1).any(-1)
    counted = np.repeat(occurred, unit, axis=1)[:, :length] & np.isin(np.arange(length) % unit, predictable)
    targets = np.full(ids.shape, IGNORED, dtype=np.int64)
    targets[:, :-1] = np.where(counted[:, 1:], ids[:, 1:], IGNORED)
    return Rows(ids, targets)
