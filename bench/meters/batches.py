"""The shapes of the batches that ran, from which costs follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from tunefront.bench.meters.memory.phases import BatchReplay, ParetoFront
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.shapes import Shape
from tunefront.methods.base import Batch


class BatchLog:
    """The shapes of the batches that ran: how often each, and the rows of one that had it; and the largest batches."""

    def __init__(self, examples: EncodedExamples, training: bool = False):
        self.examples, self.training = examples, training
        self.times: Counter[Shape] = Counter()
        self._rows: dict[Shape, list[int]] = {}
        self._largest: ParetoFront[tuple[tuple[int, ...], Shape, list[int]]] = ParetoFront()

    def add(self, batch: Batch) -> None:
        """Notes a batch that ran."""
        shape, rows = self.examples.shape(batch, self.training), batch.rows.tolist()
        self.times[shape] += 1
        self._rows.setdefault(shape, rows)
        sizes = self.examples.sizes(batch, shape, self.training)
        self._largest.add(sizes, (sizes, shape, rows))

    def largest(self, device: torch.device, **held: Sequence[Tensor]) -> list[BatchReplay]:
        """The batches among which is the one that needs most memory, and the caches that were `held` beside them."""
        caches = {"features_cache": [] if self.examples.features is None else [self.examples.features], **held}

        def work(sizes: tuple[int, ...], shape: Shape, rows: list[int]) -> BatchReplay:
            return BatchReplay(sizes, lambda: self.examples.batch(rows, device), caches, shape)

        return [work(*one) for one in self._largest.items()]

    def batch(self, shape: Shape, device: torch.device) -> Batch:
        """A batch to count: one that ran where the shape occurred, else one made for it."""
        if shape in self._rows:
            return self.examples.batch(self._rows[shape], device)
        return self.examples.shaped(*shape, device=device)
