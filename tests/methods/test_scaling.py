"""Rescaled linear layers: their counts, and the weights that they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.methods.test_houlsby import BASE, LARGE, bert_without_weights
from tests.toys import encode, fresh_copy, shake, trained_on_preset
from tunefront.methods.scaling import Scaling


@pytest.mark.parametrize("size", [BASE, LARGE], ids=["base", "large"])
def test_counts_on_published_bert_equal_the_closed_formula(size: dict[str, int]) -> None:
    d, inner, blocks = size["hidden_size"], size["intermediate_size"], size["num_hidden_layers"]
    backbone = bert_without_weights(size, Scaling(), classes=3)
    assert sum(p.numel() for p in backbone.trainable().values()) == blocks * (10 * d + 2 * inner) + 3 * (d + 1)


@pytest.mark.parametrize(("preset", "count"), [("t0-3b", 2_211_840), ("t0-11b", 4_423_680)])
def test_counts_on_t0_equal_tfews(preset: str, count: int) -> None:
    assert trained_on_preset(Scaling(), preset) == count


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5-gated"])
def test_it_is_a_weight_times_a_rank_one_matrix(name: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name], dropout=0.0)
    Scaling().attach(backbone)
    vectors = {n: p for n, p in backbone.trainable().items() if not n.startswith("head.")}
    assert all(torch.equal(vector, torch.ones_like(vector)) for vector in vectors.values())
    shake(vectors)
    batch = encode(backbone).batch(range(4))
    score = backbone.score(batch).detach()
    learned = {name: vector.detach().clone() for name, vector in vectors.items()}
    merged = fresh_copy(folders[name], dropout=0.0)
    for path in {n.partition(".scale_")[0] for n in learned}:
        host, a, b = (
            merged.model.get_submodule(path),
            learned[f"{path}.scale_in.scale"],
            learned[f"{path}.scale_out.scale"],
        )
        outer = torch.outer(b, a)
        with torch.no_grad():
            host.weight.mul_(outer if isinstance(host, nn.Linear) else outer.T)  # type: ignore[operator, union-attr]
            if host.bias is not None:
                host.bias.mul_(b)  # type: ignore[operator, union-attr]
    assert torch.allclose(merged.score(batch).detach(), score, rtol=1e-5, atol=1e-5)
