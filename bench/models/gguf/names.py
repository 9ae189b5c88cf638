"""Which names stand for GGUF files; only names of files are looked at."""

from __future__ import annotations

import os
from pathlib import Path

from tunefront.bench.errors import UserError
from tunefront.bench.models.folders import local

ENDING = ".gguf"


def gguf_file(path: Path) -> Path | None:
    """The GGUF file that a path stands for: the file itself, or the only one of a folder without other weights or a
    configuration; None where it stands for none."""
    if path.name.lower().endswith(ENDING) and not path.is_dir():
        return path if path.exists() else None
    if not path.is_dir() or (path / "config.json").exists():
        return None
    try:
        names = sorted(os.listdir(path))
    except OSError:  # found out by whoever reads the folder
        return None
    found = [name for name in names if name.lower().endswith(ENDING)]
    other = [name for name in names if name.endswith((".safetensors", ".bin"))]
    return path / found[0] if len(found) == 1 and not other else None


def is_gguf(name: str) -> bool:
    """Whether a backbone of this name, which is no embedded one, is read from a GGUF file."""
    try:
        return gguf_file(local(name)) is not None
    except (UserError, OSError):  # no path at all: found out where it is looked up
        return False
