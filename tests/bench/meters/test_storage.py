"""The size of a safetensors file from names and shapes alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.toys import attach, pristine
from tunefront.bench.meters.storage import checkpoint_bytes, safetensors_bytes, save_trained
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
    "many": {f"layer.{place}.weight": torch.zeros(place + 1, 1000) for place in range(40)},
}


@pytest.mark.parametrize("tensors", SETS.values(), ids=SETS)
def test_the_size_is_that_of_the_file(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "file.safetensors")
    assert safetensors_bytes(tensors) == (tmp_path / "file.safetensors").stat().st_size


@pytest.mark.parametrize("spelled", ["full", "houlsby:bottleneck=4", "ia3", "features"])
def test_a_models_checkpoint_is_as_large_without_values(
    spelled: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    backbone = pristine(backbones["bert"])
    attach(parse(spelled), backbone)
    size = save_trained(backbone.model, tmp_path / "task.safetensors")
    assert checkpoint_bytes(backbone.model) == size
    mode = FakeTensorMode()
    for module in backbone.model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter.detach())
                module._parameters[name] = torch.nn.Parameter(fake, parameter.requires_grad)
    assert checkpoint_bytes(backbone.model) == size
