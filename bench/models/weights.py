"""A folder's weights: the files, the headers of their tensors, and whether all of them are there."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from tunefront.bench.errors import UserError
from tunefront.bench.models.config_files import short_message
from tunefront.bench.models.folders import unread_weights
from tunefront.bench.models.json_files import POINTER, pointer_message, read_object

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The files that a backbone's weights may be in; transformers loads the first that exists."""
_SHARD = re.compile(r"(?P<stem>\w+)-(?P<number>\d{5})-of-(?P<of>\d{5})(?P<suffix>\.safetensors|\.bin)")
_MOST_SHARDS = 1000
MOST_HEADER = 100_000_000
"""The largest header in bytes that safetensors allows."""


@dataclass(frozen=True)
class Stored:
    """A tensor's entry in a file: its shape, and its dtype by safetensors' name (F32, BF16, I8)."""

    shape: tuple[int, ...]
    dtype: str


def weight_files(folder: Path) -> list[Path]:
    """The files that would be loaded, all shards included; none if there are no weights. UserError if an index cannot
    be read or names missing files."""
    first = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if first is None:
        return []
    if first.suffix != ".json":
        return [first]
    files = [folder / shard for shard in shards(first)]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise UserError(
            f"{first} names {len(files)} weight files, but {len(missing)} of them "
            f"{'is' if len(missing) == 1 else 'are'} missing: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}. Download the model again."
        )
    return files


def shards(index: Path) -> list[str]:
    """The files that an index names, each once; UserError if it is not an index, or if it names files elsewhere."""
    weight_map = read_object(index, "index of weights").get("weight_map")
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(file, str) for file in weight_map.values())
    ):
        raise UserError(f"{index} has no weight_map of tensors to files, as save_pretrained() writes it.")
    files = sorted(set(weight_map.values()))
    for file in files:
        path = PurePosixPath(file)
        outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(file).anchor or "\\" in file
        if outside or not file.isprintable() or path.suffix not in (".safetensors", ".bin"):
            raise UserError(
                f"{index} names the file {file[:100]!r}, but weights are only read from the model's own folder, as "
                ".safetensors or .bin. Download the model again, from a source that you trust."
            )
    return files


def check_has_weights(folder: Path, name: str) -> None:
    """UserError if the folder has no weights."""
    if not any((folder / file).is_file() for file in WEIGHTS):
        raise UserError(
            _missing_index_message(folder, name)
            or f"{name} has no weights: none of {', '.join(WEIGHTS)} is in {folder}{unread_weights(folder)}; save them "
            "there with model.save_pretrained()."
        )


def _missing_index_message(folder: Path, name: str) -> str | None:
    """The message about shards whose index is missing; None if there are no shards."""
    matches = [(path, match) for path in sorted(folder.iterdir()) if (match := _SHARD.fullmatch(path.name))]
    if not matches:
        return None
    first, (stem, of, suffix) = matches[0][0], matches[0][1].group("stem", "of", "suffix")
    present = {
        int(match["number"]) for _, match in matches if match.group("stem", "of", "suffix") == (stem, of, suffix)
    }
    missing = [number for number in range(1, min(int(of), _MOST_SHARDS) + 1) if number not in present]
    names = ", ".join(f"{stem}-{number:0{len(of)}}-of-{of}{suffix}" for number in missing[:3])
    also = f"; matches are missing too: {names}{', ...' if len(missing) > 3 else ''}" if missing else ""
    return (
        f"{name} has incomplete weights: {first.name} is one of {int(of)} files, {len(present)} of them are in "
        f"{folder}, but their index, {stem}{suffix}.index.json, is missing{also}. Download all of them again, or save "
        "the model there with model.save_pretrained()."
    )


def headers(folder: Path) -> dict[str, Stored]:
    """Every tensor that would be loaded, by name. Errors: UserError for a truncated file, a pointer of Git LFS, or a
    file without weights."""
    stored: dict[str, Stored] = {}
    for path in weight_files(folder):
        stored |= _safetensors(path) if path.suffix == ".safetensors" else _bin(path)
    return stored


def tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The values of every tensor, one after another, mapped from the files, not copied."""
    from safetensors import safe_open

    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # not a mapping
                    yield name, file.get_tensor(name)
        else:
            yield from _loaded(path, "cpu").items()


def size(folder: Path) -> int:
    """Bytes of all files that would be loaded."""
    return sum(path.stat().st_size for path in weight_files(folder))


def _safetensors(path: Path) -> dict[str, Stored]:
    from safetensors import SafetensorError, safe_open

    file_bytes = path.stat().st_size
    try:
        with path.open("rb") as file:
            start = file.read(len(POINTER))
            _check_start(start, path)
            length = int.from_bytes(start[:8], "little")
            if length > min(MOST_HEADER, file_bytes):
                raise ValueError("it does not start with a header")
            file.seek(8)
            header = json.loads(file.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            ends = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
            if 8 + length + ends > file_bytes:
                raise UserError(
                    f"{path} is truncated: it has {file_bytes:,} of the {8 + length + ends:,} bytes that its header "
                    "describes, as after an interrupted download. Download it again."
                )
            stored = {name: Stored(tuple(entry["shape"]), str(entry["dtype"])) for name, entry in entries.items()}
        with safe_open(path, framework="pt"):  # compares offsets, shapes and types
            return stored
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read ({error.strerror}).") from error
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, SafetensorError) as error:
        raise UserError(
            f"the weights {path} are not a safetensors file ({short_message(error)}). Download the file again, or save "
            "the model again with save_pretrained()."
        ) from error


def _bin(path: Path) -> dict[str, Stored]:
    codes = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int8": "I8", "uint8": "U8"}
    stored = {}
    for name, tensor in _loaded(path, "meta").items():
        dtype = str(tensor.dtype).removeprefix("torch.")
        stored[name] = Stored(tuple(tensor.shape), codes.get(dtype, dtype.upper()))
    return stored


def _loaded(path: Path, device: str) -> Mapping[str, Tensor]:
    """The tensors of a .bin file; nothing other than tensors is ever loaded from it."""
    import torch

    try:
        with path.open("rb") as file:
            start = file.read(len(POINTER))
        _check_start(start, path)
        loaded = torch.load(path, map_location=device, weights_only=True, mmap=start.startswith(b"PK"))
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read ({error.strerror}).") from error
    except UserError:
        raise
    except Exception as error:  # from pickle, zip or torch, or anything else that a broken file causes
        raise UserError(
            f"the weights {path} cannot be read ({short_message(error)}): the file is truncated, or has more than "
            "tensors, which is never run. Download it again, or save the model as safetensors."
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in loaded.values()):
        raise UserError(f"the weights {path} are not a table of tensors; save the model with save_pretrained().")
    return loaded


def _check_start(start: bytes, path: Path) -> None:
    if start == POINTER:
        raise UserError(pointer_message(path))
    if not start:
        raise UserError(f"the weights {path} are an empty file; download it again.")
    if start.lstrip().startswith(b"<"):
        raise UserError(f"the weights {path} are a web page that was saved instead. Download the file again.")


def is_blank(folder: Path) -> bool:
    """Whether there are matrices and each of them is constant; the search stops at the first that is not."""
    matrices = (tensor for _, tensor in tensors(folder) if tensor.ndim > 1 and tensor.numel() > 1)
    first = next(matrices, None)
    return first is not None and all(bool((m == m.flatten()[0]).all()) for m in itertools.chain([first], matrices))


def find_nonfinite(folder: Path) -> tuple[str, int, int] | None:
    """The first tensor with non-finite values: its name, their number, and its size; None if there is none."""
    for name, tensor in tensors(folder):
        if tensor.is_floating_point() and not math.isfinite(float(tensor.float().sum())):
            count = int((~tensor.float().isfinite()).sum())
            if count:  # else only the sum overflows
                return name, count, tensor.numel()
    return None
