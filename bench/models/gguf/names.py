"""Recognises names of GGUF files; no file is opened."""

from __future__ import annotations

import os
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.models.folders import local

ENDING = ".gguf"


def gguf_file(path: Path) -> Path | None:
    """The GGUF file of a path: the file itself, or the only one in a folder without config.json and other weights; None
    if there is none."""
    if path.name.lower().endswith(ENDING) and not path.is_dir():
        return path if path.exists() else None
    if not path.is_dir() or (path / "config.json").exists():
        return None
    try:
        names = sorted(os.listdir(path))
    except OSError:  # reported when the folder is read
        return None
    files = [name for name in names if name.lower().endswith(ENDING)]
    other = [name for name in names if name.endswith((".safetensors", ".bin"))]
    return path / files[0] if len(files) == 1 and not other else None


def is_gguf(name: str) -> bool:
    """Whether a backbone that is not embedded is a GGUF file."""
    try:
        return gguf_file(local(name)) is not None
    except (UserError, OSError):  # an invalid path: reported when it is looked up
        return False
