"""Rows of several members, and the passes in which they are scored together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.families import Backbone, Decoder
from tunefront.bench.models.scoring.layouts import CPU_BUDGET, CUDA_BUDGET
from tunefront.methods.base import Batch

Tag = tuple[int, int]
"""A row of a member: the member's index, and the row's among the member's examples."""

CPU_PASS, CUDA_PASS = 64, 8192
"""The tokens that a padded batch may have more than two smaller ones before they are faster: what a pass costs apart
from its tokens."""


@dataclass(frozen=True)
class MixedRows:
    """The examples of each member, encoded for its backbone and following its own demonstrations.

    Args: examples; padded, whether rows are padded to the longest of a pass, or packed one after another; budget, the
    most tokens of a packed pass, None for no limit; pass_cost, in tokens, see `CPU_PASS`.
    """

    examples: Sequence[EncodedExamples]
    padded: bool = True
    budget: int | None = None
    pass_cost: int = CPU_PASS

    @classmethod
    def of(cls, backbone: Backbone, examples: Sequence[EncodedExamples]) -> MixedRows:
        """The examples of the members of a router with this backbone."""
        on_cuda = backbone.model.device.type == "cuda"
        budget = CUDA_BUDGET if on_cuda else CPU_BUDGET
        return cls(examples, not isinstance(backbone, Decoder), budget, CUDA_PASS if on_cuda else CPU_PASS)

    @property
    def tags(self) -> list[Tag]:
        """All rows of all members."""
        return [(member, row) for member, rows in enumerate(self.examples) for row in range(len(rows))]

    def length(self, tag: Tag) -> int:
        """The tokens of a row, choices included."""
        member, row = tag
        return self.examples[member].lengths[row]

    def order(self, batch_size: int, tags: Sequence[Tag] | None = None) -> list[list[Tag]]:
        """Every row once (or only `tags`), in passes of at most `batch_size` rows, the longest rows first."""
        ordered = sorted(self.tags if tags is None else tags, key=lambda tag: (-self.length(tag), tag[1], tag[0]))
        lengths = [self.length(tag) for tag in ordered]
        if self.padded:
            ends = cut_padded(lengths, batch_size, self.pass_cost)
        else:
            ends = cut_packed(lengths, batch_size, self.budget or math.inf)
        return [ordered[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def batches(self, tags: Sequence[Tag], device: torch.device | None = None) -> list[tuple[int, Batch]]:
        """These rows as one batch per member, in the order of members; each row keeps its place in `tags` within its
        member."""
        rows: dict[int, list[int]] = {}
        for member, row in tags:
            rows.setdefault(member, []).append(row)
        return [(member, self.examples[member].batch(own, device)) for member, own in sorted(rows.items())]


def cut_packed(lengths: Sequence[int], most_rows: int, budget: float) -> list[int]:
    """The ends of passes over rows of these lengths, in order, with at most so many rows and tokens in each.

    >>> cut_packed([5, 4, 3, 2], 3, 9)
    [2, 4]
    """
    ends: list[int] = []
    start, tokens = 0, 0
    for place, length in enumerate(lengths):
        if place > start and (place - start == most_rows or tokens + length > budget):
            ends.append(place)
            start, tokens = place, 0
        tokens += length
    return [*ends, len(lengths)] if lengths else []


def cut_padded(lengths: Sequence[int], most_rows: int, pass_cost: float) -> list[int]:
    """The ends of the passes over rows of falling lengths with the lowest total cost: a pass costs `pass_cost` and, for
    each row, the tokens of its longest.

    >>> cut_padded([40, 39, 5, 4, 4], 64, 10)
    [2, 5]
    >>> cut_padded([40, 39, 5, 4, 4], 64, 1000)
    [5]
    """
    best: list[tuple[float, int]] = [
        (0.0, 0)
    ]  # for the rows before each place: the cost, and the start of the last pass
    for end in range(1, len(lengths) + 1):
        starts = range(max(0, end - most_rows), end)
        best.append(min((best[start][0] + pass_cost + lengths[start] * (end - start), start) for start in starts))
    ends, end = [], len(lengths)
    while end:
        ends.append(end)
        end = best[end][1]
    return ends[::-1]
