"""Compares our losses and optimisers on fixed numbers with the results of the paper's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tunefront.bench.models.losses import LossWeights
from tunefront.bench.models.scoring.normalization import choice_scores
from tunefront.bench.papers.conformance.practice import Numbers, Practice
from tunefront.bench.papers.conformance.wording import differs
from tunefront.bench.settings import build
from tunefront.bench.training.optimizers import make_optimizer
from tunefront.methods.base import Recipe

NUDGE = 1e-4
"""Step of the finite differences of a loss."""
CLOSE = 1e-5
"""Relative tolerance between two results."""
LOSSES = ("likelihood", "unlikelihood", "length_normalised")


def of_losses(practice: Practice) -> Iterator[str]:
    """Compares T-Few's losses of a fixed batch, and their gradients; or the cross-entropy of fixed logits."""
    table = practice.losses
    if "logits" in table:
        ours = nn.functional.cross_entropy(torch.tensor(table["logits"]), torch.tensor(table["labels"]))
        if not _close(float(ours), float(table["cross_entropy"])):  # type: ignore[arg-type]
            yield differs("loss of a fixed batch", float(ours), table["cross_entropy"])
    if "log_probabilities" not in table:
        return
    values, mask = _batch(table["log_probabilities"]), _mask(table["log_probabilities"])
    labels = torch.tensor(table["labels"])
    for name in LOSSES:
        weights = LossWeights(**{other: float(other == name) for other in LOSSES})
        loss = weights.combined(values, mask, labels)
        gradient = _gradient(lambda logprobs, weights=weights: weights.combined(logprobs, mask, labels), values)  # type: ignore[misc]
        theirs, slopes = float(table[name]), _batch(table[f"{name}_gradient"])  # type: ignore[arg-type]
        same = torch.allclose(gradient, slopes, rtol=CLOSE, atol=CLOSE)
        if not _close(float(loss), theirs) or not same:
            gradients = "with the same gradient" if same else "with another gradient"
            yield f"{differs(f'{name} loss of a fixed batch', float(loss), theirs)}, {gradients}"


def of_scores(practice: Practice, normalization: str) -> Iterator[str]:
    """Compares the scores of the fixed batch's choices."""
    table = practice.losses
    if "scores" not in table:
        return
    values, mask = _batch(table["log_probabilities"]), _mask(table["log_probabilities"])
    if normalization in ("none", "token"):  # the others need texts, which fixed numbers lack
        ours = choice_scores(values, mask, normalization)
        theirs = torch.tensor(table["scores"], dtype=ours.dtype)
        if not torch.allclose(ours, theirs, rtol=CLOSE, atol=CLOSE):
            yield differs("scores of a fixed row", _listed(ours[0]), _listed(theirs[0]))


def of_step(practice: Practice, changed: Mapping[str, Any]) -> Iterator[str]:  # Any: values of a recipe
    """Compares the first step of the paper's optimiser on fixed weights; `changed`: the method's own recipe fields."""
    if not practice.step:
        return
    recipe: Recipe = build({name: values[0] for name, values in {**practice.recipe, **changed}.items()}, Recipe)
    parameters = {str(place): nn.Parameter(torch.tensor(fixed["weights"])) for place, fixed in enumerate(practice.step)}
    for parameter, fixed in zip(parameters.values(), practice.step, strict=True):
        parameter.grad = torch.tensor(fixed["gradient"])
    before = [parameter.detach().clone() for parameter in parameters.values()]
    make_optimizer(parameters, recipe).step()
    ours = torch.cat([(new - old).flatten() for new, old in zip(parameters.values(), before, strict=True)]).detach()
    moved = "moved" if recipe.scale_parameter else "moved_unscaled"
    ours = ours / recipe.learning_rate
    theirs = torch.cat([torch.tensor(fixed[moved]).flatten() for fixed in practice.step])
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
        yield f"{differs('first optimiser step on fixed weights', _length(ours), _length(theirs))} times the rate"


def _gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Central differences, since autograd may start threads, which would prevent forking."""
    gradient = torch.zeros_like(at)
    for place in range(at.numel()):
        nudge = torch.zeros_like(at)
        nudge.view(-1)[place] = NUDGE
        gradient.view(-1)[place] = (loss(at + nudge) - loss(at - nudge)) / (2 * NUDGE)
    return gradient


def _batch(rows: Numbers) -> Tensor:
    """(rows, choices, tokens), padded with zeros."""
    choices, tokens = max(map(len, rows)), max(len(choice) for row in rows for choice in row)
    padded = torch.zeros(len(rows), choices, tokens, dtype=torch.float64)
    for r, row in enumerate(rows):
        for c, choice in enumerate(row):
            padded[r, c, : len(choice)] = torch.tensor(choice)
    return padded


def _mask(rows: Numbers) -> Tensor:
    return _batch([[[1.0] * len(choice) for choice in row] for row in rows]).bool()


def _close(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= CLOSE * max(abs(ours), abs(theirs))


def _listed(values: Sequence[Any] | Tensor) -> str:
    return ", ".join(f"{float(value):.4g}" for value in values)


def _length(moved: Tensor) -> str:
    return f"{float(moved.norm()):.3g}"
