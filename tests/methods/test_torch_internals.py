"""What is used of torch without its promise stands in one file, and does there what it is said to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tests import ROOT
from tests.structure import PACKAGES
from tunefront.methods import torch_internals as internals

HOME = ROOT / "methods" / "torch_internals.py"


def private(tree: ast.AST) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            yield node


NAMES = {node.attr for node in private(ast.parse(HOME.read_text(encoding="utf-8")))}
"""Every private name that the one file reaches for."""


def reached(source: str) -> list[str]:
    """What a source names of torch that torch does not promise."""
    tree = ast.parse(source)
    found = [
        ast.unparse(node) for node in private(tree) if node.attr in NAMES or ast.unparse(node).startswith("torch.")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [module for module in modules if module.startswith("torch.") and "._" in module]
    return found


SOURCES = [path for name in PACKAGES for path in sorted(ROOT.glob(f"{name}/**/*.py")) if path != HOME]


def test_no_other_file_names_what_torch_does_not_promise() -> None:
    assert {"_parameters", "_cdata", "_schema"} <= NAMES
    found = {path.relative_to(ROOT).as_posix(): reached(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from torch._subclasses.fake_tensor import FakeTensor",
        "import torch.utils._pytree as tree",
        "from torch.nn.utils import _stateless",
        "host._parameters['weight']",
        "torch.ops.aten._unsafe_view.default",
        "tensor.untyped_storage()._cdata",
    ],
)
def test_the_check_finds_what_it_looks_for(source: str) -> None:
    assert reached(source)


def test_tensors_that_share_memory_have_one_key() -> None:
    one, other = torch.zeros(4), torch.zeros(4)
    assert internals.storage_key(one) == internals.storage_key(one[2:]) == internals.storage_key(one.untyped_storage())
    assert internals.storage_key(one) != internals.storage_key(other)


def test_a_backward_pass_is_noticed() -> None:
    seen, weight = [], torch.ones(2, requires_grad=True)
    weight.register_hook(lambda gradient: seen.append(internals.in_backward()))
    loss = weight.sum()
    assert not internals.in_backward()
    loss.backward()
    assert seen == [True]


def test_a_module_is_made_of_its_parts_again() -> None:
    layer = nn.Linear(2, 3)
    weight, then = layer.weight, internals.own_parts(layer).copy()
    layer.weight = nn.Parameter(torch.zeros(1, 1))
    layer.add_module("more", nn.ReLU())
    internals.put_parts(layer, then)
    assert layer.weight is weight
    assert not list(layer.children())
    assert internals.own_parameters(layer) == {"weight": weight, "bias": layer.bias}


def test_what_is_written_unnoticed_leaves_the_version() -> None:
    tensor = torch.zeros(2)
    with internals.preserving_versions([tensor]):
        tensor.add_(1)
    assert (tensor.tolist(), tensor._version) == ([1.0, 1.0], 0)


def test_hooks_come_in_the_order_in_which_they_run() -> None:
    layer = nn.Linear(2, 2)

    def after(*_: object) -> None: ...

    def before(*_: object) -> None: ...

    layer.register_forward_hook(after)
    layer.register_forward_pre_hook(before)
    assert internals.hooks_of(layer) == [before, after]


def test_a_fake_parameter_can_be_moved_and_is_one() -> None:
    layer = nn.Linear(2, 3)
    internals.make_fake(layer)
    layer.to(dtype=torch.float64)
    assert {type(parameter) for parameter in layer.parameters()} == {internals.FakeTensor}
    assert all(isinstance(parameter, nn.Parameter) and parameter.requires_grad for parameter in layer.parameters())
    assert layer.weight.dtype == torch.float64
