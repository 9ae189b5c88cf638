"""JSON files of a model's folder: read whole, or refused in one paragraph."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tunefront.bench.errors import UserError
from tunefront.bench.files import NotOrdinary, open_ordinary

MOST_BYTES = 64 * 2**20
"""More than any model's configuration or index is known to have; a tokenizer's words are not read as this."""

MOST_LEVELS = 50
"""More than any file of a model is known to have, of values in values."""


def read_object(path: Path, what: str) -> dict[str, Any]:  # Any: whatever the file holds
    """The object that the file holds; UserError where it cannot be read, is no JSON, or holds something else."""
    found = read_json(path, what)
    if not isinstance(found, dict):
        raise UserError(f"the {what} {path} must be a JSON object, as save_pretrained() writes it.")
    return found


def read_json(path: Path, what: str) -> Any:  # Any: as above
    """What the file holds; UserError where it cannot be read or is no JSON."""
    try:
        with open_ordinary(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
                raise UserError(f"the {what} {path} has {size:,} bytes, and none is known of more than {MOST_BYTES:,}.")
            content = file.read()
    except NotOrdinary as error:
        raise UserError(
            f"the {what} {path} is {error.strerror}; give a folder as save_pretrained() writes it."
        ) from error
    except OSError as error:
        raise UserError(f"the {what} {path} cannot be read ({error.strerror}).") from error
    if content.startswith(POINTER):
        raise UserError(about_pointer(path))
    deep = f"the {what} {path} cannot be read: its values are nested too deep."
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise UserError(deep) from error
    except ValueError as error:  # no UTF-8 is one too
        raise UserError(f"the {what} {path} cannot be read: it is not valid JSON ({error}).") from error
    if not _shallow(found):
        raise UserError(deep)
    return found


def _shallow(found: object) -> bool:
    """Whether what reads it by calling itself will come to an end."""
    level = [found]
    for _ in range(MOST_LEVELS):
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        level = [value for values in inner for value in values]
    return not level


POINTER = b"version https://git-lfs"
"""What Git LFS leaves in a file's place starts with."""


def about_pointer(path: Path) -> str:
    """What is said of a file that Git LFS left."""
    return (
        f"{path} is a Git LFS pointer, which names the file and is not it: the repository was cloned without LFS. Run "
        f"`git lfs install && git lfs pull` in {path.parent}, or give the model's Hub id."
    )
