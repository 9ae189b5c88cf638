"""The shapes of the batches that ran, from which costs follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from bench.batching import EncodedExamples
from bench.meters.flops import Shape
from bench.meters.memory_phases import Work
from methods.base import Batch


class Shapes:
    """The shapes of the batches that ran: how often each, and the rows of one that had it; and the largest batch."""

    def __init__(self, examples: EncodedExamples, training: bool = False):
        self.examples, self.training = examples, training
        self.times: Counter[Shape] = Counter()
        self._rows: dict[Shape, list[int]] = {}
        self._largest: tuple[tuple[int, ...], list[int]] = ((), [])

    def add(self, batch: Batch) -> None:
        """Notes a batch that ran."""
        shape = self.examples.shape(batch, self.training)
        self.times[shape] += 1
        self._rows.setdefault(shape, batch.rows.tolist())
        size = self.examples.size(batch)
        if size > self._largest[0]:
            self._largest = size, batch.rows.tolist()

    def largest(self, device: torch.device, **held: Sequence[Tensor]) -> Work:
        """The largest batch, and the caches that were `held` beside it."""
        size, rows = self._largest
        features = [] if self.examples.features is None else [self.examples.features]
        return Work(size, lambda: self.examples.batch(rows, device), {"features_cache": features, **held})

    def batch(self, shape: Shape, device: torch.device) -> Batch:
        """A batch to count: one that ran where the shape occurred, else one made for it."""
        if shape in self._rows:
            return self.examples.batch(self._rows[shape], device)
        return self.examples.shaped(*shape, device=device)
