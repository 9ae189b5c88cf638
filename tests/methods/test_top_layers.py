"""Fine-tuning of the top layers: exactly which tensors it trains."""

from __future__ import annotations

import pytest

from tests.toys import fresh_copy
from tunefront.bench.models.tiny import FAMILIES, make_backbone
from tunefront.methods.base import Unsupported
from tunefront.methods.inject import matching
from tunefront.methods.top_layers import TopLayers


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [1, 2])
def test_it_trains_the_last_n_blocks_and_the_head_and_nothing_else(
    family: str, n: int, backbones: dict[str, str]
) -> None:
    backbone = fresh_copy(backbones[family])
    TopLayers(n=n).attach(backbone)
    layer = "transformer.layer" if family == "distilbert" else "encoder.layer"
    prefixes = ("head.", *(f"{layer}.{number}." for number in range(2 - n, 2)))
    assert set(backbone.trainable()) == {name for name in backbone.model.state_dict() if name.startswith(prefixes)}


def test_the_count_is_the_closed_formula_on_bert(backbones: dict[str, str]) -> None:
    backbone = fresh_copy(backbones["bert"])
    TopLayers(n=1).attach(backbone)
    d, inner, classes = 32, 64, 2
    block = 4 * (d * d + d) + (d * inner + inner) + (inner * d + d) + 2 * 2 * d
    assert sum(p.numel() for p in backbone.trainable().values()) == block + classes * (d + 1)


def test_more_blocks_than_there_are_is_unsupported_with_both_numbers(backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="top_layers:n=3 needs 3 blocks; the backbone has 2"):
        TopLayers(n=3).attach(fresh_copy(backbones["bert"]))


def test_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        TopLayers(n=0)


def test_blocks_are_numbered_not_sorted_as_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of twelve blocks the last two are 10 and 11, not 8 and 9."""
    folder = make_backbone(tmp_path_factory.mktemp("deep") / "bert", "bert", num_hidden_layers=12)
    backbone = fresh_copy(str(folder))
    assert len(matching(backbone.model, backbone.sites.block)) == 12
    TopLayers(n=2).attach(backbone)
    assert {name.split(".")[2] for name in backbone.trainable() if name.startswith("encoder.")} == {"10", "11"}
