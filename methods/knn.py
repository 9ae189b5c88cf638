"""Nearest neighbours on frozen features (Cover and Hart, 1967, IEEE Transactions on Information Theory 13(1):21-27)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from tunefront.methods.base import (
    Backbone,
    Batch,
    Examples,
    Harness,
    Method,
    Product,
    Recipe,
    Scorer,
    Search,
    at_least,
)

METRICS = ("cosine", "euclidean")


class Neighbours(nn.Module):
    """Classifies by a vote of the k nearest of n stored rows.

    Args: states (n, width), the rows' features; labels (n,), class indices below `classes`, or real values if `classes`
    is None; k, metric and temperature as in the method.
    Shapes: (batch, width) -> (batch, classes), shares of the votes, or (batch, 1), the mean of the neighbours' values;
    in float32 for any input dtype, since small differences of distances matter.
    Without a temperature every neighbour has one vote, and among classes with equal votes the one with the nearer
    neighbour gets up to half a vote more. NaN in a query gives NaN scores.
    """

    states: Tensor
    labels: Tensor

    def __init__(
        self, states: Tensor, labels: Tensor, classes: int | None, k: int, metric: str, temperature: float | None
    ):
        super().__init__()
        self.classes, self.k, self.metric, self.temperature = classes, k, metric, temperature
        states = states.detach().float()
        self.register_buffer("states", nn.functional.normalize(states) if metric == "cosine" else states.clone())
        self.register_buffer("labels", labels.detach().to(states.device, copy=True))

    def forward(self, queries: Tensor) -> Tensor:
        with torch.autocast(queries.device.type, enabled=False):
            near = -self._distances(queries.float())
        nearest, places = near.topk(self.k, dim=1)
        temperature = self.temperature
        weights = torch.full_like(nearest, 1 / self.k) if temperature is None else (nearest / temperature).softmax(1)
        labels = self.labels[places]
        unknown = 0 * nearest.sum(1, keepdim=True)
        if self.classes is None:
            return (weights * labels).sum(1, keepdim=True) + unknown
        votes = labels[:, :, None] == torch.arange(self.classes, device=labels.device)
        shares = (weights[:, :, None] * votes).sum(1)
        if temperature is None:
            closeness = 1 / (1 - nearest)  # 1 at distance 0, towards 0 far away
            shares = shares + (closeness[:, :, None] * votes).amax(1) / (2 * self.k)
        return shares + unknown

    def products(self, tokens: int) -> Iterable[Product]:
        """The product of `tokens` queries with all stored rows."""
        rows, width = self.states.shape
        return (Product(tokens, width, rows, "constant", "constant"),)

    def _distances(self, queries: Tensor) -> Tensor:
        """(batch, n): 1 - cosine, or Euclidean."""
        if self.metric == "cosine":
            return 1 - nn.functional.normalize(queries) @ self.states.T
        squares = queries.square().sum(1, keepdim=True) + self.states.square().sum(1)
        return (squares - 2 * queries @ self.states.T).clamp(min=0).sqrt()


@dataclass(frozen=True)
class Nearest:
    """Scores rows by the stored neighbours of their features."""

    backbone: Backbone
    neighbours: Neighbours

    def scores(self, batch: Batch) -> Tensor:
        """(batch, classes), or (batch, 1)."""
        scores: Tensor = self.neighbours(self.backbone.features(batch))
        return scores

    def products(self, tokens: int) -> Iterable[Product]:
        """The products for `tokens` rows, in addition to their features."""
        return self.neighbours.products(tokens)


@dataclass(frozen=True)
class KNN(Method):
    """The k nearest training rows vote, in the space of the pooled states that a head would read; trains nothing.

    The checkpoint contains the n rows: their states, n d numbers in float32, and their labels. The head of an encoder
    is not used.
    Fields: k, the number of voting neighbours (regression predicts the mean of their values); metric, `cosine` (one
    minus the cosine) or `euclidean`; temperature, None for equal votes, else a neighbour at distance x has the weight
    exp(-x / temperature), normalised over the k (0.07 with cosine in Wu et al. 2018, arXiv:1805.01978, section 3.4).
    Differs: Cover and Hart's rule has equal votes, and one neighbour by default; among classes with equal votes the one
    with the nearest neighbour wins.
    """

    name: ClassVar[str] = "knn"
    recipe: ClassVar[Recipe | None] = None
    trains: ClassVar[bool] = False
    scores_are: ClassVar[Literal["logits", "shares"]] = "shares"
    search: ClassVar[Search | None] = None
    k: int = 5
    metric: str = "cosine"
    temperature: float | None = None

    def __post_init__(self) -> None:
        at_least(1, 1_000_000, k=self.k)
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, got {self.metric!r}")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be a finite number above 0, got {self.temperature}")

    @property
    def fewest_rows(self) -> int:
        return self.k

    def attach(self, backbone: Backbone) -> None:
        _ = backbone.outputs  # Unsupported if rows have their own choices, for which no neighbour can vote
        backbone.freeze()

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        rows = harness.cached("features", backbone.features, examples)
        states = rows.features
        if states is None or not states.isfinite().all():
            raise ValueError("some training row's features are not finite, so no row is near them")
        return self._nearest(backbone, states, rows.labels)

    def expect(self, backbone: Backbone, stored: Mapping[str, Tensor]) -> None:
        states, labels = (stored.get(f"neighbours.{name}") for name in ("states", "labels"))
        if states is None or labels is None:
            raise ValueError("the checkpoint has no stored rows (neighbours.states and neighbours.labels)")
        device = next(backbone.model.parameters()).device
        self._nearest(backbone, states.to(device), labels.to(device))

    def scorer(self, backbone: Backbone) -> Scorer:
        return Nearest(backbone, cast(Neighbours, backbone.model.neighbours)).scores

    def _nearest(self, backbone: Backbone, states: Tensor, labels: Tensor) -> Scorer:
        """Adds the rows to the model; their scorer."""
        classes = None if labels.is_floating_point() else backbone.outputs
        neighbours = Neighbours(states, labels, classes, self.k, self.metric, self.temperature)
        backbone.model.add_module("neighbours", neighbours)
        return self.scorer(backbone)
