"""Plugs: what each place computes, on every kind of leaf, and what is refused."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tunefront.methods.base import Unsupported
from tunefront.methods.inject import matching, plug, width
from tunefront.methods.sites import SITES


class Net(nn.Module):
    """One leaf of each kind, widths all different where a leaf has two."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=6)
        self.words = nn.Embedding(9, 6)
        self.up = nn.Linear(6, 8)
        self.down = Conv1D(6, 8)  # transformers' order: outputs, inputs
        self.drop = nn.Dropout(0.5)
        self.norm = nn.LayerNorm(6)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(self.drop(self.down(self.up(self.words(tokens)))))


class Affine(nn.Module):
    """x W, with W of its own."""

    def __init__(self, inputs: int, outputs: int | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs or inputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


X = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))


def test_a_parallel_plug_may_read_what_goes_into_another_leaf(net: Net) -> None:
    tokens = torch.tensor([[1, 2, 3]])
    words = net.words(tokens)
    plain = net.down(net.up(words))
    (module,) = plug(net, "down", "extra", lambda host, d: Affine(6, d), where="parallel", reads="up")
    expected = net.norm(plain + words @ module.weight)
    assert torch.allclose(net(tokens), expected, atol=1e-6)
    assert [name for name, _ in net.named_parameters() if "extra" in name] == ["down.extra.module.weight"]
    assert net.up.extra_tap.input is None, "nothing is held after the pass"
    copied = copy.deepcopy(net)
    with torch.no_grad():
        module.weight.zero_()
    assert torch.allclose(copied(tokens), expected, atol=1e-6)
    assert torch.allclose(net(tokens), net.norm(plain), atol=1e-6)


def test_plugs_that_read_another_leaf_join_one_to_one(net: Net) -> None:
    def make(host: nn.Module, d: int) -> nn.Module:
        return Affine(6, d)

    with pytest.raises(ValueError, match=r"'down' matches 1 leaves and 'up\|down' 2; plugs join one to one"):
        plug(net, "down", "extra", make, where="parallel", reads="up|down")
    with pytest.raises(ValueError, match="only a parallel plug reads another leaf, got where='after'"):
        plug(net, "down", "extra", make, where="after", reads="up")
    plug(net, "up", "late", make, where="parallel", reads="down")
    with pytest.raises(RuntimeError, match="ran before that leaf did"):
        net(torch.tensor([[1]]))


def test_before_gives_the_leaf_the_plugs_output(net: Net) -> None:
    (module,) = plug(net, "up", "extra", lambda host, d: Affine(d), where="before")
    expected = nn.functional.linear(X @ module.weight, net.up.weight, net.up.bias)
    assert torch.allclose(net.up(X), expected, atol=1e-6)
    assert module.weight.shape == (6, 6)


def test_after_gives_the_plug_the_leafs_output(net: Net) -> None:
    (module,) = plug(net, "up", "extra", lambda host, d: Affine(d), where="after")
    expected = nn.functional.linear(X, net.up.weight, net.up.bias) @ module.weight
    assert torch.allclose(net.up(X), expected, atol=1e-6)
    assert module.weight.shape == (8, 8)


def test_parallel_adds_the_plug_on_the_leafs_input(net: Net) -> None:
    (module,) = plug(net, "up", "extra", lambda host, d: Affine(host.in_features, d), where="parallel")
    expected = nn.functional.linear(X, net.up.weight, net.up.bias) + X @ module.weight
    assert torch.allclose(net.up(X), expected, atol=1e-6)
    assert module.weight.shape == (6, 8)


@pytest.mark.parametrize(
    ("leaf", "inside", "outside"), [("up", 6, 8), ("down", 8, 6), ("drop", 6, 6), ("norm", 6, 6), ("words", None, 6)]
)
def test_widths_of_every_kind_of_leaf(net: Net, leaf: str, inside: int | None, outside: int) -> None:
    host = net.get_submodule(leaf)
    assert width(net, host, "out") == outside
    if inside is not None:
        assert width(net, host, "in") == inside


@pytest.mark.parametrize(("norm", "size"), [(nn.RMSNorm(3), 3), (nn.LayerNorm(6, elementwise_affine=False), 6)])
def test_a_norm_is_as_wide_as_its_weight_else_as_the_model(net: Net, norm: nn.Module, size: int) -> None:
    assert width(net, norm, "in") == width(net, norm, "out") == size


@pytest.mark.parametrize("leaf", ["words", "up", "down", "drop", "norm"])
def test_a_plug_after_any_kind_of_leaf_runs(net: Net, leaf: str) -> None:
    tokens = torch.tensor([[1, 2, 3]])
    before = net(tokens)
    plug(net, leaf, "extra", lambda host, d: Affine(d), where="after")
    assert net(tokens).shape == before.shape
    assert not torch.allclose(net(tokens), before)


def test_a_block_is_no_leaf(net: Net) -> None:
    outer = nn.Sequential(net)
    with pytest.raises(Unsupported, match="cannot plug into a Net; plug into a Linear, Conv1D, Dropout or Embedding"):
        plug(outer, "0", "extra", lambda host, d: Affine(d), where="after")


