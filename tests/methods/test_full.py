"""Full fine-tuning trains everything."""

from __future__ import annotations

import pytest

from tests.toys import fresh_copy
from tunefront.bench.models.tiny import FAMILIES
from tunefront.methods.full import Full


@pytest.mark.parametrize("family", FAMILIES)
def test_it_trains_every_parameter(family: str, backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones[family])
    backbone.freeze()
    assert not backbone.trainable()
    Full().attach(backbone)
    assert set(backbone.trainable()) == {name for name, _ in backbone.model.named_parameters()}


def test_keeping_takes_names_of_parameters_and_paths_of_modules(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    backbone.freeze(keep=[backbone.head, r".*query\.bias", backbone.sites.norms])
    kept = {name for name in backbone.trainable() if not name.startswith("head.")}
    norms = {name for name, _ in backbone.model.named_parameters() if "LayerNorm" in name}
    assert kept == norms | {f"encoder.layer.{block}.attention.self.query.bias" for block in (0, 1)}
    with pytest.raises(ValueError, match=r"matches the site '\.\*quary\\\\\.bias'; nearest"):
        backbone.freeze(keep=r".*quary\.bias")


def test_the_count_is_the_closed_formula_on_bert(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    Full().attach(backbone)
    d, inner, words, positions, segments, blocks, classes = 32, 64, 19, 80, 2, 2, 2
    block = 4 * (d * d + d) + (d * inner + inner) + (inner * d + d) + 2 * 2 * d
    pooler, head = d * d + d, classes * (d + 1)
    total = (words + positions + segments) * d + 2 * d + blocks * block + pooler + head
    assert sum(p.numel() for p in backbone.trainable().values()) == total
