"""Estimates the memory of the columns of a Parquet or Arrow file before they are decoded.

Encodings repeat a text for a few bits. So the footer is checked first; then texts stay in their dictionaries until
their full size is known, and other columns that may grow are read in small batches.
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
"""Cost of a record and its place, in values."""
_GROWING_BYTES = 2**25
_FEWEST_ROWS = 64
_BOUNDED = frozenset({"PLAIN", "RLE", "BIT_PACKED", "BYTE_STREAM_SPLIT"})
"""Encodings whose decoded text is no larger than the stored bytes."""
_DICTIONARY = _BOUNDED | {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
"""Encodings of text that can be read as a dictionary and indices."""
_FLAT = frozenset({"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE"})


def with_dictionary(schema: Any, footer: Any) -> list[str]:
    """The text columns that can be read entirely as a dictionary."""
    groups = map(footer.row_group, range(footer.num_row_groups))
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    others = {column.path_in_schema for column in columns if not {*column.encodings} <= _DICTIONARY}
    return [field.name for field in schema if is_string(field.type) and field.name not in others]


def check_footer(file: Path, footer: Any, left_out: Collection[str], texts: Collection[str], budget: Budget) -> int:
    """The number of rows per batch; Unreadable if the footer already shows that the rows exceed the budget."""
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
    fewest = max(1, min(_FEWEST_ROWS, budget.left_bytes // growing))  # no value is longer than everything stored
    return max(fewest, min(BATCH_ROWS, _GROWING_BYTES // growing))


def weight(array: Any) -> tuple[int, int]:
    """(bytes of text, number of values) of the array as Python values."""
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
    """The decompressed bytes of a message in an Arrow stream, as declared for each compressed buffer.

    Read from the flatbuffer itself, since pyarrow would have to decompress. Layout: Message and RecordBatch in
    format/Message.fbs of Apache Arrow. Errors: struct.error if the message is damaged.
    """
    head, body = memoryview(message.metadata), memoryview(message.body or b"")

    def number(form: str, place: int) -> int:
        return int(struct.unpack_from(form, head, place)[0])

    def field(table: int, which: int) -> int:
        """The offset of a table's field, 0 if it is absent."""
        known = table - number("<i", table)
        present = 4 + 2 * which < number("<H", known)
        offset = number("<H", known + 4 + 2 * which) if present else 0
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
