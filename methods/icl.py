"""In-context learning: demonstrations in the prompt, nothing trained (Brown et al., 2020, arXiv:2005.14165)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tunefront.methods.base import (
    Backbone,
    Batch,
    Examples,
    Exported,
    Harness,
    Library,
    Method,
    Recipe,
    Scorer,
    Unsupported,
    at_least,
)


@dataclass(frozen=True)
class ICL(Method):
    """Scores the choices after k demonstrations, the same ones for every query; `icl:k=0` is zero-shot.

    Fields: k, the first k of the drawn rows, None for all; order, 0 for the drawn order, n for the n-th permutation;
    balanced, labels in turn instead of the first k; ensemble, the number of prompts (orders `order`, `order` + 1, ...)
    whose choice probabilities are averaged; calibrate, contextual calibration: probabilities are divided by those for
    content-free queries (Zhao et al. 2021, arXiv:2102.09690, section 5, the diagonal W).
    """

    name: ClassVar[str] = "icl"
    recipe: ClassVar[Recipe | None] = None
    trains: ClassVar[bool] = False
    k: int | None = None
    order: int = 0
    balanced: bool = False
    ensemble: int = 1
    calibrate: bool = False

    def __post_init__(self) -> None:
        at_least(0, 1_000_000, k=self.k or 0, order=self.order)
        at_least(1, 1_000, ensemble=self.ensemble)
        if self.k == 0 and (self.order or self.balanced or self.ensemble > 1):
            raise ValueError("k=0 has no demonstrations to order, balance or average over")

    @property
    def fewest_rows(self) -> int:
        return 1 if self.k is None else self.k

    def attach(self, backbone: Backbone) -> None:
        if backbone.sites.family == "encoder":
            raise Unsupported("in-context learning needs a language model; an encoder has no prompt to put rows into")
        backbone.freeze()

    def fit(self, backbone: Backbone, examples: Examples, harness: Harness) -> Scorer:
        chosen = self._chosen(examples.labels.tolist())
        orders = [_permuted(chosen, self.order + number) for number in range(self.ensemble)]
        prefixes = [harness.prefill(backbone, examples.take(rows)) if rows else None for rows in orders]

        def scores(batch: Batch) -> Tensor:
            members = [backbone.score(batch, prefix) for prefix in prefixes]
            if len(members) == 1:
                return members[0]
            return torch.stack([member.log_softmax(1) for member in members]).logsumexp(0) - math.log(len(members))

        if not self.calibrate:
            return scores
        free = harness.scores(scores, backbone.content_free()).log_softmax(1)
        prior = free.logsumexp(0) - math.log(
            len(free)
        )  # log of the mean probabilities, which underflow for long answers

        def calibrated(batch: Batch) -> Tensor:
            logprobs = scores(batch).log_softmax(1)
            return logprobs - prior.to(logprobs.device)

        return calibrated

    def exported(self, library: Library, backbone: Backbone) -> Exported:
        """peft's, the prompt as a prefix: the keys and values of the demonstrations, which the harness has."""
        if library != "peft":
            return super().exported(library, backbone)
        if self.ensemble > 1 or self.calibrate:
            what = "averages over several" if self.ensemble > 1 else "also divides by the scores of empty queries"
            raise Unsupported(f"a prefix of peft is one prompt, and this {what}; run it with {self._one_prompt}")
        return Exported({}, {})

    @property
    def _one_prompt(self) -> str:
        return "ensemble=1" if self.ensemble > 1 else "calibrate=false"

    def _chosen(self, labels: list[float]) -> list[int]:
        """The rows to use as demonstrations, in drawn order."""
        count = len(labels) if self.k is None else self.k
        if not self.balanced:
            return list(range(count))
        turn = [labels[:row].count(label) for row, label in enumerate(labels)]  # the n-th row of its label
        return sorted(sorted(range(len(labels)), key=lambda row: (turn[row], row))[:count])


def _permuted(rows: list[int], order: int) -> list[int]:
    """The `order`-th permutation of the rows; 0 keeps their order."""
    if order == 0:
        return rows
    places = torch.randperm(len(rows), generator=torch.Generator().manual_seed(order)).tolist()
    return [rows[place] for place in places]
