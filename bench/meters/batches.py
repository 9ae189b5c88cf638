"""The shapes of the batches that ran, which determine their costs."""

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
    """The shapes of the batches that ran: their counts, and the rows of one batch each; the largest batches; and how
    often each row ran."""

    def __init__(self, examples: EncodedExamples, training: bool = False):
        self.examples, self.training = examples, training
        self.times: Counter[Shape] = Counter()
        self._rows: dict[Shape, list[int]] = {}
        self._times_of_rows: Counter[int] = Counter()
        self._largest: ParetoFront[tuple[tuple[int, ...], Shape, list[int]]] = ParetoFront()

    def add(self, batch: Batch) -> None:
        """Adds a batch that ran."""
        shape, rows = self.examples.shape(batch, self.training), batch.rows.tolist()
        self.times[shape] += 1
        self._times_of_rows.update(rows)
        self._rows.setdefault(shape, rows)
        sizes = self.examples.sizes(batch, shape, self.training)
        self._largest.add(sizes, (sizes, shape, rows))

    def tokens(self, choices: bool) -> int:
        """Tokens of all rows that ran, each as often as it did, without padding; `choices`: with those of choices."""
        return sum(
            times * (self.examples.text_tokens(row) + (self.examples.choice_tokens(row) if choices else 0))
            for row, times in self._times_of_rows.items()
        )

    def largest(self, device: torch.device, **caches: Sequence[Tensor]) -> list[BatchReplay]:
        """Replays of the largest batches, one of which needs the most memory, with the `caches` held alongside."""
        features = [] if self.examples.features is None else [self.examples.features]
        held = {"features_cache": features, **caches}

        def replay(sizes: tuple[int, ...], shape: Shape, rows: list[int]) -> BatchReplay:
            return BatchReplay(sizes, lambda: self.examples.batch(rows, device), held, shape)

        return [replay(*batch) for batch in self._largest.items()]

    def batch(self, shape: Shape, device: torch.device) -> Batch:
        """A batch of this shape to count: one that ran if there is one, else a made one."""
        if shape in self._rows:
            return self.examples.batch(self._rows[shape], device)
        return self.examples.shaped(*shape, device=device)
