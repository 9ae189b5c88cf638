"""FLOPs in closed form equal the counted ones on every further encoder and encoder-decoder, as integers."""

from __future__ import annotations

import random

import pytest

from tests.bench.meters.flops.test_analytic import exactly, language_rows, same_batch
from tests.toys import attach, encode, fit_without_steps, fresh_copy, pair_id, shipped, toy_task
from tunefront.bench.models.tiny import MORE_FAMILIES
from tunefront.methods.base import Method
from tunefront.methods.spelling import parse

ENCODER_DECODERS = ("umt5", "pegasus", "mbart")


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
@pytest.mark.parametrize("name", MORE_FAMILIES)
def test_encoders_count_as_dispatched(method: Method, name: str, more_backbones: dict[str, str]) -> None:
    if method.packages:
        pytest.skip("modules of another package declare no products")
    backbone = fresh_copy(more_backbones[name], dropout=0.0)
    attach(method, backbone)
    rows = encode(backbone, toy_task(words=(2, 50), rows=(24, 8)))
    fit_without_steps(method, backbone, rows)
    for shape in ((1, 3), (5, 37)):
        exactly(backbone, rows.shaped(*shape), shape, shape, str(shape))


@pytest.mark.parametrize("method", shipped(), ids=pair_id)
@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_encoder_decoders_count_as_dispatched(method: Method, name: str, encoder_decoders: dict[str, str]) -> None:
    if method.packages:
        pytest.skip("modules of another package declare no products")
    backbone, train, _ = language_rows(encoder_decoders[name], method)
    same_batch(backbone, train, [0, 1, 2])


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", ["electra", "albert", "albert-groups", "mpnet", "modernbert", "umt5", "mbart"])
def test_whatever_is_frozen_counts_as_dispatched(
    name: str, dropout: float, more_backbones: dict[str, str], encoder_decoders: dict[str, str]
) -> None:
    """Weights that several layers share, biases of the scores and norms determine the depth of the backward pass."""
    if name in ENCODER_DECODERS:
        backbone, train, _ = language_rows(encoder_decoders[name], parse("full"), dropout=dropout)
    else:
        backbone = fresh_copy(more_backbones[name], dropout=dropout)
        train = encode(backbone)
    drawn = random.Random(f"{name} {dropout}")
    parameters = list(backbone.model.parameters())
    for _ in range(4):
        backbone.model.requires_grad_(False)
        for parameter in drawn.sample(parameters, drawn.choice((1, 2, 5))):
            parameter.requires_grad_(True)
        same_batch(backbone, train, [0, 1])
