"""The file that has to ship for one task, its size and what it is made of."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from methods.base import trained


def save_trained(model: nn.Module, path: Path) -> int:
    """Saves what is trained, and nothing else, as safetensors; returns the file's size in bytes."""
    tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in trained(model).items()}
    save_file(tensors, path)
    return path.stat().st_size


def checkpoint_bytes(model: nn.Module) -> int:
    """The size of the real file that a task needs beside the backbone; the file itself is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        return save_trained(model, Path(folder) / "checkpoint.safetensors")


def checkpoint_dtypes(model: nn.Module) -> dict[str, int]:
    """How many parameters that file holds in each dtype; empty where nothing is trained.

    >>> checkpoint_dtypes(nn.Linear(3, 2))
    {'float32': 8}
    """
    found: Counter[str] = Counter()
    for parameter in trained(model).values():
        found[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return dict(found)
