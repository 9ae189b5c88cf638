"""A folder's weights as their headers tell of them: which files, which tensors, whether all of it is there."""

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
from tunefront.bench.models.config_files import gist
from tunefront.bench.models.folders import unread_weights
from tunefront.bench.models.json_files import POINTER, about_pointer, read_object

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Where a backbone's weights may be; of several that a folder has, transformers loads the first."""
_SHARD = re.compile(r"(?P<stem>\w+)-(?P<number>\d{5})-of-(?P<of>\d{5})(?P<suffix>\.safetensors|\.bin)")
_MOST_SHARDS = 1000
MOST_HEADER = 100_000_000
"""Bytes of a header, as safetensors allows."""


@dataclass(frozen=True)
class Stored:
    """What a file says of a tensor: its shape, and its type as safetensors names it (F32, BF16, I8)."""

    shape: tuple[int, ...]
    dtype: str


def weight_files(folder: Path) -> list[Path]:
    """The files that would be loaded, every shard; none where there are none. UserError if an index cannot be read or
    names files that are not there."""
    first = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if first is None:
        return []
    if first.suffix != ".json":
        return [first]
    files = [folder / shard for shard in shards(first)]
    lost = [path.name for path in files if not path.is_file()]
    if lost:
        raise UserError(
            f"{first} names {len(files)} files of weights, and {len(lost)} of them "
            f"{'is' if len(lost) == 1 else 'are'} not there: {', '.join(lost[:3])}{', ...' if len(lost) > 3 else ''}. "
            "Download the model again."
        )
    return files


def shards(index: Path) -> list[str]:
    """The files that an index names, each once; UserError for one that is no index, or that names files elsewhere."""
    named = read_object(index, "index of weights").get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(file, str) for file in named.values()):
        raise UserError(f"{index} has no weight_map of tensors to files, as save_pretrained() writes it.")
    files = sorted(set(named.values()))
    for file in files:
        path = PurePosixPath(file)
        outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(file).anchor or "\\" in file
        if outside or not file.isprintable() or path.suffix not in (".safetensors", ".bin"):
            raise UserError(
                f"{index} names the file {file[:100]!r}: weights are read from the model's own folder, as .safetensors "
                "or .bin. Download the model again, from where you trust it."
            )
    return files


def check_there(folder: Path, name: str) -> None:
    """UserError where the folder has no weights."""
    if not any((folder / file).is_file() for file in WEIGHTS):
        raise UserError(
            _without_index(folder, name)
            or f"{name} has no weights: none of {', '.join(WEIGHTS)} is in {folder}{unread_weights(folder)}; save them "
            "there with model.save_pretrained()."
        )


def _without_index(folder: Path, name: str) -> str | None:
    """What is said of shards of weights whose index is not there; None where there are none."""
    found = [(path, match) for path in sorted(folder.iterdir()) if (match := _SHARD.fullmatch(path.name))]
    if not found:
        return None
    first, (stem, of, suffix) = found[0][0], found[0][1].group("stem", "of", "suffix")
    held = {int(match["number"]) for _, match in found if match.group("stem", "of", "suffix") == (stem, of, suffix)}
    lost = [number for number in range(1, min(int(of), _MOST_SHARDS) + 1) if number not in held]
    named = ", ".join(f"{stem}-{number:0{len(of)}}-of-{of}{suffix}" for number in lost[:3])
    also = (
        f", and neither {'is' if len(lost) == 1 else 'are'} {named}{', ...' if len(lost) > 3 else ''}" if lost else ""
    )
    return (
        f"{name} has no whole weights: {first.name} is one of {int(of)} files, of which {len(held)} are in {folder}, "
        f"but the index that names them, {stem}{suffix}.index.json, is not there{also}. Download all of them again, or "
        "save the model there with model.save_pretrained()."
    )


def headers(folder: Path) -> dict[str, Stored]:
    """Every tensor that would be loaded, by its name. Errors: UserError for a file cut off, a pointer of Git LFS,
    or no weights at all."""
    found: dict[str, Stored] = {}
    for path in weight_files(folder):
        found |= _safetensors(path) if path.suffix == ".safetensors" else _bin(path)
    return found


def tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every tensor's values, one after another, mapped from the files and not copied."""
    from safetensors import safe_open

    for path in weight_files(folder):
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # no mapping
                    yield name, file.get_tensor(name)
        else:
            yield from _loaded(path, "cpu").items()


def size(folder: Path) -> int:
    """Bytes of all files that would be loaded."""
    return sum(path.stat().st_size for path in weight_files(folder))


def _safetensors(path: Path) -> dict[str, Stored]:
    from safetensors import SafetensorError, safe_open

    held = path.stat().st_size
    try:
        with path.open("rb") as file:
            start = file.read(len(POINTER))
            _check_start(start, path)
            length = int.from_bytes(start[:8], "little")
            if length > min(MOST_HEADER, held):
                raise ValueError("it does not begin with a header")
            file.seek(8)
            header = json.loads(file.read(length))
            listed = {name: entry for name, entry in header.items() if name != "__metadata__"}
            ends = max((int(entry["data_offsets"][1]) for entry in listed.values()), default=0)
            if 8 + length + ends > held:
                raise UserError(
                    f"{path} is cut off: it has {held:,} bytes of the {8 + length + ends:,} that its header names, as "
                    "a download does that was interrupted. Download it again."
                )
            found = {name: Stored(tuple(entry["shape"]), str(entry["dtype"])) for name, entry in listed.items()}
        with safe_open(path, framework="pt"):  # holds offsets, shapes and types against each other
            return found
    except OSError as error:
        raise UserError(f"the weights {path} cannot be read ({error.strerror}).") from error
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, SafetensorError) as error:
        raise UserError(
            f"the weights {path} are no safetensors file ({gist(error)}). Download the file again, or save the model "
            "again with save_pretrained()."
        ) from error


def _bin(path: Path) -> dict[str, Stored]:
    codes = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int8": "I8", "uint8": "U8"}
    found = {}
    for name, tensor in _loaded(path, "meta").items():
        kind = str(tensor.dtype).removeprefix("torch.")
        found[name] = Stored(tuple(tensor.shape), codes.get(kind, kind.upper()))
    return found


def _loaded(path: Path, device: str) -> Mapping[str, Tensor]:
    """The tensors of a .bin file, of which nothing but tensors is ever loaded."""
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
    except Exception as error:  # pickle's, zip's or torch's, and whatever a broken file leads to
        raise UserError(
            f"the weights {path} cannot be read ({gist(error)}): the file is cut off, or holds more than tensors, "
            "which is never run. Download it again, or save the model as safetensors."
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in loaded.values()):
        raise UserError(f"the weights {path} are no table of tensors; save the model with save_pretrained().")
    return loaded


def _check_start(start: bytes, path: Path) -> None:
    if start == POINTER:
        raise UserError(about_pointer(path))
    if not start:
        raise UserError(f"the weights {path} are an empty file; download it again.")
    if start.lstrip().startswith(b"<"):
        raise UserError(f"the weights {path} are a web page, which was saved in their place. Download the file again.")


def blank(folder: Path) -> bool:
    """Whether all matrices, of which there are some, hold one number each in every place; the first that does not ends
    the search."""
    matrices = (tensor for _, tensor in tensors(folder) if tensor.ndim > 1 and tensor.numel() > 1)
    first = next(matrices, None)
    return first is not None and all(bool((m == m.flatten()[0]).all()) for m in itertools.chain([first], matrices))


def wild(folder: Path) -> tuple[str, int, int] | None:
    """The first tensor with values that are not finite, how many it has and of how many; None where there is none."""
    for name, tensor in tensors(folder):
        if tensor.is_floating_point() and not math.isfinite(float(tensor.float().sum())):
            bad = int((~tensor.float().isfinite()).sum())
            if bad:  # else only the sum is too large
                return name, bad, tensor.numel()
    return None
