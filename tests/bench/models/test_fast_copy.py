"""A copy from a template equals a deep copy."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.toys import tree
from tunefront.bench.models.fast_copy import CopyTemplate
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.tiny import FAMILIES


def tensors_of(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def build(model: nn.Module) -> nn.Module:
    """A copy whose tensors are copies too, as a deep copy's are."""
    return CopyTemplate(model, tensors_of(model)).build([copy.deepcopy(tensor) for tensor in tensors_of(model)])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_is_the_model_as_loaded_in_modules_hooks_flags_and_bits(family: str, backbones: dict[str, str]) -> None:
    loaded = Pretrained(backbones[family], torch.device("cpu")).load()
    copied = build(loaded)
    assert tree(copied) == tree(loaded) == tree(copy.deepcopy(loaded))
    for ours, theirs in zip(tensors_of(copied), tensors_of(loaded), strict=True):
        assert torch.equal(ours, theirs)
        assert type(ours) is type(theirs)
    tokens = torch.tensor([[2, 5, 6, 3]])
    with torch.no_grad():
        assert torch.equal(copied(tokens).last_hidden_state, loaded(tokens).last_hidden_state)


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_share_nothing_that_can_change(family: str, backbones: dict[str, str]) -> None:
    loaded = Pretrained(backbones[family], torch.device("cpu")).load()
    template = CopyTemplate(loaded, tensors_of(loaded))

    def parts() -> list[object]:
        model = template.build([copy.deepcopy(tensor) for tensor in tensors_of(loaded)])
        inside = [part for module in model.modules() for part in (module, vars(module), *vars(module).values())]
        kinds = (nn.Module, Tensor, dict, list, set)
        return [model.config, *(part for part in inside if isinstance(part, kinds))]

    first, second = parts(), parts()
    assert len(first) == len(second) > 100
    assert not {id(part) for part in first} & {id(part) for part in second}


def test_the_given_tensors_take_the_originals_places() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    tensors = [copy.deepcopy(tensor) for tensor in tensors_of(model)]
    copied = CopyTemplate(model, tensors_of(model)).build(tensors)
    assert [id(tensor) for tensor in tensors_of(copied)] == [id(tensor) for tensor in tensors]


class Odd(nn.Module):
    """A module with other kinds of attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(2, 2), nn.Linear(2, 2)
        self.outer.weight = self.inner.weight
        self.first = self.inner
        self.plain = torch.arange(3.0)
        self.closure = lambda x: x + self.plain.sum()
        self.bound = self.scaled
        self.kind = type("Local", (), {})
        self.inner.register_forward_hook(lambda module, args, output: output + 1)
        self.outer.register_forward_pre_hook(partial(Odd.doubled, 2))

    def scaled(self, x: Tensor) -> Tensor:
        return x * self.plain.sum()

    @staticmethod
    def doubled(by: int, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0] * by,)

    def forward(self, x: Tensor) -> Tensor:
        return self.bound(self.outer(self.inner(x)))


@pytest.mark.parametrize("copied_by", [build, copy.deepcopy])
def test_ties_closures_hooks_and_plain_tensors_are_as_in_a_deep_copy(copied_by) -> None:
    model = Odd()
    copied = copied_by(model)
    x = torch.randn(4, 2)
    expected = model(x)
    assert torch.equal(copied(x), expected)
    assert copied.outer.weight is copied.inner.weight
    assert copied.first is copied.inner
    assert copied.bound.__self__ is copied
    assert copied.closure is model.closure
    assert copied.kind is model.kind
    with torch.no_grad():
        copied.plain += 1
        copied.inner.weight += 1
    assert torch.equal(model(x), expected)
    assert not torch.equal(copied(x), expected)


def test_attributes_keep_the_original_strings_as_names() -> None:
    """With a new string that is only equal, every attribute look-up compares characters."""
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    for ours, theirs in zip(build(model).modules(), model.modules(), strict=True):
        assert all(a is b for a, b in zip(vars(ours), vars(theirs), strict=True))
