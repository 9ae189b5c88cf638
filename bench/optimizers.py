"""The optimisers that a recipe may name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from methods.base import Recipe


def adamw(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, fused; vectors (biases, norms, scales) are not decayed, as in BERT's code."""
    decayed = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    kept = [parameter for parameter in parameters.values() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=True,
    )
