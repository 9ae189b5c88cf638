"""The file that has to ship for one task, and its size."""

from __future__ import annotations

import tempfile
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
