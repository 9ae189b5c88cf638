"""Reads a GGUF file's metadata and tensors; every length is compared with the size of the file before it is used.

The reader of the package `gguf` takes four seconds for the vocabulary of a small model, and a wrong count in a damaged
file makes it loop until memory is full. Only the dequantisation of that package is used.
Source: the specification of the format, github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import functools
import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from tunefront.bench.errors import UserError, printable
from tunefront.bench.models.json_files import POINTER

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"GGUF"
VERSIONS = (2, 3)
"""Of the format; version 1 was in use for two months of 2023."""
MOST_METADATA = 256 * 2**20
"""Most bytes before the tensors; a vocabulary of 260,000 tokens with its merges takes 20 MB."""
MOST_DIMENSIONS = 4
MOST_NAME = 256
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "?",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
"""Number of a type in the file -> numpy's name."""
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in the file: its shape (outermost dimension first), the name of its quantisation, and the position and
    number of its bytes."""

    shape: tuple[int, ...]
    kind: str
    start: int
    size: int

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


@dataclass
class GGUF:
    """An open GGUF file with its metadata and the positions of its tensors.

    Args: file, seekable; what, its name in messages. Errors: UserError for a file that is not GGUF, is cut off, has
    lengths that exceed it, or tensors that cannot be dequantised.
    """

    file: IO[bytes]
    what: str
    metadata: dict[str, Any] = field(init=False)  # Any: numbers, strings, arrays of either
    tensors: dict[str, StoredTensor] = field(init=False)

    def __post_init__(self) -> None:
        size = self.file.seek(0, os.SEEK_END)
        self.file.seek(0)
        header = _Header(self.file, size, self.what)
        self.metadata, self.tensors = header.read()

    def array(self, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A tensor's values in float32, dequantised by gguf."""
        import numpy as np
        from gguf import GGMLQuantizationType, dequantize

        stored = self.tensors[name]
        self.file.seek(stored.start)
        raw = self.file.read(stored.size)
        if len(raw) != stored.size:
            raise UserError(f"{self.what} became shorter while it was read; repeat the command once it is complete.")
        rows = np.frombuffer(raw, np.uint8).reshape(*stored.shape[:-1], -1)
        with np.errstate(all="ignore"):  # check_finite() reports values that are not finite
            values = dequantize(rows, GGMLQuantizationType[stored.kind])
        return np.ascontiguousarray(values.reshape(stored.shape), dtype=np.float32)


