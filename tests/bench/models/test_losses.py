"""The three losses of T-Few against loops over plain numbers, by hand, and at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.bench.models.scoring.choices import Ragged, padded, ragged
from tunefront.bench.models.losses import LossWeights, length_normalised_loss, likelihood_loss, unlikelihood_loss
from tunefront.methods.base import Recipe

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
GOLD = (2, 0, 0)
"""The gold choices of the rows of `ragged`."""
LOSSES = (likelihood_loss, unlikelihood_loss, length_normalised_loss)
every_loss = pytest.mark.parametrize("loss", [*LOSSES, LossWeights(0.5, 2.0, 1.0).combined])


def likelihood_by_loop(rows: Ragged, gold: tuple[int, ...]) -> float:
    tokens = [token for row, label in zip(rows, gold, strict=True) for token in row[label]]
    return -math.fsum(tokens) / len(tokens)


def wrong_tokens(rows: Ragged, gold: tuple[int, ...]) -> list[float]:
    labelled = zip(rows, gold, strict=True)
    return [token for row, label in labelled for place, choice in enumerate(row) if place != label for token in choice]


def unlikelihood_by_loop(rows: Ragged, gold: tuple[int, ...]) -> float:
    terms = [-math.log(1 - math.exp(token) + 0.01) for token in wrong_tokens(rows, gold)]
    return math.fsum(terms) / len(terms)


def length_normalised_by_loop(rows: Ragged, gold: tuple[int, ...], alpha: float = 1.0) -> float:
    losses = []
    for row, label in zip(rows, gold, strict=True):
        scores = [math.fsum(choice) / len(choice) ** alpha for choice in row]
        losses.append(math.log(math.fsum(map(math.exp, scores))) - scores[label])
    return math.fsum(losses) / len(losses)


def unlikelihood_of_t_few(logprobs: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """As in T-Few's code: padding and gold tokens stay in the sum, at -100."""
    filled = torch.where(mask, logprobs, -100.0)
    filled[torch.arange(len(labels)), labels] = -100.0
    return -torch.log(1 - torch.exp(filled) + 0.01).sum() / (filled != -100).sum()


