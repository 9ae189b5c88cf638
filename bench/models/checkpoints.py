"""Safetensors files of trained tensors, which methods can start from: reading them and checking them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError
from tunefront.bench.files import expanded
from tunefront.methods.base import SEED, trained

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tunefront.methods.base import Method


@dataclass(frozen=True)
class Header:
    """The header of a file: the shape of each tensor, and its metadata, which may be empty."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @property
    def backbone(self) -> str | None:
        """Fingerprint of the backbone that the tensors were trained on, None if the file does not name it."""
        return self.metadata.get("backbone_fingerprint")

    @property
    def seeds(self) -> dict[str, int]:
        """Module -> seed of its frozen random numbers; UserError if the seeds cannot be read."""
        text = self.metadata.get(_SEEDS, "{}")
        try:
            seeds = json.loads(text)
        except ValueError:
            seeds = None
        if not isinstance(seeds, dict) or not all(type(seed) is int for seed in seeds.values()):
            raise UserError(
                f"the seeds in the file are invalid: {text!r}; they must be a JSON object, module to number."
            )
        return seeds

    @property
    def made_for(self) -> str:
        """The method and the backbone of the tensors, for a message."""
        known = [self.metadata[name] for name in ("method", "backbone") if name in self.metadata]
        return " on ".join(known) or "the file does not name its method or backbone"


_SEEDS = "seeds"
"""The metadata key of the seeds."""
MANIFEST = "manifest"
"""The metadata key of what scoring new rows needs to know (`tunefront.bench.checkpoints.manifest`). It is no part of
what is counted in a checkpoint's bytes."""


def persistent_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers in the state dict, by name, each tensor once."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    kept = model.state_dict(keep_vars=True).keys() - parameters
    return {name: buffer for name, buffer in model.named_buffers() if name in kept}


def shipped(model: nn.Module, published: Collection[str] = ()) -> dict[str, Tensor]:
    """What a task needs in addition to the backbone: the trained parameters and the persistent buffers that the method
    added, which are all but the backbone's own, `published`."""
    added = {name: buffer for name, buffer in persistent_buffers(model).items() if name not in published}
    return {**trained(model), **added}


def seeds_of(model: nn.Module) -> dict[str, int]:
    """Module -> seed of its frozen random numbers; the seed ships instead of the numbers."""
    return {path: int(getattr(module, SEED)) for path, module in model.named_modules() if hasattr(module, SEED)}


def seed_metadata(model: nn.Module) -> dict[str, str]:
    """The seeds in the form of a file's metadata; empty if there are none."""
    seeds = seeds_of(model)
    return {_SEEDS: json.dumps(seeds, separators=(",", ":"))} if seeds else {}


def files_of(method: Method) -> dict[str, str]:
    """Field -> path of each file and folder that a method reads."""
    return {name: path for name in (*method.files, *method.folders) if (path := getattr(method, name)) is not None}


def digests(method: Method) -> dict[str, str]:
    """Field -> sha256 of each file that a method reads, and of the files that it reads in each folder; UserError if one
    cannot be read."""
    return {
        name: folder_digest(path, method.folders[name]) if name in method.folders else digest(path)
        for name, path in files_of(method).items()
    }


def digest(path: str) -> str:
    """sha256 of a file; UserError if it cannot be read."""
    with _reading(path) as file:
        state = file.stat()
        return _digest(file, state.st_mtime_ns, state.st_size)


def folder_digest(path: str, names: Sequence[str]) -> str:
    """sha256 over the names and the contents of these files in a folder; UserError if one cannot be read."""
    contents = [(name, digest(str(Path(path, name)))) for name in names]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def header(path: str) -> Header:
    """The header of a safetensors file; UserError if it has another format or cannot be read."""
    from safetensors import safe_open

    with _reading(path) as file, safe_open(file, framework="pt") as opened:
        shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118  # not a mapping
        return Header(shapes, opened.metadata() or {})


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata in the content of a safetensors file; empty without any."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    return metadata


def tensors(path: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU; UserError if it has another format or cannot be read."""
    from safetensors.torch import load_file

    with _reading(path) as file:
        return load_file(file)


@functools.lru_cache(maxsize=1024)
def _digest(file: Path, _changed: int, _size: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _reading(path: str) -> Iterator[Path]:
    """The file at a path; errors in reading it become UserErrors."""
    from safetensors import SafetensorError

    file = expanded(path).absolute()
    try:
        if file.is_dir():
            raise UserError(f"{path} is a folder; give the safetensors file in it.")
        if not file.exists():
            raise UserError(f"there is no file {path}, seen from {Path.cwd()}; `tunefront pretrain` makes one.")
        if not file.is_file():
            raise UserError(f"{path} is not a regular file; give a safetensors file.")
        yield file
    except SafetensorError as error:
        raise UserError(
            f"{path} is not a complete safetensors file ({error}). Other formats are not read, because loading one may "
            "run code: convert the file with safetensors.torch.save_file()."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}).") from error
