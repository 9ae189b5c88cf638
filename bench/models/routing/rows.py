"""Rows of several members, and the order in which they are scored together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tunefront.bench.models.examples import EncodedExamples
from tunefront.methods.base import Batch

Tag = tuple[int, int]
"""A row of a member: the member's index, and the row's among the member's examples."""


@dataclass(frozen=True)
class MixedRows:
    """The examples of each member, encoded for its backbone and following its own demonstrations.

    `budget` is the most tokens of a mixed batch, None for no limit.
    """

    examples: Sequence[EncodedExamples]
    budget: int | None = None

    @property
    def tags(self) -> list[Tag]:
        """All rows of all members."""
        return [(member, row) for member, rows in enumerate(self.examples) for row in range(len(rows))]

    def length(self, tag: Tag) -> int:
        """The tokens of a row, choices included."""
        member, row = tag
        return self.examples[member].lengths[row]

    def order(self, batch_size: int, tags: Sequence[Tag] | None = None) -> list[list[Tag]]:
        """Every row once (or only `tags`), the longest first, at most `batch_size` rows and the budget of tokens per
        batch."""
        ordered = sorted(self.tags if tags is None else tags, key=lambda tag: (-self.length(tag), tag[1], tag[0]))
        batches: list[list[Tag]] = []
        tokens = 0
        for tag in ordered:
            tokens += self.length(tag)
            if not batches or len(batches[-1]) == batch_size or tokens > (self.budget or math.inf):
                batches.append([])
                tokens = self.length(tag)
            batches[-1].append(tag)
        return batches

    def batches(self, tags: Sequence[Tag], device: torch.device | None = None) -> list[tuple[int, Batch]]:
        """These rows as one batch per member, in the order of members; each row keeps its place in `tags` within its
        member."""
        rows: dict[int, list[int]] = {}
        for member, row in tags:
            rows.setdefault(member, []).append(row)
        return [(member, self.examples[member].batch(own, device)) for member, own in sorted(rows.items())]