@pytest.mark.parametrize("gold", [GOLD, (0, 1, 0), (3, 1, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_losses_are_those_of_the_loops(gold: tuple[int, ...], seed: int) -> None:
    rows, labels = ragged(seed), torch.tensor(gold)
    expected = [loop(rows, gold) for loop in (likelihood_by_loop, unlikelihood_by_loop, length_normalised_by_loop)]
    actual = [loss(*padded(rows), labels).item() for loss in LOSSES]
    assert actual == pytest.approx(expected, rel=1e-6)
    weights = LossWeights(0.5, 2.0, 0.25)
    total = weights.combined(*padded(rows), labels).item()
    assert total == pytest.approx(0.5 * expected[0] + 2.0 * expected[1] + 0.25 * expected[2], rel=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_alpha_is_the_power_of_the_length(alpha: float) -> None:
    loss = length_normalised_loss(*padded(ragged()), torch.tensor(GOLD), alpha)
    assert loss.item() == pytest.approx(length_normalised_by_loop(ragged(), GOLD, alpha), rel=1e-6)


def test_losses_worked_out_by_hand() -> None:
    """The gold choice has two tokens of 1/2, its end-of-sequence token being one; the wrong one has one of 1/4."""
    logprobs, mask = padded([[[math.log(0.5), math.log(0.5)], [math.log(0.25)]]])
    labels = torch.tensor([0])
    assert likelihood_loss(logprobs, mask, labels).item() == pytest.approx(math.log(2))
    assert unlikelihood_loss(logprobs, mask, labels).item() == pytest.approx(-math.log(0.76))
    assert length_normalised_loss(logprobs, mask, labels).item() == pytest.approx(math.log(1 + 0.25 / 0.5))
    total = math.log(2) - math.log(0.76) + math.log(1.5)
    assert LossWeights().combined(logprobs, mask, labels).item() == pytest.approx(total)


@pytest.mark.parametrize("width", [0, 9])
def test_unlikelihood_is_t_fews_without_the_constant_that_padding_adds(width: int) -> None:
    logprobs, mask = padded(ragged(), tokens=width, fill=-100.0, dtype=torch.float64)
    labels = torch.tensor(GOLD)
    wrong = len(wrong_tokens(ragged(), GOLD))
    constant = -math.log(1.01) * (mask.numel() - wrong) / wrong
    logprobs.requires_grad_()
    ours, theirs = unlikelihood_loss(logprobs, mask, labels), unlikelihood_of_t_few(logprobs, mask, labels)
    assert (ours + constant).item() == pytest.approx(theirs.item(), rel=1e-12)
    slopes = [torch.autograd.grad(loss, logprobs)[0] for loss in (ours, theirs)]
    assert torch.allclose(*slopes, rtol=1e-12, atol=0)


@every_loss
def test_gradients_are_right_and_zero_where_there_is_no_token(loss: Loss) -> None:
    labels = torch.tensor(GOLD)
    logprobs, mask = padded(ragged(), choices=5, tokens=6, fill=-0.7, dtype=torch.float64)
    logprobs.requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, mask, labels), logprobs)
    (slope,) = torch.autograd.grad(loss(logprobs, mask, labels), logprobs)
    assert not slope[~mask].any()


@every_loss
@pytest.mark.parametrize("fill", [math.nan, math.inf, -math.inf, 0.0])
def test_padding_is_never_read(loss: Loss, fill: float) -> None:
    labels = torch.tensor(GOLD)
    values, slopes = [], []
    for inside in (-1.0, fill):
        logprobs, mask = padded(ragged(), choices=5, tokens=6, fill=inside)
        logprobs.requires_grad_()
        values.append(loss(logprobs, mask, labels))
        slopes += torch.autograd.grad(values[-1], logprobs)
    assert torch.equal(*values)
    assert torch.equal(*slopes)
    assert not slopes[1][~mask].any()


@every_loss
def test_wider_padding_changes_nothing(loss: Loss) -> None:
    labels = torch.tensor(GOLD)
    narrow = loss(*padded(ragged()), labels)
    assert torch.allclose(loss(*padded(ragged(), choices=7, tokens=11), labels), narrow, rtol=1e-6)


def test_a_batch_is_the_mean_of_its_rows_weighted_by_the_counts_of_the_loss() -> None:
    """Gold tokens, wrong tokens, and rows."""
    rows = ragged()
    counts = {
        likelihood_loss: [len(row[label]) for row, label in zip(rows, GOLD, strict=True)],
        unlikelihood_loss: [len(wrong_tokens([row], (label,))) for row, label in zip(rows, GOLD, strict=True)],
        length_normalised_loss: [1, 1, 1],
    }
    for loss, weights in counts.items():
        alone = [loss(*padded([row]), torch.tensor([label])).item() for row, label in zip(rows, GOLD, strict=True)]
        mean = sum(weight * value for weight, value in zip(weights, alone, strict=True)) / sum(weights)
        assert loss(*padded(rows), torch.tensor(GOLD)).item() == pytest.approx(mean, rel=1e-6)


def test_rows_with_one_choice_have_nothing_to_choose() -> None:
    logprobs, mask = padded([[[-0.5, -0.25]], [[-2.0]]], choices=3)
    logprobs.requires_grad_()
    labels = torch.tensor([0, 0])
    assert unlikelihood_loss(logprobs, mask, labels).item() == 0
    assert length_normalised_loss(logprobs, mask, labels).item() == 0
    assert LossWeights().combined(logprobs, mask, labels).item() == pytest.approx(2.75 / 3)
    (slope,) = torch.autograd.grad(LossWeights(likelihood=0).combined(logprobs, mask, labels), logprobs)
    assert not slope.any()


@pytest.mark.parametrize("logprob", [0.0, -1e-9, -1e-7, -1e-4, -30.0, -1e4, -math.inf])
def test_unlikelihood_is_exact_from_the_likeliest_to_the_impossible_token(logprob: float) -> None:
    logprobs, mask = padded([[[-0.1], [logprob]]])
    logprobs.requires_grad_()
    loss = unlikelihood_loss(logprobs, mask, torch.tensor([0]))
    left = 0.01 - math.expm1(logprob)
    assert loss.item() == pytest.approx(-math.log(left), rel=1e-6, abs=1e-7)  # 1.01 is not exact in float32
    (slope,) = torch.autograd.grad(loss, logprobs)
    assert slope[0, 1].item() == pytest.approx(math.exp(logprob) / left, rel=1e-5)
    assert slope[0, 0].item() == 0


@every_loss
def test_low_precision_is_computed_in_float32_under_autocast_too(loss: Loss) -> None:
    labels = torch.tensor(GOLD)
    logprobs, mask = padded(ragged(), dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(logprobs, mask, labels)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(logprobs.float(), mask, labels))


def test_a_loss_of_weight_zero_is_not_computed() -> None:
    """An impossible gold token makes the likelihood loss infinite, and zero times infinity is NaN."""
    logprobs, mask = padded([[[-math.inf], [-1.0]]])
    labels = torch.tensor([0])
    assert LossWeights(1, 0, 0).combined(logprobs, mask, labels).item() == math.inf
    loss = LossWeights(0, 2, 0).combined(logprobs, mask, labels)
    assert loss.item() == pytest.approx(2 * unlikelihood_loss(logprobs, mask, labels).item())


def test_losses_need_no_values_to_be_planned() -> None:
    """A step can be traced on tensors without data: no shape depends on a value."""
    logprobs, mask = torch.zeros(2, 3, 4, device="meta"), torch.ones(2, 3, 4, dtype=torch.bool, device="meta")
    assert LossWeights().combined(logprobs, mask, torch.zeros(2, dtype=torch.long, device="meta")).shape == ()


def test_weights_come_from_the_recipe() -> None:
    recipe = Recipe(likelihood_weight=0.5, unlikelihood_weight=0, length_normalised_weight=2)
    assert LossWeights.of(recipe) == LossWeights(likelihood=0.5, unlikelihood=0.0, length_normalised=2.0)
    assert LossWeights.of(Recipe()) == LossWeights()


def test_impossible_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="unlikelihood must be at least 0, got -1"):
        LossWeights(unlikelihood=-1)
    with pytest.raises(ValueError, match="must be above 0"):
        LossWeights(0, 0, 0)
