"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from typing import TYPE_CHECKING

from bench.errors import DiskFull, Mistake

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
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no room is left for {path}; free some and give the same command again.") from error
        why = f"the report cannot be written to {path.parent} ({error.strerror}); give another --out."
        raise Mistake(why) from error
    return path
