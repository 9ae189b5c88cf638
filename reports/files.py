"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from bench.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path


def put(path: Path, content: bytes | str) -> Path:
    """Writes a file under a temporary name and renames it; Mistake or DiskFull naming the place where it cannot be."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Mistake(
            f"the report cannot be written to {path.parent} ({error.strerror}); give another --out."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path
