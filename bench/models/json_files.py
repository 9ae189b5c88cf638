"""Reading JSON files of a model's folder, with an error that names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tunefront.bench.errors import UserError
from tunefront.bench.files import NotOrdinary, open_ordinary

MOST_BYTES = 64 * 2**20
"""More than any known configuration or index of a model; a tokenizer's vocabulary is not read here."""

MOST_LEVELS = 50
"""More levels of nesting than any known file of a model."""


def read_object(path: Path, kind: str) -> dict[str, Any]:  # Any: whatever the file holds
    """The object in the file; UserError if it cannot be read, is not JSON, or is another kind of value."""
    content = read_json(path, kind)
    if not isinstance(content, dict):
        raise UserError(f"the {kind} {path} must be a JSON object, as save_pretrained() writes it.")
    return content


def read_json(path: Path, kind: str) -> Any:  # Any: as above
    """The content of the file; UserError if it cannot be read or is not JSON."""
    try:
        with open_ordinary(path) as file:
            if (size := os.fstat(file.fileno()).st_size) > MOST_BYTES:
                raise UserError(f"the {kind} {path} has {size:,} bytes; no known one has more than {MOST_BYTES:,}.")
            content = file.read()
    except NotOrdinary as error:
        raise UserError(
            f"the {kind} {path} is {error.strerror}; give a folder as save_pretrained() writes it."
        ) from error
    except OSError as error:
        raise UserError(f"the {kind} {path} cannot be read ({error.strerror}).") from error
    if content.startswith(POINTER):
        raise UserError(pointer_message(path))
    too_deep = f"the {kind} {path} cannot be read: its values are nested too deep."
    try:
        parsed = json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise UserError(too_deep) from error
    except ValueError as error:  # also raised for invalid UTF-8
        raise UserError(f"the {kind} {path} cannot be read: it is not valid JSON ({error}).") from error
    if not _is_shallow(parsed):
        raise UserError(too_deep)
    return parsed


def _is_shallow(content: object) -> bool:
    """Whether the nesting is shallow enough for recursive readers."""
    level = [content]
    for _ in range(MOST_LEVELS):
        inner = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        ]
        level = [value for values in inner for value in values]
    return not level


POINTER = b"version https://git-lfs"
"""The first bytes of a pointer that Git LFS leaves in place of a file."""


def pointer_message(path: Path) -> str:
    """The message about a pointer of Git LFS."""
    return (
        f"{path} is a Git LFS pointer, not the file itself: the repository was cloned without LFS. Run "
        f"`git lfs install && git lfs pull` in {path.parent}, or give the model's Hub id."
    )
