"""Weights that one module rebuilds: who reads what, under which names, and what a copy shares."""

from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.pytorch_utils import Conv1D

from tunefront.methods.base import trained
from tunefront.methods.inject import has_values, originals, plug, rebuild


class Shifts(nn.Module):
    """Adds a number of its own to each weight."""

    def __init__(self, weights: list[nn.Parameter]):
        super().__init__()
        self.shifts = nn.Parameter(torch.zeros(len(weights)))

    def forward(self, original: Tensor, place: int) -> Tensor:
        return original + self.shifts[place]


class Net(nn.Module):
    """Tied embeddings, a transposed layer, and a head that is left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 6)
        self.up = Conv1D(6, 6)
        self.logits = nn.Linear(6, 9, bias=False)
        self.logits.weight = self.words.weight
        self.head = nn.Linear(9, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.logits(self.up(self.words(tokens)))))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval().requires_grad_(False)


TOKENS = torch.tensor([[1, 2, 3]])


def shifted(net: Net) -> Shifts:
    return cast(Shifts, rebuild(net, "shift", Shifts, without=net.head))


def test_every_reader_gets_what_is_rebuilt_and_tied_weights_have_one_place(net: Net) -> None:
    before = {name: value.clone() for name, value in net.named_parameters()}
    plain = net(TOKENS)
    source = shifted(net)
    assert source.shifts.shape == (3,)
    assert torch.equal(net(TOKENS), plain)
    with torch.no_grad():
        source.shifts.copy_(torch.tensor([1.0, 2.0, 4.0]))
    assert torch.equal(net.words.weight, before["words.weight"] + 1)
    assert torch.equal(net.logits.weight, net.words.weight)
    assert torch.equal(net.up.weight, before["up.weight"] + 2)
    assert torch.equal(net.up.bias, before["up.bias"] + 4)
    assert torch.equal(net.head.weight, before["head.weight"])


def test_what_is_trained_has_one_name_and_the_originals_keep_their_bits(net: Net) -> None:
    weights = [net.words.weight, net.up.weight, net.up.bias]
    source = shifted(net)
    assert list(trained(net)) == ["shift.shifts"]
    assert [name for name in net.state_dict() if "shift" in name] == ["shift.shifts"]
    actual = originals(net, source)
    assert list(actual) == [
        "words.parametrizations.weight.original",
        "up.parametrizations.weight.original",
        "up.parametrizations.bias.original",
    ]
    assert all(one is two for one, two in zip(actual.values(), weights, strict=True))


def test_a_deep_copy_reads_its_own_module(net: Net) -> None:
    source = shifted(net)
    copied = copy.deepcopy(net)
    with torch.no_grad():
        source.shifts.fill_(5.0)
    assert not torch.equal(net.up.weight, copied.up.weight)
    assert list(originals(copied, copied.shift)) == list(originals(net, source))
    assert not originals(copied, source)


def test_leaves_whose_weights_are_rebuilt_take_plugs(net: Net) -> None:
    net.config = None  # type: ignore[assignment]  # not asked for the width of a layer
    shifted(net)
    (module,) = plug(net, "up", "extra", lambda host, width: nn.Linear(width, width), where="after")
    assert torch.allclose(
        net(TOKENS),
        net.head(net.logits(module(nn.functional.linear(net.words(TOKENS), net.up.weight.T, net.up.bias)))),
        atol=1e-6,
    )


def test_a_name_that_is_taken_is_an_error(net: Net) -> None:
    with pytest.raises(ValueError, match="Net has an attribute 'up' already"):
        rebuild(net, "up", Shifts)


def test_fake_and_meta_tensors_have_no_values() -> None:
    real = torch.ones(2)
    assert has_values(real)
    assert not has_values(FakeTensorMode().from_tensor(real))
    assert not has_values(real.to("meta"))


def test_what_is_rebuilt_has_the_shape_of_the_weight(net: Net) -> None:
    """A bias of one number would be broadcast, and the model be another."""

    class Cuts(Shifts):
        def forward(self, original: Tensor, place: int) -> Tensor:
            return original if original.dim() == 2 else original[:1]

    rebuild(net, "cuts", Cuts, without=net.head)
    with pytest.raises(ValueError, match=r"Cuts must make a tensor \(6,\) of the weight in place 2, got \(1,\)"):
        net(TOKENS)


def test_what_is_rebuilt_is_a_tensor(net: Net) -> None:
    class Nothing(Shifts):
        def forward(self, original: Tensor, place: int) -> Tensor:
            return cast(Tensor, None)

    rebuild(net, "nothing", Nothing, without=net.head)
    with pytest.raises(ValueError, match=r"Nothing must make a tensor .* got NoneType"):
        net(TOKENS)
