"""The origin of a converted folder: the GGUF file's sha256, size and quantisation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunefront.bench.models.json_files import read_object

CONVERTER = 1
"""Version of the conversion, part of the names of converted folders; raised whenever its output changes."""
ORIGIN = "gguf_origin.json"
"""The file that stores it."""
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", ORIGIN)
"""All files of a converted folder."""


@dataclass(frozen=True)
class Origin:
    """The GGUF file that a folder was converted from.

    Args: sha256 and bytes, of the file; weights, the quantisation of most of its values (Q4_1); converter, the version
    of the conversion.
    """

    sha256: str
    bytes: int
    weights: str
    converter: int

    def fields(self) -> dict[str, Any]:  # Any: as JSON has them
        """The content of the file `ORIGIN`."""
        return asdict(self)


def origin_of(folder: Path) -> Origin | None:
    """The origin of a model folder, None if it was not converted. Errors: UserError for a damaged file."""
    path = folder / ORIGIN
    if not path.is_file():
        return None
    fields = read_object(path, "origin of converted weights")
    types = {"sha256": str, "bytes": int, "weights": str, "converter": int}
    if {name: type(fields.get(name)) for name in types} != types:
        return None
    return Origin(**{name: fields[name] for name in types})
