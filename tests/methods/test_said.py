"""Random subspaces: projections against explicit matrices, and what is stored of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.toys import encode, fresh_copy, shake, toy_task
from tunefront.bench.errors import UserError
from tunefront.bench.forecast.fake_models import attached
from tunefront.bench.meters.storage import checkpoint_bytes, save_trained
from tunefront.bench.models.checkpoints import header
from tunefront.bench.settings import resolve_recipe
from tunefront.methods.base import Unsupported
from tunefront.methods.inject import originals
from tunefront.methods.said import Fastfood, Said, hadamard

TASK = toy_task(rows=(6, 8))
VARIANTS = ("fastfood", "outer")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def walsh(size: int) -> Tensor:
    """Sylvester's construction."""
    actual = torch.ones(1, 1)
    while len(actual) < size:
        actual = torch.cat((torch.cat((actual, actual), 1), torch.cat((actual, -actual), 1)))
    return actual


def matrix(projection: Any, inputs: int) -> Tensor:
    """S H G P H B as one dense matrix (size, inputs)."""
    hadamard_matrix, signs = walsh(projection.padded), torch.diag(projection.signs.float())
    permutation = torch.eye(projection.padded)[projection.order.long()]
    whole = hadamard_matrix @ torch.diag(projection.normal) @ permutation @ hadamard_matrix @ signs
    return whole[: projection.size, :inputs]


@pytest.mark.parametrize("size", [1, 2, 4, 32, 256])
def test_the_transform_is_the_product_with_the_walsh_hadamard_matrix(size: int) -> None:
    x = torch.randn(size, generator=generator(), requires_grad=True)
    actual = hadamard(x)
    assert torch.allclose(actual, walsh(size) @ x, rtol=1e-4, atol=1e-4)
    weights = torch.randn(size, generator=generator(1))
    (actual * weights).sum().backward()
    assert torch.allclose(x.grad, walsh(size).T @ weights, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "size"), [(5, 11), (5, 16), (9, 3), (1, 40)])
def test_a_projection_is_its_explicit_matrix(inputs: int, size: int) -> None:
    projection = Fastfood(inputs, size, generator())
    x = torch.randn(inputs, generator=generator(1), requires_grad=True)
    actual = projection(x)
    assert actual.shape == (size,)
    dense = matrix(projection, inputs)
    assert torch.allclose(actual, dense @ x, rtol=1e-4, atol=1e-5)
    weights = torch.randn(size, generator=generator(2))
    (actual * weights).sum().backward()
    assert torch.allclose(x.grad, dense.T @ weights, rtol=1e-4, atol=1e-5)
    assert projection.padded == {11: 16, 16: 16, 3: 16, 40: 64}[size]
    assert set(projection.signs.tolist()) <= {-1, 1}
    assert sorted(projection.order.tolist()) == list(range(projection.padded))
    assert projection.normal.square().sum() * size == pytest.approx(1.0, rel=1e-4)


def test_it_keeps_lengths_on_average() -> None:
    x = torch.randn(20, generator=generator())
    draws = generator(3)
    ratios = [(Fastfood(20, 50, draws)(x).norm() / x.norm()).item() ** 2 for _ in range(300)]
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.1)


def test_a_step_of_its_recipe_moves_weights_by_little() -> None:
    """AdamW moves every number by about the rate, and a projection keeps lengths: on MiniLM the loss rises from 0.7 to
    5 in one step of length 4, as a rate of 3e-2 gives."""
    recipe = resolve_recipe(Said(), {})
    assert recipe.optimizer == "adamw"
    assert recipe.learning_rate * Said().dimension ** 0.5 < 0.3


def subject(folder: str, variant: str, seed: int = 0) -> Any:
    backbone = fresh_copy(folder, TASK, seed=seed, dropout=0.0)
    Said(dimension=150, variant=variant).attach(backbone)
    return backbone


