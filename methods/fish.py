"""FISH Mask: trains the few weights with the largest Fisher information (Sung et al., 2021, arXiv:2111.09839)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import Backbone, Examples, Harness, Method, Recipe, Scorer, Search, Unsupported, at_least
from tunefront.methods.inject import has_values, originals, rebuild


class SparseUpdate(nn.Module):
    """Adds n trained numbers, zero at the start, to n entries across all weights: w0 + scatter(values).

    `indices` (n,) are positions within a weight; the slice of weight i is from starts[i] to starts[i + 1]. Before
    `choose` no entry is chosen and weights are unchanged. Size: n trained parameters, 4 n bytes of indices.
    """

    def __init__(self, sizes: Sequence[int], n: int):
        super().__init__()
        self.sizes = tuple(sizes)
        self.values = nn.Parameter(torch.zeros(n))
        self.register_buffer("indices", torch.zeros(n, dtype=torch.int32))
        self.register_buffer("starts", torch.zeros(len(sizes) + 1, dtype=torch.int64))
        self._slices, self._read = [0] * (len(sizes) + 1), self._written

    def forward(self, original: Tensor, place: int) -> Tensor:
        starts = self._starts()
        if not starts[-1]:
            return original
        own = slice(starts[place], starts[place + 1])
        values, indices = self.values[own].to(original.dtype), cast(Tensor, self.indices)[own].long()
        # Even without chosen entries, so that the cost of a step does not depend on the choice.
        return original.flatten().scatter_add(0, indices, values).view_as(original)

    def choose(self, scores: Sequence[Tensor]) -> None:
        """Chooses the n entries with the highest scores, the first of equal ones."""
        n, offsets = self.values.numel(), list(accumulate(self.sizes, initial=0))
        if not has_values(scores[0]):  # proportional to the size of each weight
            self._slices = [n * offset // offsets[-1] for offset in offsets]
            return
        flat = torch.cat([score.flatten().cpu() for score in scores])
        lowest = flat.topk(n).values.min()
        chosen = flat > lowest
        ties = (flat == lowest).nonzero().flatten()  # topk breaks ties arbitrarily
        chosen[ties[: n - int(chosen.sum())]] = True
        places = chosen.nonzero().flatten()
        starts = torch.searchsorted(places, torch.tensor(offsets))
        before = torch.tensor(offsets[:-1]).repeat_interleave(starts.diff())
        with torch.no_grad():
            cast(Tensor, self.indices).copy_(places - before)
            cast(Tensor, self.starts).copy_(starts)

    @property
    def _written(self) -> tuple[int, int]:
        starts = cast(Tensor, self.starts)  # copying the module, or loading, may replace the buffer
        return id(starts), starts._version

    def _starts(self) -> list[int]:
        """The starts as ints, read again after writes to the buffer (chosen, or loaded)."""
        starts = cast(Tensor, self.starts)
        if has_values(starts) and self._read != self._written:
            self._slices, self._read = starts.tolist(), self._written
        return self._slices


@dataclass(frozen=True)
class Fish(Method):
    """Trains a fraction `density` of the backbone's weights: those with the largest sums of squared gradients over the
    training rows, one row per batch (the empirical Fisher information of the training loss).

    All weights compete: matrices, embeddings (tied ones count once), norms, biases. The head is trained in addition.
    Trained: floor(density * N) of the N parameters of the backbone, and the head. The checkpoint includes the indices.
    Recipe: T-Few's for this method (3e-4, 1500 steps in batches of 8).
    Differs: AdamW instead of T-Few's Adafactor, which scales the rate by the root mean square of each weight; here that
    would be of the chosen numbers, which start at zero, so almost nothing would move: use scale_parameter=false with
    it. Both codes mask the gradients of whole weights, for which the optimiser keeps states; here only the chosen
    numbers have states. The authors' code uses at most 1,024 rows, without dropout, and counts a classifier's numbers
    within the fraction; here every training row counts, with the dropout of training, as in T-Few's code, and the head
    is additional.
    Errors: Unsupported if the fraction is less than one weight.
    """

    name: ClassVar[str] = "fish"
    recipe: ClassVar[Recipe | None] = Recipe(learning_rate=3e-4, batch_size=8, steps=1500)
    search: ClassVar[Search | None] = Search("density", (0.0002, 0.002, 0.02))
    density: float = 0.002

    def __post_init__(self) -> None:
        at_least(0, 1, density=self.density)
        if self.density == 0:
            raise ValueError("density must be above 0, got 0")

    def attach(self, backbone: Backbone) -> None:
        def make(weights: list[nn.Parameter]) -> SparseUpdate:
            sizes = [weight.numel() for weight in weights]
            n = int(self.density * sum(sizes))
            if n < 1:
                raise Unsupported(f"density={self.density:g} of {sum(sizes):,} weights is less than one")
            return SparseUpdate(sizes, n)

        backbone.freeze(keep=backbone.head)
        rebuild(backbone.model, "fish", make, without=backbone.head)

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        update = cast(SparseUpdate, backbone.model.fish)
        weights = originals(backbone.model, update)
        fisher = harness.gradients(weights, backbone.loss, examples, torch.square)
        update.choose([fisher[name] for name in weights])
        return super().fit(backbone, examples, harness)

    def scorer(self, backbone: Backbone) -> Scorer:
        return backbone.score
