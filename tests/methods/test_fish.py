"""FISH masks: which weights are chosen, what they add, what that costs, and what ships."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.toys import encode, fit_without_steps, fresh_copy, harness, shake, toy_task
from tunefront.bench.forecast.fake_models import attached
from tunefront.bench.meters.flops.analytic import Analytic
from tunefront.bench.meters.memory.phases import BatchReplay
from tunefront.bench.meters.storage import checkpoint_dtypes, save_trained
from tunefront.bench.training.step import Step
from tunefront.methods.base import Method, Unsupported
from tunefront.methods.fish import Fish, SparseUpdate
from tunefront.methods.full import Full
from tunefront.methods.inject import originals

TASK = toy_task(rows=(6, 8))
FEW = Fish(density=0.01)


def weights_of(backbone: Any) -> dict[str, nn.Parameter]:
    return {name: p for name, p in backbone.model.named_parameters() if not name.startswith("head.")}


def fitted(folder: str, method: Fish = FEW) -> Any:
    """A backbone without dropout whose entries are chosen on four rows."""
    backbone = fresh_copy(folder, TASK, dropout=0.0)
    method.attach(backbone)
    fit_without_steps(method, backbone, encode(backbone, TASK))
    return backbone


def fisher_by_hand(folder: str) -> list[Tensor]:
    """The squared gradients of each weight, summed over four rows, each alone."""
    backbone = fresh_copy(folder, TASK, dropout=0.0)
    rows, weights = encode(backbone, TASK), weights_of(backbone)
    sums = [torch.zeros_like(weight) for weight in weights.values()]
    backbone.model.train()
    for row in range(4):
        backbone.model.zero_grad()
        backbone.loss(rows.batch([row])).backward()
        for total, weight in zip(sums, weights.values(), strict=True):
            total += 0 if weight.grad is None else weight.grad**2
    return sums


def masks(update: SparseUpdate, weights: dict[str, nn.Parameter]) -> list[Tensor]:
    """Of each weight, which entries are chosen."""
    starts, actual = update.starts.tolist(), []
    for place, weight in enumerate(weights.values()):
        mask = torch.zeros(weight.numel(), dtype=torch.bool)
        mask[update.indices[starts[place] : starts[place + 1]].long()] = True
        actual.append(mask.view_as(weight))
    return actual


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "t5", "t5-gated"])
def test_the_mask_is_the_largest_fisher_information_of_all_weights_together(name: str, folders: dict[str, str]) -> None:
    by_hand = torch.cat([total.flatten() for total in fisher_by_hand(folders[name])])
    backbone = fitted(folders[name])
    weights = originals(backbone.model, backbone.model.fish)
    mask = torch.cat([part.flatten() for part in masks(backbone.model.fish, weights)])
    assert mask.numel() == by_hand.numel() == sum(p.numel() for p in weights_of(fresh_copy(folders[name])).values())
    assert mask.sum() == int(0.01 * mask.numel()) == backbone.model.fish.values.numel()
    assert by_hand[mask].min() >= by_hand[~mask].max() * (1 - 1e-4)
    assert by_hand[mask].sum() > 0.2 * by_hand.sum() > 0


def test_of_equal_scores_the_first_are_taken() -> None:
    update = SparseUpdate([4, 6], 5)
    update.choose([torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.tensor([0.0, 2.0, 5.0, 2.0, 1.0, 2.0])])
    assert update.starts.tolist() == [0, 3, 5]
    assert update.indices.tolist() == [1, 2, 3, 1, 2]
    equal = SparseUpdate([3, 3], 4)
    equal.choose([torch.zeros(3), torch.zeros(3)])
    assert (equal.starts.tolist(), equal.indices.tolist()) == ([0, 3, 4], [0, 1, 2, 0])


@pytest.mark.parametrize("assign", [False, True])
def test_a_copy_reads_the_entries_that_are_loaded_into_it(assign: bool) -> None:
    chosen, other = SparseUpdate([4, 6], 3), SparseUpdate([4, 6], 3)
    for update, first in ((chosen, 9.0), (other, 0.0)):
        update.choose([torch.full((4,), first), torch.arange(6.0)])
        shake({"values": update.values})
        update(torch.zeros(4), 0)
    for update in (copy.deepcopy(chosen), SparseUpdate([4, 6], 3)):
        update.load_state_dict(other.state_dict(), assign=assign)
        for place, size in enumerate((4, 6)):
            assert torch.equal(update(torch.zeros(size), place), other(torch.zeros(size), place))


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_weights_are_rebuilt_as_plain_sums_and_tied_ones_share_them(name: str, folders: dict[str, str]) -> None:
    backbone = fitted(folders[name])
    model, update = backbone.model, backbone.model.fish
    shake({"values": update.values})
    weights, starts, uses = originals(model, update), update.starts.tolist(), 0
    dense = {}
    for place, weight in enumerate(weights.values()):
        own = slice(starts[place], starts[place + 1])
        added = torch.zeros(weight.numel())
        for index, value in zip(update.indices[own].tolist(), update.values[own].tolist(), strict=True):
            added[index] += value
        dense[id(weight)] = weight.detach() + added.view_as(weight)
    for module in model.modules():
        for key, made in getattr(module, "parametrizations", {}).items():
            assert torch.equal(getattr(module, key), dense[id(made.original)])
            uses += 1
    assert uses > len(weights) if name != "bert" else uses == len(weights)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_the_numbers_gradients_are_those_of_their_entries(name: str, folders: dict[str, str]) -> None:
    backbone = fitted(folders[name])
    rows = encode(backbone, TASK)
    model = backbone.model.eval()
    update = model.fish
    shake({"values": update.values}, 0.05)
    loss = backbone.loss(rows.batch(range(6)))
    loss.backward()
    ours = update.values.grad.clone()
    chosen = masks(update, originals(model, update))
    moved = [update(weight, place).detach() for place, weight in enumerate(originals(model, update).values())]
    plain = fresh_copy(folders[name], TASK, dropout=0.0)
    with torch.no_grad():
        for weight, value in zip(weights_of(plain).values(), moved, strict=True):
            weight.copy_(value)
    if plain.head is not None:
        plain.head.load_state_dict(backbone.head.state_dict())
    plain.model.eval()
    theirs = plain.loss(rows.batch(range(6)))
    theirs.backward()
    assert torch.allclose(loss, theirs, rtol=1e-5)
    gradients = zip(weights_of(plain).values(), chosen, strict=True)
    expected = torch.cat([torch.zeros_like(w)[m] if w.grad is None else w.grad[m] for w, m in gradients])
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_a_step_takes_the_gradients_of_whole_weights_as_full_fine_tuning_does(folders: dict[str, str]) -> None:
    for name in ("bert", "gpt2", "t5-gated"):
        masked = Analytic(fitted(folders[name])).loss(shape := (3, 7) if name == "bert" else _shape(name))
        backbone = fresh_copy(folders[name], TASK, dropout=0.0)
        Full().attach(backbone)
        assert Analytic(backbone).loss(shape) == masked


def _shape(name: str) -> tuple[int, ...]:
    return (2, 5, 4, 9, 0, 6) if name == "gpt2" else (2, 5, 4, 3)


def test_memory_shows_the_rebuilt_weights_and_no_state_of_whole_ones(backbones: dict[str, str]) -> None:
    actual = {}
    for method in (FEW, Full()):
        backbone = fresh_copy(backbones["bert"], TASK, dropout=0.0)
        method.attach(backbone)
        rows = encode(backbone, TASK)
        fit_without_steps(method, backbone, rows)
        trainer = harness(backbone, method, optimizer="adamw", dropout=0.0)
        step = Step(backbone.trainable(), backbone.loss, trainer.recipe, trainer.subject.autocast)
        actual[method.name] = trainer.memory.step(step, BatchReplay((1,), lambda rows=rows: rows.batch([0, 1]))).owners
    model = fresh_copy(backbones["bert"], TASK).model
    matrices = sum(m.weight.nbytes for p, m in model.named_modules() if isinstance(m, nn.Linear) and p[:4] != "head")
    rebuilt = actual["fish"]["forward"]["saved_activations"] - actual["full"]["forward"]["saved_activations"]
    assert rebuilt > 0.9 * matrices
    assert actual["fish"]["optimizer"]["optimizer_state"] < 0.1 * actual["full"]["optimizer"]["optimizer_state"]


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_what_ships_brings_back_the_scores(name: str, folders: dict[str, str], tmp_path: Path) -> None:
    """Including the indices: four bytes in addition to four."""
    backbone = fitted(folders[name])
    shake({"values": backbone.model.fish.values})
    rows = encode(backbone, TASK)
    backbone.model.eval()
    scores = backbone.score(rows.batch(range(6))).detach()
    save_trained(backbone.model, tmp_path / "task.safetensors", backbone.published_buffers)
    dtypes, count = checkpoint_dtypes(backbone.model, backbone.published_buffers), backbone.model.fish.values.numel()
    assert dtypes["int32"] == count
    assert dtypes["float32"] == sum(p.numel() for p in backbone.trainable().values())
    fresh = fresh_copy(folders[name], TASK, dropout=0.0)
    FEW.attach(fresh)
    fresh.load(str(tmp_path / "task.safetensors"))
    fresh.model.eval()
    assert torch.equal(fresh.score(rows.batch(range(6))), scores)


@pytest.mark.parametrize(("density", "millions"), [(0.002, 5.7), (0.0002, 0.57)])
def test_counts_of_t0_are_those_of_t_few(density: float, millions: float) -> None:
    backbone = attached(Fish(density=density), "t0-3b")
    actual = sum(p.numel() for p in backbone.trainable().values())
    whole = sum(p.numel() for p in backbone.model.parameters()) - actual
    assert actual == int(density * whole)
    assert actual / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, float("nan")])
def test_a_density_of_nothing_or_more_than_all_is_refused(density: float) -> None:
    with pytest.raises(ValueError, match="density must be"):
        Fish(density=density)


def test_less_than_one_weight_is_no_mask(backbones: dict[str, str]) -> None:
    with pytest.raises(Unsupported, match="of 21,440 weights is less than one"):
        Fish(density=1e-5).attach(fresh_copy(backbones["bert"]))


def test_all_weights_may_be_chosen(backbones: dict[str, str]) -> None:
    backbone = fitted(backbones["distilbert"], Fish(density=1.0))
    assert all(mask.all() for mask in masks(backbone.model.fish, originals(backbone.model, backbone.model.fish)))
    method: Method = Fish(density=1.0)
    assert method.search is not None
