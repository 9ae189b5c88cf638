"""Counted FLOPs against numbers computed by hand; one multiply-add is two."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.toys import attach, encode, fit_without_steps, fresh_copy, harness, pair_id, pairs, toy_task
from tunefront.bench.meters.batches import BatchLog
from tunefront.bench.meters.flops.counted import FlopMeter, counted_flops, undisturbed
from tunefront.bench.models.examples import FEATURE_LAWS, TOKEN_LAWS, EncodedExamples
from tunefront.bench.models.families.encoder import Encoder
from tunefront.bench.models.shapes import Shape
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.base import Method
from tunefront.methods.ia3 import IA3
from tunefront.methods.spelling import parse

B, H, S, K, D, V = 3, 2, 5, 7, 16, 16


def test_a_linear_layer_counts_two_per_multiply_add() -> None:
    layer, x = nn.Linear(13, 7), torch.randn(5, 3, 13)
    forward = 2 * 5 * 3 * 13 * 7
    assert counted_flops(lambda: layer(x)) == forward
    with torch.no_grad():
        assert counted_flops(lambda: layer(x)) == forward
    # Backward: the gradient of the weights, and that of the input if required.
    assert counted_flops(lambda: layer(x).sum().backward()) == 2 * forward
    x.requires_grad_()
    assert counted_flops(lambda: layer(x).sum().backward()) == 3 * forward
    layer.requires_grad_(False)
    assert counted_flops(lambda: layer(x).sum().backward()) == 2 * forward


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_on_cpu_is_counted_forward_and_backward(masked: bool, dropout: float) -> None:
    """Two products forward; backward four, and one more if the fused kernel recomputes the scores."""
    query, key, value = (torch.randn(B, H, n, D, requires_grad=True) for n in (S, K, K))
    mask = torch.zeros(B, 1, S, K) if masked else None

    def attend() -> Tensor:
        return nn.functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)

    product = 2 * B * H * S * K * D
    assert counted_flops(attend) == 2 * product
    with torch.no_grad():
        assert counted_flops(attend) == 2 * product
    assert counted_flops(lambda: attend().sum().backward()) == (6 if dropout else 7) * product


def test_every_other_operator_is_counted_as_in_torchs_own_counter(backbones: dict[str, str]) -> None:
    """DeBERTa's attention consists of plain products, which that counter knows on CPU too."""
    backbone = fresh_copy(backbones["deberta-v2"])
    batch = encode(backbone).batch(range(4))

    def step() -> None:
        backbone.loss(batch).backward()

    with FlopCounterMode(display=False) as counter:
        step()
    assert counted_flops(step) == counter.get_total_flops() > 0


def bert_forward(rows: int, tokens: int, layers: int = 2, d: int = 32, inner: int = 64, outputs: int = 2) -> int:
    """Per block: four projections, scores and weighted values, up and down; then the pooler and the head."""
    block = 4 * tokens * d * d + 2 * tokens * tokens * d + 2 * tokens * d * inner
    return 2 * rows * (layers * block + d * d + d * outputs)


@pytest.mark.parametrize(("rows", "tokens"), [(1, 3), (4, 11), (7, 64)])
def test_a_whole_bert_forward_is_the_closed_formula(rows: int, tokens: int, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    batch = encode(backbone).shaped(rows, tokens)
    with torch.no_grad():
        assert counted_flops(lambda: backbone.score(batch)) == bert_forward(rows, tokens)


def test_frozen_weights_cost_no_weight_gradients(backbones: dict[str, str]) -> None:
    """(IA)^3 on BERT, dropout off: the backward pass only has activation gradients, down to the first scale."""
    rows, n, d, inner = 4, 11, 32, 64
    backbone = fresh_copy(backbones["bert"], dropout=0.0)
    batch = encode(backbone).shaped(rows, n)
    IA3().attach(backbone)
    backbone.model.train()
    attention = 5 * n * n * d  # the kernel's backward: scores again, and four products
    through = 4 * n * d * d + attention + 2 * n * d * inner  # the second block, whose input needs its gradient
    first = n * d * d + attention + 2 * n * d * inner  # below the attention, gradients only pass its output projection
    head = d * d + 2 * d * 2  # through the pooler; the head's weights and its input
    backward = 2 * rows * (through + first + head)
    assert counted_flops(lambda: backbone.loss(batch).backward()) == bert_forward(rows, n) + backward


def test_inference_mode_is_refused() -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"use torch\.no_grad"):
        counted_flops(lambda: torch.ones(2, 2) @ torch.ones(2, 2))