def test_an_embedding_has_no_width_before_it(net: Net) -> None:
    with pytest.raises(Unsupported, match="Embedding"):
        plug(net, "words", "extra", lambda host, d: Affine(d), where="before")


def test_a_name_that_is_taken_is_refused_and_nothing_is_overwritten(net: Net) -> None:
    weight = net.up.weight
    with pytest.raises(ValueError, match="up has an attribute 'weight' already; give the plug another name"):
        plug(net, "up", "weight", lambda host, d: Affine(d), where="after")
    assert net.up.weight is weight
    plug(net, "up", "extra", lambda host, d: Affine(d), where="after")
    with pytest.raises(ValueError, match="another name"):
        plug(net, "up", "extra", lambda host, d: Affine(d), where="after")


def test_a_site_that_matches_nothing_names_the_nearest_paths(net: Net) -> None:
    outer = nn.ModuleDict({"encoder": nn.ModuleList([net, Net()])})
    with pytest.raises(ValueError, match="no module of ModuleDict matches the site") as error:
        plug(outer, r"encoder\.\d+\.dwn", "extra", lambda host, d: Affine(d), where="after")
    assert "encoder.0.down" in str(error.value)
    assert "Sites(...)" in str(error.value)


def test_a_site_is_matched_in_full(net: Net) -> None:
    outer = nn.ModuleDict({"first": net, "up": nn.Linear(2, 2)})
    assert list(matching(outer, "up")) == ["up"]
    assert list(matching(outer, r"(first\.)?up")) == ["first.up", "up"]


def test_no_site_is_unsupported_with_a_reason(net: Net) -> None:
    with pytest.raises(Unsupported, match="Net has no such site"):
        plug(net, None, "extra", lambda host, d: Affine(d), where="after")


def test_a_fused_site_is_unsupported_with_what_fuses_it(net: Net) -> None:
    net.config.model_type = "gpt2"
    with pytest.raises(Unsupported, match=r"gpt2 has no query or key or value projection .*: attn\.c_attn fuses them"):
        plug(net, SITES["gpt2"].key, "extra", lambda host, d: Affine(d), where="after")
    net.config.model_type = "opt"  # which fuses nothing
    with pytest.raises(Unsupported, match="Net has no such site"):
        matching(net, None)


def test_an_unknown_place_is_refused(net: Net) -> None:
    with pytest.raises(ValueError, match="before, after or parallel to its host, got 'around'"):
        plug(net, "up", "extra", lambda host, d: Affine(d), where="around")  # type: ignore[arg-type]


def test_a_plug_takes_dtype_device_and_mode_of_its_host(net: Net) -> None:
    net.to(dtype=torch.float64).train()
    (linear,) = plug(net, "up", "extra", lambda host, d: Affine(d), where="after")
    (dropout,) = plug(net, "drop", "extra", lambda host, d: Affine(d), where="after")  # no weights of its own
    assert linear.weight.dtype == dropout.weight.dtype == torch.float64
    assert linear.training
    assert dropout.training
    net.to(device="meta").eval()
    (meta,) = plug(net, "down", "extra", lambda host, d: Affine(d), where="before")
    assert meta.weight.device.type == "meta"
    assert not meta.training


def test_several_hosts_get_a_plug_each(net: Net) -> None:
    made = plug(net, "up|norm", "extra", lambda host, d: Affine(d), where="after")
    assert [module.weight.shape[0] for module in made] == [8, 6]
    assert made[0] is net.up.extra
    assert made[1] is net.norm.extra


def test_base_state_dict_keys_and_classes_stay(net: Net) -> None:
    before = list(net.state_dict())
    plug(net, "up|down", "extra", lambda host, d: Affine(d), where="after")
    assert [name for name in net.state_dict() if "extra" not in name] == before
    assert type(net.up) is nn.Linear


def test_the_hook_uses_the_plug_of_the_host_it_is_called_with(net: Net) -> None:
    """Of a deep copy as well as of the original, and the one that was swapped in last."""
    plug(net, "up", "extra", lambda host, d: Affine(d), where="after")
    other = copy.deepcopy(net)
    with torch.no_grad():
        other.up.extra.weight.zero_()
    assert not other.up(X).any()
    assert net.up(X).any()
    net.up.extra = nn.Identity()
    assert torch.equal(net.up(X), nn.functional.linear(X, net.up.weight, net.up.bias))


def test_plugs_survive_compile_and_checkpointing(net: Net) -> None:
    plug(net, "up", "extra", lambda host, d: Affine(d), where="after")
    x = X.clone().requires_grad_()
    direct = torch.autograd.grad(net.up(x).sum(), net.up.extra.weight)[0]
    recomputed = torch.utils.checkpoint.checkpoint(net.up, x, use_reentrant=False)
    assert torch.allclose(torch.autograd.grad(recomputed.sum(), net.up.extra.weight)[0], direct)
    compiled = torch.compile(net.up, backend="eager")
    assert torch.allclose(compiled(X), net.up(X))
