"""The losses of T-Few over scored choices (Liu et al., 2022, arXiv:2205.05638, section 3.2).

Shapes, everywhere: `logprobs` (batch, choices, tokens), the log-probability of each token of each choice, the
end-of-sequence token included if the family appends one; `mask` of the same shape, True where there is a token;
`labels` (batch,), the index of each row's gold choice, which has at least one token. Rows may have fewer choices than
others: a choice without tokens does not exist. Values outside the mask are never read, and their gradient is zero.
Losses are scalars, in float32 at least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tunefront.bench.models.scoring.normalization import at_least_float32, scores_over, token_sums
from tunefront.methods.base import Recipe, at_least

SLACK = 0.01
"""Added to 1 - p of a wrong token, as in T-Few's code: at p = 1 the loss is 4.61, not infinite, and its slope 100."""


def likelihood_loss(logprobs: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """L_LM: the mean of -log p over all tokens of all gold choices of the batch; long choices weigh more."""
    gold = mask & _is_gold(mask, labels)
    return -token_sums(logprobs, gold).sum() / gold.sum()


def unlikelihood_loss(logprobs: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """L_UL: the mean of -log(1 - p + 0.01) over all tokens of all wrong choices of the batch; 0 if there are none.

    Differs: T-Few's code sets the log-probabilities of padding and of gold tokens to -100 and leaves them in the sum,
    where each adds -log 1.01. That constant has no gradient and would make the loss depend on the amount of padding.
    """
    wrong = mask & ~_is_gold(mask, labels)
    known = torch.where(wrong, at_least_float32(logprobs), -1.0)
    unlikely = -torch.log(SLACK - torch.expm1(known))  # 1 - exp(l), without cancellation near l = 0
    return token_sums(unlikely, wrong).sum() / wrong.sum().clamp(min=1)


def length_normalised_loss(logprobs: Tensor, mask: Tensor, labels: Tensor, alpha: float = 1.0) -> Tensor:
    """L_LN: cross-entropy of softmax over a row's choices of log p(choice) / tokens^alpha, the mean over the batch."""
    scores = scores_over(logprobs, mask, mask.sum(-1) ** alpha)
    return torch.nn.functional.cross_entropy(scores, labels)


@dataclass(frozen=True)
class LossWeights:
    """The weights of T-Few's three losses; equal in the paper."""

    likelihood: float = 1.0
    unlikelihood: float = 1.0
    length_normalised: float = 1.0

    def __post_init__(self) -> None:
        at_least(0, **vars(self))
        if not any(vars(self).values()):
            raise ValueError("one of likelihood, unlikelihood and length_normalised must be above 0")

    @classmethod
    def of(cls, recipe: Recipe) -> LossWeights:
        """The recipe's weights."""
        return cls(recipe.likelihood_weight, recipe.unlikelihood_weight, recipe.length_normalised_weight)

    def combined(self, logprobs: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """The weighted sum of the losses; a loss of weight 0 is not computed."""
        losses = (
            (self.likelihood, likelihood_loss),
            (self.unlikelihood, unlikelihood_loss),
            (self.length_normalised, length_normalised_loss),
        )
        return torch.stack([weight * loss(logprobs, mask, labels) for weight, loss in losses if weight]).sum()


def _is_gold(mask: Tensor, labels: Tensor) -> Tensor:
    """(batch, choices, 1): True for the gold choice."""
    choices = torch.arange(mask.shape[1], device=mask.device)
    return (choices == labels.unsqueeze(1)).unsqueeze(-1)
