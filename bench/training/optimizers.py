"""The optimisers that a recipe can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tunefront.methods.base import Recipe


def make_optimizer(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over these parameters, at the peak learning rate."""
    return {"adamw": adamw, "adafactor": adafactor}[recipe.optimizer](parameters, recipe)


def adamw(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW, fused; vectors (biases, norms, scales) are not decayed, as in BERT's code."""
    return torch.optim.AdamW(
        _groups(parameters, recipe),
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        fused=True,
    )


def adafactor(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Adafactor as T-Few sets it: an outer learning rate, scaled by each tensor's root mean square (at least 1e-3)
    if the recipe sets `scale_parameter`, updates clipped at a root mean square of 1, no momentum. Decay as in
    `adamw`, times the scaled rate.

    Parameters in bfloat16 are updated in float32 and rounded after every step, so that small updates are lost; the
    suite keeps its parameters in float32.
    Source: Shazeer & Stern 2018 (arXiv:1804.04235), algorithms 4 and 5, with the settings of T-Few's code.
    """
    from transformers.optimization import Adafactor

    return Adafactor(
        _groups(parameters, recipe),
        lr=recipe.learning_rate,
        eps=(1e-30, 1e-3),
        clip_threshold=1.0,
        decay_rate=-0.8,
        beta1=None,
        scale_parameter=recipe.scale_parameter,
        relative_step=False,
        warmup_init=False,
    )


def _groups(parameters: Mapping[str, nn.Parameter], recipe: Recipe) -> list[dict[str, Any]]:  # Any: torch's own type
    """Two groups: matrices, with weight decay, and vectors, without."""
    decayed = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    kept = [parameter for parameter in parameters.values() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
