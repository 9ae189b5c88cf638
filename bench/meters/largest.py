"""Which of many batches may need the most memory."""

from __future__ import annotations

from typing import Generic, TypeVar

Item = TypeVar("Item")

MOST = 4
"""So many are measured at most: those that are large in everything rather than in one thing."""


class Largest(Generic[Item]):
    """Items of which no other is as large in every one of its sizes.

    What a batch takes grows with each of several sizes (tokens, pairs of tokens that attention looks at, states that
    logits are computed of), and how much with each depends on the model: the batch that takes most is one of these.
    """

    def __init__(self) -> None:
        self._front: list[tuple[tuple[int, ...], Item]] = []

    def add(self, sizes: tuple[int, ...], item: Item) -> None:
        """Notes an item; sizes of another length are not compared."""
        if any(_within(sizes, known) for known, _ in self._front):
            return
        self._front = [(known, kept) for known, kept in self._front if not _within(known, sizes)]
        self._front.append((sizes, item))

    def items(self) -> list[Item]:
        """At most `MOST` of them, the largest first."""
        most: dict[tuple[int, int], int] = {}
        for sizes, _ in self._front:
            for place, size in enumerate(sizes):
                most[len(sizes), place] = max(size, most.get((len(sizes), place), 1))

        def share(sizes: tuple[int, ...]) -> float:
            return sum(size / most[len(sizes), place] for place, size in enumerate(sizes)) / max(1, len(sizes))

        return [item for _, item in sorted(self._front, key=lambda one: -share(one[0]))[:MOST]]


def _within(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(size <= as_large for size, as_large in zip(one, other, strict=True))
