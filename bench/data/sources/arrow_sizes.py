"""How much memory the columns of a Parquet or Arrow file will take, known before they are decoded.

Encodings repeat a text for a few bits. So the footer is asked first; then texts stay in their dictionaries until their
full size is known, and whatever else could grow comes in small batches.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.compute

from tunefront.bench.data.sources.arrow_columns import is_string

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from tunefront.bench.data.sources.limits import Budget

BATCH_ROWS = 65_536
ROW_VALUES = 4
"""A record and its place cost about as much as four values."""
_GROWING_BYTES = 2**25
_FEWEST_ROWS = 64
_BOUNDED = frozenset({"PLAIN", "RLE", "BIT_PACKED", "BYTE_STREAM_SPLIT"})
"""Encodings that give no more bytes of text than they are stored in."""
_DICTIONARY = _BOUNDED | {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
"""Encodings of text that can be read as a dictionary and the places in it."""
_FLAT = frozenset({"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE"})


def with_dictionary(schema: Any, footer: Any) -> list[str]:
    """The text columns of which every part can be read as a dictionary."""
    groups = map(footer.row_group, range(footer.num_row_groups))
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    others = {column.path_in_schema for column in columns if not {*column.encodings} <= _DICTIONARY}
    return [field.name for field in schema if is_string(field.type) and field.name not in others]


def check_footer(file: Path, footer: Any, left_out: Collection[str], texts: Collection[str], budget: Budget) -> int:
    """How many rows a batch may have; Unreadable where the footer alone says that the rows are too many or large."""
    size, values, growing = 0, ROW_VALUES * footer.num_rows, 0
    for group in map(footer.row_group, range(footer.num_row_groups)):
        grows = 0
        for column in map(group.column, range(group.num_columns)):
            name = column.path_in_schema
            if any(name == other or name.startswith(f"{other}.") for other in left_out):
                continue
            size += column.total_uncompressed_size
            values += column.num_values
            if column.physical_type not in _FLAT and name not in texts and not {*column.encodings} <= _BOUNDED:
                grows += column.total_uncompressed_size
        growing = max(growing, grows)
    budget.check(file, size, values)
    if not growing:
        return BATCH_ROWS
    fewest = max(1, min(_FEWEST_ROWS, budget.left_bytes // growing))  # no value is longer than all that is stored
    return max(fewest, min(BATCH_ROWS, _GROWING_BYTES // growing))


def weight(array: Any) -> tuple[int, int]:
    """(bytes of text, number of values) that the array's Python values will take."""
    types, kind = pyarrow.types, array.type
    if isinstance(array, pyarrow.DictionaryArray):
        lengths = pyarrow.compute.binary_length(array.dictionary) if is_string(kind.value_type) else None
        if lengths is None:
            return array.dictionary.nbytes, len(array)
        return pyarrow.compute.sum(lengths.take(array.indices)).as_py() or 0, len(array)
    if is_string(kind) and not types.is_string_view(kind):
        return pyarrow.compute.sum(pyarrow.compute.binary_length(array)).as_py() or 0, len(array)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        parts = [weight(storage(array.flatten()))]
    elif types.is_struct(kind):
        parts = [weight(storage(part)) for part in array.flatten()]
    else:
        parts = []
    return sum(text for text, _ in parts) + array.nbytes * (not parts), len(array) + sum(count for _, count in parts)


def storage(array: Any) -> Any:
    return storage(array.storage) if isinstance(array, pyarrow.ExtensionArray) else array


def decompressed_bytes(message: Any) -> int:
    """How many bytes a message of an Arrow stream will take, by what it says of each compressed buffer.

    Read from the flatbuffer itself: pyarrow tells it only by decompressing. Layout: Message and RecordBatch in
    format/Message.fbs of Apache Arrow. Errors: struct.error where the message is broken.
    """
    head, body = memoryview(message.metadata), memoryview(message.body or b"")

    def number(form: str, place: int) -> int:
        return int(struct.unpack_from(form, head, place)[0])

    def field(table: int, which: int) -> int:
        """Where a table's field stands, 0 where it has none."""
        known = table - number("<i", table)
        given = 4 + 2 * which < number("<H", known)
        offset = number("<H", known + 4 + 2 * which) if given else 0
        return table + offset if offset else 0

    def follow(place: int) -> int:
        return place + number("<I", place)

    if message.type not in ("record batch", "dictionary"):
        return 0
    batch = follow(field(number("<I", 0), 2))
    if message.type == "dictionary":
        batch = follow(field(batch, 1))
    if not field(batch, 3):
        return len(body)
    buffers = follow(field(batch, 2))
    total = 0
    for place in range(buffers + 4, buffers + 4 + 16 * number("<I", buffers), 16):
        start, length = struct.unpack_from("<qq", head, place)
        if length:
            size = struct.unpack_from("<q", body, start)[0]
            total += length if size == -1 else size
    return total
