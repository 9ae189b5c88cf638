"""Writes a GGUF file's model as a folder in the format of save_pretrained(), in float32."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from tunefront.bench.files import writing
from tunefront.bench.models.config_files import check, make
from tunefront.bench.models.fit import check_fit
from tunefront.bench.models.gguf.architectures import TensorSource, describe
from tunefront.bench.models.gguf.origin import CONVERTER, ORIGIN, Origin
from tunefront.bench.models.gguf.reading import GGUF, kind_of
from tunefront.bench.models.gguf.tokenizer import make_tokenizer
from tunefront.bench.models.weights import Stored
from tunefront.methods.sites import sites_for

_OF_THE_FILE = ("model_type", "architectures", "dtype")
"""Fields of config.json that are no arguments of a configuration."""


class Conversion:
    """A GGUF file that was checked and can be converted; nothing is written yet.

    Errors: UserError for an unsupported architecture, quantisation or tokenizer, and for tensors that do not match the
    metadata.
    """

    def __init__(self, file: GGUF, sha256: str, bytes_: int):
        self._file, self._described = file, describe(file)
        fields = {name: value for name, value in self._described.config.items() if value is not None}
        model_type = str(fields["model_type"])
        of_model = {name: value for name, value in fields.items() if name not in _OF_THE_FILE}
        config = make(model_type, of_model, f"the metadata of {file.what}")
        check(config, f"the metadata of {file.what}")
        stored = {name: Stored(part.shape, "F32") for name, part in self._described.parts.items()}
        check_fit(file.what, config, sites_for(model_type), stored)
        self._fields, self._parts = fields, self._described.parts
        self._tokenizer = make_tokenizer(file, int(config.max_position_embeddings))
        self._origin = Origin(sha256, bytes_, kind_of(file), CONVERTER)

    @property
    def bytes(self) -> int:
        """The folder's size, to within a few kilobytes."""
        return 4 * sum(math.prod(part.shape) for part in self._parts.values()) + len(self._tokenizer.text)

    def write(self, folder: Path) -> None:
        """Writes the model's files into a folder. Errors: OSError, as of a full disk."""
        _write_json(folder / "config.json", self._fields)
        _write_json(folder / "tokenizer_config.json", self._tokenizer.config)
        _write_json(folder / ORIGIN, self._origin.fields())
        with writing(folder / "tokenizer.json") as file:
            file.write(self._tokenizer.text.encode())
        self._write_weights(folder / "model.safetensors")

    def _write_weights(self, path: Path) -> None:
        """Writes safetensors, one tensor at a time: the whole model may be larger than memory."""
        names = sorted(self._parts)
        header = _header({name: self._parts[name] for name in names})
        with writing(path) as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for name in names:
                part = self._parts[name]
                file.write(part.change(self._file.array(part.source)).astype("<f4", copy=False).tobytes())


def _header(parts: Mapping[str, TensorSource]) -> bytes:
    """The header of a safetensors file with these tensors in order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, part in parts.items():
        start, end = end, end + 4 * math.prod(part.shape)
        header[name] = {"dtype": "F32", "shape": list(part.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _write_json(path: Path, fields: Mapping[str, object]) -> None:
    with writing(path) as file:
        file.write((json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())
