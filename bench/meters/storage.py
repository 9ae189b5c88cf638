"""The file that has to ship for one task, its size and what it is made of."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from tunefront.bench.models.checkpoints import seed_metadata, shipped
from tunefront.methods.torch_internals import FakeTensor


def save_trained(model: nn.Module, path: Path, published: Collection[str] = ()) -> int:
    """Saves what ships for a task, and nothing else, as safetensors; returns the file's size in bytes. `published` are
    the buffers that the backbone has itself."""
    found = {name: tensor.detach().cpu().contiguous() for name, tensor in shipped(model, published).items()}
    save_file(found, path, seed_metadata(model) or None)
    return path.stat().st_size


def checkpoint_bytes(model: nn.Module, published: Collection[str] = ()) -> int:
    """The size of the real file that a task needs beside the backbone, 0 where it needs none; the file itself is not
    kept. Of tensors without values, which cannot be written, it follows from their names and shapes."""
    found, metadata = shipped(model, published), seed_metadata(model)
    if not found and not metadata:
        return 0
    if any(isinstance(tensor, FakeTensor) for tensor in found.values()):
        return safetensors_bytes(found, metadata)
    with tempfile.TemporaryDirectory() as folder:
        return save_trained(model, Path(folder) / "checkpoint.safetensors", published)


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> int:
    """The size of the safetensors file of these tensors, of which only names, shapes and dtypes are read.

    Eight bytes for the header's length, the header (JSON without spaces, padded to a multiple of eight), then the data,
    dtypes in the order of `_DTYPES` and names in theirs; a tensor under two names counts twice, as `save_file` refuses
    it.
    """
    places = {name: place for place, name in enumerate(_DTYPES)}
    ordered = sorted(tensors.items(), key=lambda item: (places[_dtype(item[1])], item[0]))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[_dtype(tensor)], "shape": list(tensor.shape), "data_offsets": [start, end]}
    told = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-told // 8) * 8 + end


_DTYPES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "complex64": "C64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
"""What the format calls them, in the order in which a file holds them."""


def checkpoint_dtypes(model: nn.Module, published: Collection[str] = ()) -> dict[str, int]:
    """How many numbers that file holds in each dtype; empty where nothing ships.

    >>> checkpoint_dtypes(nn.Linear(3, 2))
    {'float32': 8}
    """
    found: Counter[str] = Counter()
    for tensor in shipped(model, published).values():
        found[_dtype(tensor)] += tensor.numel()
    return dict(found)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
