"""Copies of tiny models with one thing changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor


def copy_of(folder: str, to: Path, **config: Any) -> Path:
    """A copy with these fields in config.json; the value ... removes a field."""
    shutil.copytree(folder, to)
    fields = json.loads((to / "config.json").read_text("utf-8")) | config
    kept = {name: value for name, value in fields.items() if value is not ...}
    (to / "config.json").write_text(json.dumps(kept), encoding="utf-8")
    return to


def weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def save(folder: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