def long_examples(backbone: Encoder) -> EncodedExamples:
    return encode(backbone, toy_task(words=(2, 50), rows=(24, 8)))


ODD_SHAPES = ((1, 3), (5, 37), (2, 24), (7, 57), (16, 13))
"""Batch shapes; the longest leaves room for a lead."""


@pytest.mark.parametrize("dropout", [None, 0.0])
@pytest.mark.parametrize(("method", "family"), pairs(), ids=pair_id)
def test_the_meters_total_is_the_sum_of_every_shape_counted(
    method: Method, family: str, dropout: float | None, backbones: dict[str, str]
) -> None:
    backbone = fresh_copy(backbones[family], dropout=dropout)
    attach(method, backbone)
    rows = long_examples(backbone)
    fit_without_steps(method, backbone, rows)
    if not backbone.trainable():
        pytest.skip("nothing is trained")
    trainer = harness(backbone, method, dropout=dropout)
    shapes = Counter(dict(zip(ODD_SHAPES, (3, 1, 2, 1, 4), strict=True)))
    losses = sum(times * _step(backbone, rows, shape) for shape, times in shapes.items())
    assert trainer.counting.steps(backbone.loss, _ran(rows, shapes, training=True)) == losses
    with torch.no_grad():
        backbone.model.eval()
        scores = sum(times * counted_flops(lambda s=s: backbone.score(rows.shaped(*s))) for s, times in shapes.items())
    assert trainer.counting.rows(backbone.score, _ran(rows, shapes)) == scores


def _ran(rows: EncodedExamples, times: Counter[Shape], training: bool = False) -> BatchLog:
    shapes = BatchLog(rows, training)
    shapes.times = times
    return shapes