def by_hand(original: Tensor, values: Tensor, place: int, source: Any, outer: bool) -> Tensor:
    free = source.free
    update = matrix(source.projections[place], free) @ values[:free]
    scale = values[free + place]
    if outer and original.dim() == 2:
        rows = original.shape[0]
        return original + scale * torch.outer(update[:rows], update[rows:])
    return original + scale * update.view(original.shape)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_weights_and_gradients_are_those_of_explicit_matrices(name: str, variant: str, folders: dict[str, str]) -> None:
    backbone = subject(folders[name], variant)
    model, source = backbone.model, backbone.model.said
    weights = list(originals(model, source).values())
    assert source.free == 150 - len(weights)
    assert torch.equal(source.values.detach(), torch.tensor([0.0] * source.free + [1.0] * len(weights)))
    shake({"values": source.values}, 0.5)
    values = source.values.detach().clone().requires_grad_(True)
    small = [place for place in range(len(weights)) if source.projections[place].padded <= 1024]
    assert len(small) >= 20, "of others the dense matrices take too long"
    for place in small:
        original = weights[place]
        expected = by_hand(original.detach(), values, place, source, variant == "outer")
        actual = source(original, place)
        assert torch.allclose(actual, expected, rtol=1e-4, atol=1e-5)
        pulled = torch.randn(actual.shape, generator=generator(place))
        ours, theirs = (
            torch.autograd.grad((made * pulled).sum(), leaf)[0]
            for made, leaf in ((actual, source.values), (expected, values))
        )
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_that_ships_is_the_numbers_the_head_and_the_seed(
    variant: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    backbone = subject(backbones["bert"], variant, seed=7)
    path = tmp_path / "task.safetensors"
    size = save_trained(backbone.model, path, backbone.published_buffers)
    with safe_open(path, framework="pt") as file:
        assert {name for name in file.keys() if not name.startswith("head.")} == {"said.values"}  # noqa: SIM118
    assert header(str(path)).seeds == {"said": 7}
    assert size == checkpoint_bytes(backbone.model, backbone.published_buffers) < 4 * (150 + 2 * 33) + 500
    assert not any("projections" in name for name in backbone.model.state_dict())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_projections_come_back_from_the_seed(variant: str, folders: dict[str, str], tmp_path: Path) -> None:
    path = str(tmp_path / "task.safetensors")
    backbone = subject(folders["t5"], variant, seed=7)
    shake({"values": backbone.model.said.values}, 0.1)
    rows = encode(backbone, TASK)
    scores = backbone.score(rows.batch(range(6))).detach()
    save_trained(backbone.model, Path(path), backbone.published_buffers)
    again = subject(folders["t5"], variant, seed=7)
    again.load(path)
    assert torch.equal(again.score(rows.batch(range(6))), scores)
    with pytest.raises(UserError, match="other seeds"):
        subject(folders["t5"], variant, seed=8).load(path)


def test_seeds_make_different_projections(backbones: dict[str, str]) -> None:
    first, again, other = (subject(backbones["bert"], "outer", seed).model.said for seed in (1, 1, 2))
    signs = [torch.cat([projection.signs for projection in each.projections]) for each in (first, again, other)]
    assert torch.equal(signs[0], signs[1])
    assert not torch.equal(signs[0], signs[2])
    one, two = first.projections[:2]
    assert not torch.equal(one.normal[:100], two.normal[:100]), "one projection for two weights"


@pytest.mark.parametrize("dimension", [20_000, 500_000])
@pytest.mark.parametrize("variant", VARIANTS)
def test_counts_of_t0_are_as_requested(variant: str, dimension: int) -> None:
    """T-Few's code trains one number less: it takes one more than there are weights from those that are projected."""
    backbone = attached(Said(dimension=dimension, variant=variant), "t0-3b")
    assert sum(p.numel() for p in backbone.trainable().values()) == dimension


def test_bad_values_are_refused_and_too_few_numbers_have_a_reason(backbones: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="dimension must be at least 1"):
        Said(dimension=0)
    with pytest.raises(ValueError, match="variant must be fastfood or outer, got 'dense'"):
        Said(variant="dense")
    with pytest.raises(Unsupported, match="above 39, the number of weights"):
        Said(dimension=39).attach(fresh_copy(backbones["bert"]))
    Said(dimension=40).attach(fresh_copy(backbones["bert"]))


def test_a_subspace_is_no_larger_than_all_weights(backbones: dict[str, str]) -> None:
    """Each weight's projection would be padded to the dimension, in gigabytes."""
    backbone = fresh_copy(backbones["bert"])
    numbers = sum(weight.numel() for weight in backbone.model.parameters()) - sum(
        weight.numel() for weight in backbone.head.parameters()
    )
    with pytest.raises(Unsupported, match=f"at most {numbers:,}, the number of entries"):
        Said(dimension=numbers + 1).attach(backbone)
