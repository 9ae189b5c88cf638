"""Files that appear whole or not at all, or a Mistake."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bench.errors import DiskFull, Mistake
from bench.files import writing

if TYPE_CHECKING:
    from pathlib import Path


def put(path: Path, content: bytes | str) -> Path:
    """Writes a file, whole or not at all; Mistake or DiskFull naming the place where it cannot be."""
    try:
        with writing(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no room is left for {path}; free some and give the same command again.") from error
        why = f"the report cannot be written to {path.parent} ({error.strerror}); give another --out."
        raise Mistake(why) from error
    return path