def _step(backbone: Encoder, rows: EncodedExamples, shape: Shape) -> int:
    backbone.model.train()
    return counted_flops(lambda: backbone.loss(rows.shaped(*shape)).backward())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_costs_the_same_as_a_full_one_of_its_shape(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    rows = long_examples(backbone)
    batch = rows.batch(range(6))
    assert not batch.inputs["attention_mask"].all()
    backbone.model.train()
    real = counted_flops(lambda: backbone.loss(batch).backward())
    assert real == _step(backbone, rows, (6, batch.inputs["input_ids"].shape[1]))


def test_counts_are_not_shared_between_dropouts(backbones: dict[str, str]) -> None:
    """With dropout, attention takes another path on CPU; FLOPs of a cell must not depend on earlier cells."""
    counts = {}
    for dropout in (None, 0.0, None):
        backbone = fresh_copy(backbones["bert"], dropout=dropout)
        method = parse("full")
        method.attach(backbone)
        trainer = harness(backbone, method, dropout=dropout, steps=2)
        method.fit(backbone, encode(backbone), trainer)
        assert counts.setdefault(dropout, trainer.cost.flops) == trainer.cost.flops
    assert counts[0.0] > counts[None]


def meter(count: Callable[[Shape], int], longest: int) -> tuple[FlopMeter, list[Shape]]:
    counted: list[Shape] = []

    def counting(shape: Shape) -> int:
        counted.append(shape)
        return count(shape)

    laws = FEATURE_LAWS if longest == 0 else TOKEN_LAWS if longest >= 24 else ()
    return FlopMeter(("test", random.random()), counting, laws), counted


@pytest.mark.parametrize(
    ("count", "most"),
    [
        (lambda shape: shape[0] * (7 + 3 * shape[1] + 5 * shape[1] ** 2), 4),
        # work that does not depend on the rows
        (lambda shape: 1_000 * shape[1] + 99 + shape[0] * (3 * shape[1] + 5 * shape[1] ** 2), 8),
    ],
    ids=["per row", "per row and per batch"],
)
def test_a_few_small_counts_give_every_shape_exactly(count: Callable[[Shape], int], most: int) -> None:
    flops, counted = meter(count, 128)
    shapes = Counter({(rows, length): rows for rows in (1, 9, 32) for length in range(5, 128)})
    assert flops.total(shapes) == sum(count(shape) * times for shape, times in shapes.items())
    assert len(counted) <= most
    assert max(rows for rows, _ in counted) <= 3
    assert flops.total(shapes) > 0
    assert len(counted) == len(set(counted)), "no shape is counted twice"


@pytest.mark.parametrize(
    ("count", "longest"),
    [
        (lambda shape: shape[0] * shape[1] ** 3, 128),  # another power of the length
        (lambda shape: shape[0] ** 2 * shape[1], 128),  # rows that see each other
        (lambda shape: shape[0] * ((shape[1] + 7) // 8 * 8), 128),  # lengths rounded up
        (lambda shape: shape[0] * ((shape[1] + 15) // 16 * 16), 24),
        (lambda shape: shape[0] * min(shape[1], 12), 24),  # a span of positions
        (lambda shape: shape[0] * shape[1] ** 3, 9),  # rows too short for the law
    ],
    ids=["cubic", "rows squared", "rounded", "rounded far", "span", "short"],
)
def test_if_no_polynomial_fits_every_shape_is_counted(count: Callable[[Shape], int], longest: int) -> None:
    flops, counted = meter(count, longest)
    shapes = Counter({(rows, length): 2 for rows in (1, 5) for length in (3, 7, 9, longest)})
    assert flops.total(shapes) == sum(count(shape) * times for shape, times in shapes.items())
    assert set(shapes) <= set(counted)


def test_counts_of_features_need_no_length() -> None:
    flops, counted = meter(lambda shape: 40 * shape[0] + 2, 0)
    assert flops.total(Counter({(16, 0): 10, (3, 0): 1})) == 10 * (640 + 2) + 122
    assert max(rows for rows, _ in counted) <= 3


def test_counting_changes_no_state(backbones: dict[str, str]) -> None:
    """Random state, gradients, mode and weights are restored, even if the count fails."""
    backbone = fresh_copy(backbones["bert"])
    batch = encode(backbone).batch(range(4))
    model = backbone.model.train()
    backbone.loss(batch).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()

    def counting_that_fails() -> None:
        with undisturbed(model):
            model.eval()
            assert all(p.grad is None for p in model.parameters())
            counted_flops(lambda: backbone.loss(batch).backward())
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        counting_that_fails()
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(p.grad, gradients[name]) for name, p in model.named_parameters())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_fit_is_bit_identical_with_and_without_the_meter(backbones: dict[str, str]) -> None:
    def fit(metered: bool) -> tuple[list[float], Tensor]:
        backbone = fresh_copy(backbones["bert"])
        method = parse("houlsby:bottleneck=4")
        method.attach(backbone)
        trainer = harness(backbone, method, steps=3)
        if not metered:
            trainer.counting.steps = lambda *_: 10**12  # type: ignore[method-assign]
        method.fit(backbone, encode(backbone), trainer)
        method.fit(backbone, encode(backbone), trainer)  # after the count
        return trainer.cost.losses, backbone.head.output.weight.detach().clone()

    (with_it, weight), (without, other) = fit(True), fit(False)
    assert with_it == without
    assert torch.equal(weight, other)
