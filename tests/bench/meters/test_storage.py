"""The checkpoint of a task, and the size of its file from names and shapes alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.toys import attach, fresh_copy
from tunefront.bench.errors import UserError
from tunefront.bench.meters.storage import checkpoint_bytes, checkpoint_dtypes, safetensors_bytes, save_trained
from tunefront.bench.models.checkpoints import header
from tunefront.bench.models.families import Backbone
from tunefront.methods.base import SEED
from tunefront.methods.spelling import parse

SETS = {
    "none": {},
    "one": {"weight": torch.zeros(3, 5)},
    "a scalar": {"scale": torch.tensor(1.0)},
    "names with accents": {"gewichtö": torch.zeros(2), "poids·é": torch.zeros(7, 2)},
    "several dtypes": {
        "c": torch.zeros(3, dtype=torch.float16),
        "a": torch.zeros(5, dtype=torch.float64),
        "b": torch.zeros(2, 2, dtype=torch.bfloat16),
        "d": torch.zeros(9),
    },
    "all dtypes": {
        name: torch.zeros(3).to(getattr(torch, name))
        for name in ("int64", "float64", "float32", "int32", "bfloat16", "float16", "int16", "int8", "uint8", "bool")
    },
    "many": {f"layer.{place}.weight": torch.zeros(place + 1, 1000) for place in range(40)},
}


@pytest.mark.parametrize("metadata", [None, {"seeds": '{"a.b":7}'}], ids=["bare", "with seeds"])
@pytest.mark.parametrize("tensors", SETS.values(), ids=SETS)
def test_the_size_is_that_of_the_file(
    tensors: dict[str, Tensor], metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "file.safetensors", metadata)
    assert safetensors_bytes(tensors, metadata) == (tmp_path / "file.safetensors").stat().st_size


@pytest.mark.parametrize("spelled", ["full", "houlsby:bottleneck=4", "ia3", "features"])
def test_a_models_checkpoint_has_the_same_size_without_values(
    spelled: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    backbone = fresh_copy(backbones["bert"])
    attach(parse(spelled), backbone)
    size = save_trained(backbone.model, tmp_path / "task.safetensors")
    assert checkpoint_bytes(backbone.model) == size
    without_values(backbone.model)
    assert checkpoint_bytes(backbone.model) == size


def without_values(model: nn.Module) -> None:
    mode = FakeTensorMode()
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(mode.from_tensor(parameter.detach()), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else mode.from_tensor(buffer)


class Sparse(nn.Module):
    """State of a method: trained values, their places, a table that is recomputed, and a seed."""

    def __init__(self, seed: int = 11):
        super().__init__()
        self.values = nn.Parameter(torch.ones(5))
        self.register_buffer("places", torch.arange(5))
        self.register_buffer("table", torch.ones(1000), persistent=False)
        setattr(self, SEED, seed)


def with_sparse(folder: str, seed: int = 11, trained: bool = True) -> Backbone:
    backbone = fresh_copy(folder)
    backbone.freeze()
    backbone.model.add_module("sparse", Sparse(seed).requires_grad_(trained))
    return backbone


@pytest.mark.parametrize("family", ["bert", "bart"])  # BART itself has a persistent buffer
def test_added_buffers_and_seeds_ship_too(family: str, folders: dict[str, str], tmp_path: Path) -> None:
    backbone = with_sparse(folders[family])
    model, own, path = backbone.model, backbone.published_buffers, tmp_path / "task.safetensors"
    assert own == ({"final_logits_bias"} if family == "bart" else set())
    size = save_trained(model, path, own)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == {"sparse.values", "sparse.places"}
        assert torch.equal(file.get_tensor("sparse.places"), torch.arange(5))
    assert header(str(path)).seeds == {"sparse": 11}
    assert size == path.stat().st_size == checkpoint_bytes(model, own)
    assert checkpoint_dtypes(model, own) == {"float32": 5, "int64": 5}
    without_values(model)
    assert checkpoint_bytes(model, own) == size
    assert checkpoint_dtypes(model, own) == {"float32": 5, "int64": 5}


def test_a_method_with_buffers_but_nothing_trained_has_bytes(backbones: dict[str, str]) -> None:
    backbone = with_sparse(backbones["bert"], trained=False)
    assert checkpoint_dtypes(backbone.model, backbone.published_buffers) == {"int64": 5}
    assert checkpoint_bytes(backbone.model, backbone.published_buffers) > 5 * 8
    untouched = fresh_copy(backbones["bert"])
    untouched.freeze()
    assert checkpoint_bytes(untouched.model, untouched.published_buffers) == 0


def test_a_checkpoint_is_loaded_with_its_buffers(backbones: dict[str, str], tmp_path: Path) -> None:
    saved = with_sparse(backbones["bert"])
    with torch.no_grad():
        saved.model.sparse.values.fill_(3)
        saved.model.sparse.places.add_(9)
    save_trained(saved.model, tmp_path / "task.safetensors", saved.published_buffers)
    fresh = with_sparse(backbones["bert"])
    fresh.load(str(tmp_path / "task.safetensors"))
    assert fresh.model.sparse.values.tolist() == [3] * 5
    assert fresh.model.sparse.places.tolist() == [9, 10, 11, 12, 13]


def test_a_file_of_other_seeds_is_refused(backbones: dict[str, str], tmp_path: Path) -> None:
    """Its values belong to other random transforms."""
    saved = with_sparse(backbones["bert"])
    save_trained(saved.model, tmp_path / "task.safetensors", saved.published_buffers)
    with pytest.raises(UserError, match="other seeds"):
        with_sparse(backbones["bert"], seed=12).load(str(tmp_path / "task.safetensors"))


def test_unreadable_seeds_are_an_error(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "task.safetensors", {"seeds": "[1, 2"})
    with pytest.raises(UserError, match="seeds in the file"):
        _ = header(str(tmp_path / "task.safetensors")).seeds
