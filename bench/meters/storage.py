"""The file that has to ship for one task, its size and what it is made of."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from tunefront.methods.base import trained


def save_trained(model: nn.Module, path: Path) -> int:
    """Saves what is trained, and nothing else, as safetensors; returns the file's size in bytes."""
    tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in trained(model).items()}
    save_file(tensors, path)
    return path.stat().st_size


def checkpoint_bytes(model: nn.Module) -> int:
    """The size of the real file that a task needs beside the backbone; the file itself is not kept. Of parameters
    without values, which cannot be written, it follows from their names and shapes."""
    found = trained(model)
    if any(isinstance(parameter, FakeTensor) for parameter in found.values()):
        return safetensors_bytes(found)
    with tempfile.TemporaryDirectory() as folder:
        return save_trained(model, Path(folder) / "checkpoint.safetensors")


def safetensors_bytes(tensors: Mapping[str, Tensor]) -> int:
    """The size of the safetensors file of these tensors, of which only names, shapes and dtypes are read.

    Eight bytes for the header's length, the header (JSON without spaces, padded to a multiple of eight), then the data,
    wider dtypes first and names in order; a tensor under two names counts twice, as `save_file` refuses it.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header, end = {}, 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        dtype = _DTYPES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    told = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-told // 8) * 8 + end


_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "bool": "BOOL"}


def checkpoint_dtypes(model: nn.Module) -> dict[str, int]:
    """How many parameters that file holds in each dtype; empty where nothing is trained.

    >>> checkpoint_dtypes(nn.Linear(3, 2))
    {'float32': 8}
    """
    found: Counter[str] = Counter()
    for parameter in trained(model).values():
        found[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return dict(found)