class _Header:
    """Reads everything before the tensors."""

    def __init__(self, file: IO[bytes], size: int, what: str):
        self.file, self.size, self.what, self.at = file, size, what, 0

    def read(self) -> tuple[dict[str, Any], dict[str, StoredTensor]]:  # Any: as `GGUF.metadata`
        start = self.file.read(len(POINTER))
        self.file.seek(0)
        if start == POINTER:
            raise UserError(
                f"{self.what} is a Git LFS pointer, which names the file and is not it: run `git lfs pull` in its "
                "folder."
            )
        if start[:4] != MAGIC:
            raise UserError(f"{self.what} is not a GGUF file: it does not start with GGUF. Download it again.")
        self._take(4)
        version = self._number("<I")
        if version not in VERSIONS:
            raise UserError(
                f"{self.what} is of version {version} of the format, or its bytes are in big-endian order; versions 2 "
                "and 3 in little-endian order are read. Convert the original model again with llama.cpp."
            )
        tensors, entries = self._number("<Q"), self._number("<Q")
        self._check_count(entries, 13, "entries of metadata")  # a name's length, a type and a byte
        self._check_count(tensors, 24, "tensors")  # a name's length, dimensions, a type and an offset
        metadata: dict[str, Any] = {}  # Any: as `GGUF.metadata`
        for _ in range(entries):
            name = self._text("the name of an entry of metadata")
            if name in metadata:
                raise self._damaged(f"its metadata has {_shown(name)} twice")
            metadata[name] = self._value(self._number("<I"), name)
        listed = [self._tensor() for _ in range(tensors)]
        return metadata, self._placed(listed, self._alignment(metadata))

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text("a tensor's name")
        dimensions = self._number("<I")
        if not name or len(name) > MOST_NAME or not 1 <= dimensions <= MOST_DIMENSIONS:
            raise self._damaged(f"its tensor {_shown(name)} has {dimensions} dimensions")
        shape = tuple(self._number("<Q") for _ in range(dimensions))[::-1]
        return name, shape, self._number("<I"), self._number("<Q")

    def _placed(self, listed: list[tuple[str, tuple[int, ...], int, int]], alignment: int) -> dict[str, StoredTensor]:
        """The tensors with their positions; UserError if one of them is not within the file."""
        data = -(-self.at // alignment) * alignment
        placed: dict[str, StoredTensor] = {}
        for name, shape, number, offset in listed:
            kind = self._kind(name, number)
            numbers, bytes_ = _sizes()[kind]
            if not math.prod(shape) or shape[-1] % numbers:
                raise self._damaged(f"its tensor {_shown(name)} of {kind} has the shape {shape}")
            stored = StoredTensor(shape, kind, data + offset, math.prod(shape) // numbers * bytes_)
            if name in placed:
                raise self._damaged(f"it has the tensor {_shown(name)} twice")
            placed[name] = stored
        ends = max((stored.start + stored.size for stored in placed.values()), default=0)
        if ends > self.size:
            raise UserError(f"{self.what} is cut off: it has {self.size:,} bytes of {ends:,}. Download it again.")
        return placed

    def _kind(self, name: str, number: int) -> str:
        known = _kinds()
        if number not in known:
            raise UserError(
                f"{self.what} cannot be read: its tensor {_shown(name)} has the quantisation {_name(number)}, which "
                f"the package gguf cannot undo. Supported: {', '.join(known.values())}. Give a file in one of these, "
                "or the model before it was quantised."
            )
        return known[number]

    def _alignment(self, metadata: dict[str, Any]) -> int:  # Any: as `GGUF.metadata`
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= 2**20 or alignment & (alignment - 1):
            raise self._damaged(f"its general.alignment is {_shown(str(alignment))}, and must be a power of two")
        return alignment

    def _value(self, kind: int, name: str) -> Any:  # Any: as `GGUF.metadata`
        if kind == _STRING:
            return self._text(name)
        if kind != _ARRAY:
            return self._numbers(kind, 1, name)[0].item()
        kind, count = self._number("<I"), self._number("<Q")
        if kind == _STRING:
            self._check_count(count, 8, name)
            return [self._text(name) for _ in range(count)]
        return self._numbers(kind, count, name)

    def _numbers(self, kind: int, count: int, name: str) -> Any:  # Any: an array of numpy
        import numpy as np

        if kind not in _SCALARS:
            raise self._damaged(f"{_shown(name)} in its metadata is of the type {kind}, which is not known")
        size = np.dtype(_SCALARS[kind]).itemsize
        self._check_count(count, size, name)
        return np.frombuffer(self._take(count * size), _SCALARS[kind])

    def _text(self, name: str) -> str:
        length = self._number("<Q")
        self._check_count(length, 1, name)
        try:
            return self._take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._damaged(f"{_shown(name)} is not UTF-8") from error

    def _number(self, layout: str) -> int:
        (number,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        return int(number)

    def _check_count(self, count: int, each: int, name: str) -> None:
        """UserError if the rest of the file is too short for `count` items of at least `each` bytes."""
        if count > min(self.size - self.at, MOST_METADATA) // each:
            raise UserError(
                f"{self.what} cannot be read: the length of {_shown(name)} is {count:,}, and the rest of the "
                "file is shorter. It is cut off or damaged; download it again."
            )

    def _take(self, count: int) -> bytes:
        self.at += count
        if self.at > MOST_METADATA:
            raise self._damaged(f"its metadata takes more than {MOST_METADATA:,} bytes")
        content = self.file.read(count)
        if len(content) != count:
            raise UserError(f"{self.what} is cut off within its metadata, at {self.size:,} bytes. Download it again.")
        return content

    def _damaged(self, why: str) -> UserError:
        return UserError(f"{self.what} cannot be read: {why}. The file is damaged; download it again.")


def kind_of(file: GGUF) -> str:
    """The quantisation of most values in a file, as the format names it (Q4_K)."""
    amounts: dict[str, int] = {}
    for stored in file.tensors.values():
        amounts[stored.kind] = amounts.get(stored.kind, 0) + stored.numbers
    return max(amounts, key=lambda kind: amounts[kind], default="F32")


def whole_number(file: GGUF, name: str, default: int | None = None) -> int:
    """A whole number of the metadata. Errors: UserError if it is missing or of another type."""
    value = file.metadata.get(name, default)
    if type(value) is not int:
        raise metadata_error(file, name, "a whole number")
    return value


def decimal(file: GGUF, name: str, default: float | None = None) -> float:
    """A number of the metadata, as the shortest decimal with the same float32 value (1e-05).

    Errors: as `whole_number`.
    """
    import numpy as np

    value = file.metadata.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise metadata_error(file, name, "a number")
    return float(str(np.float32(value)))


def metadata_error(file: GGUF, name: str, what: str) -> UserError:
    """The error for an entry of the metadata that is missing or is not `what`."""
    value = file.metadata.get(name)
    fault = "has no" if value is None else "has an invalid"
    return UserError(
        f"the metadata of {file.what} {fault} {name}; it must be {what}. Convert the original model again with "
        "llama.cpp, or give its folder with config.json and safetensors."
    )


@functools.cache
def _kinds() -> dict[int, str]:
    """Number in the file -> name, for all quantisations that gguf can undo."""
    from gguf import GGMLQuantizationType

    return {kind.value: kind.name for kind in GGMLQuantizationType if _dequantises(kind)}


def _dequantises(kind: Any) -> bool:  # Any: gguf's enumeration, imported late
    import numpy as np
    from gguf import GGML_QUANT_SIZES, dequantize

    try:
        dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


@functools.cache
def _sizes() -> dict[str, tuple[int, int]]:
    """Name of a quantisation -> values and bytes per block."""
    from gguf import GGML_QUANT_SIZES

    return {kind.name: sizes for kind, sizes in GGML_QUANT_SIZES.items()}


def _name(number: int) -> str:
    from gguf import GGMLQuantizationType

    by_number: Callable[[int], Any] = GGMLQuantizationType  # Any: as above
    try:
        return str(by_number(number).name)
    except ValueError:
        return f"number {number}"


def _shown(name: str) -> str:
    return repr(printable(name[:100], single_line=True))
