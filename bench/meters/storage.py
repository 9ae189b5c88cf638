"""The checkpoint file of one task: writing it, its size and its dtypes."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor, nn

from tunefront.bench.models.checkpoints import MANIFEST, metadata_of, seed_metadata, shipped
from tunefront.methods.torch_internals import FakeTensor


def save_trained(model: nn.Module, path: Path, published: Collection[str] = ()) -> int:
    """Saves exactly the tensors that ship for a task, as safetensors; returns the size of the file in bytes.
    `published` names the buffers of the backbone itself."""
    return path.write_bytes(checkpoint_content(model, shipped(model, published)))


def checkpoint_content(model: nn.Module, tensors: Mapping[str, Tensor], manifest: str | None = None) -> bytes:
    """The content of a safetensors file with tensors of a model, with its seeds and, if given, a manifest."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {**seed_metadata(model), **({} if manifest is None else {MANIFEST: manifest})}
    return save(kept, metadata or None)


def shipped_bytes(content: bytes) -> int:
    """The size of a file's content without its manifest, as `checkpoint_bytes` counts it."""
    metadata = {name: text for name, text in metadata_of(content).items() if name != MANIFEST}
    return safetensors_bytes(load(content), metadata)


def checkpoint_bytes(model: nn.Module, published: Collection[str] = ()) -> int:
    """The size of the file that a task needs in addition to the backbone, 0 if it needs none. The file is written and
    deleted; for fake tensors, which cannot be written, the size follows from names and shapes."""
    tensors, metadata = shipped(model, published), seed_metadata(model)
    if not tensors and not metadata:
        return 0
    if any(isinstance(tensor, FakeTensor) for tensor in tensors.values()):
        return safetensors_bytes(tensors, metadata)
    with tempfile.TemporaryDirectory() as folder:
        return save_trained(model, Path(folder) / "checkpoint.safetensors", published)


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> int:
    """The size of the safetensors file of these tensors, from their names, shapes and dtypes.

    The file has eight bytes for the length of the header, the header (JSON without spaces, padded to a multiple of
    eight), then the data, sorted by dtype (in the order of `_DTYPES`) and name. A tensor with two names counts twice;
    `save_file` refuses it.
    """
    order = {name: index for index, name in enumerate(_DTYPES)}
    ordered = sorted(tensors.items(), key=lambda item: (order[_dtype(item[1])], item[0]))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[_dtype(tensor)], "shape": list(tensor.shape), "data_offsets": [start, end]}
    header_bytes = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-header_bytes // 8) * 8 + end


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
"""Names of the dtypes in the format, in their order within a file."""


def checkpoint_dtypes(model: nn.Module, published: Collection[str] = ()) -> dict[str, int]:
    """Number of elements per dtype in that file; empty if nothing ships.

    >>> checkpoint_dtypes(nn.Linear(3, 2))
    {'float32': 8}
    """
    elements: Counter[str] = Counter()
    for tensor in shipped(model, published).values():
        elements[_dtype(tensor)] += tensor.numel()
    return dict(elements)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
