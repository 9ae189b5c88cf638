"""Reads Parquet and Arrow files in batches within the task's memory budget; other types are left out."""

from __future__ import annotations

import struct
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from shlex import quote
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from tunefront.bench.data.sources.arrow_columns import class_names
from tunefront.bench.data.sources.arrow_columns import left_out as columns_left_out
from tunefront.bench.data.sources.arrow_sizes import (
    BATCH_ROWS,
    ROW_VALUES,
    check_footer,
    decompressed_bytes,
    storage,
    weight,
    with_dictionary,
)
from tunefront.bench.data.sources.contents import check_kind, open_file, reason
from tunefront.bench.data.sources.limits import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from tunefront.bench.data.sources.limits import Budget
    from tunefront.bench.data.sources.tables import Record

_FEATHER_HEAD = 8
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_HEADS = {"Parquet": b"PAR1", "Arrow": b"ARROW1"}

Columns = tuple[list[str], list["Record"], dict[str, tuple[str, ...]]]
"""(column names in order, one record per row, class names by column)."""


def read_parquet(file: Path, budget: Budget, keep: Collection[str], notes: list[str]) -> Columns:
    """The rows of a Parquet file. `keep`: columns that are read even if they are the file's index.

    Errors: Unreadable.
    """
    with open_file(file) as source, _explained(file, "Parquet"):
        _check_head(file, source, "Parquet")
        plain = pyarrow.parquet.ParquetFile(source)
        schema = plain.schema_arrow
        left_out = columns_left_out(schema, keep, [])
        texts = with_dictionary(schema, plain.metadata)
        parquet = pyarrow.parquet.ParquetFile(source, read_dictionary=texts)
        rows = check_footer(file, parquet.metadata, left_out, texts, budget)
        wanted = [name for name in schema.names if name not in left_out]
        columns = wanted if left_out else None
        if rows < BATCH_ROWS:  # columns that may grow are weighed before any is kept
            scales = replace(budget)
            for batch in parquet.iter_batches(rows, columns=columns, use_threads=False):
                for name in wanted:
                    scales.spend(file, *weight(storage(batch[name])))
        batches = parquet.iter_batches(rows, columns=columns, use_threads=False)
        return read_batches(file, schema, batches, budget, keep, notes)


def read_arrow(file: Path, budget: Budget, keep: Collection[str], notes: list[str]) -> Columns:
    """The rows of an Arrow file in the streaming format, which `datasets` saves, or in Feather's format.

    Errors: Unreadable.
    """
    with open_file(file) as source, _explained(file, "Arrow"):
        feather = _check_head(file, source, "Arrow")
        _check_end(file, source, _HEADS["Arrow"] if feather else _END_OF_STREAM)
        start = _FEATHER_HEAD if feather else 0  # a Feather file contains a stream too
        source.seek(start)
        for message in pyarrow.ipc.MessageReader.open_stream(source):
            budget.check(file, decompressed_bytes(message))
        source.seek(start)
        reader = pyarrow.ipc.open_stream(source)
        return read_batches(file, reader.schema, _validated(reader), budget, keep, notes)


def read_batches(
    file: Path,
    schema: Any,  # pyarrow has no types
    batches: Iterable[Any],
    budget: Budget,
    keep: Collection[str],
    notes: list[str],
) -> Columns:
    """Record batches as records, without index columns and columns of types that are not read.

    Errors: Unreadable if a name occurs twice, a text is not UTF-8, or the rows exceed the budget.
    """
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise Unreadable(f"{file}: column {twice[0]!r} occurs twice; rename one of them.")
    left_out = columns_left_out(schema, keep, notes)
    names = [name for name in schema.names if name not in left_out]
    records: list[Record] = []
    for batch in batches:
        budget.spend(file, 0, ROW_VALUES * batch.num_rows)
        columns = [
            list(
                chain.from_iterable(_values(file, name, chunk, len(records), budget) for chunk in _chunks(batch[name]))
            )
            for name in names
        ]
        records += (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return names, records, {name: given for name, given in class_names(schema).items() if name in names}


def _check_head(file: Path, source: Any, what: str) -> bool:
    """Whether the file starts with the magic bytes of this format; Unreadable for those of another format."""
    head = source.read(4096)
    source.seek(0)
    known = head.startswith(_HEADS[what])
    if head.startswith(b"\x1f\x8b"):
        raise Unreadable(f"{file} is {what} within gzip; unpack a copy: gzip -dk {quote(str(file))}")
    if not known and not (what == "Arrow" and head.startswith(b"\xff\xff\xff\xff")):
        check_kind(file, head, what)
    return known


def _check_end(file: Path, source: Any, expected: bytes) -> None:
    """Errors: Unreadable if the end is missing: the rows before it are readable, so missing ones would go unnoticed."""
    source.seek(0, 2)
    source.seek(max(0, source.tell() - len(expected)))
    if source.read() != expected:
        raise Unreadable(f"{file} cannot be read as Arrow (its end is missing); download it again, or write it again.")


def _values(file: Path, name: str, array: Any, before: int, budget: Budget) -> list[object]:
    """The array as Python values, charged to the budget first. `before`: rows of the file before it, for messages."""
    array = storage(array)
    if pyarrow.types.is_string_view(array.type):
        step = max(1, min(len(array) or 1, budget.left_bytes // max(1, array.nbytes)))
        parts = (array.slice(start, step).cast(pyarrow.large_string()) for start in range(0, len(array), step))
        return list(chain.from_iterable(_values(file, name, part, before, budget) for part in parts))
    budget.spend(file, *weight(array))
    if pyarrow.types.is_decimal(array.type):
        array = array.cast(pyarrow.float64())  # numbers as in the other formats
    try:
        if isinstance(array, pyarrow.DictionaryArray):
            shared = array.dictionary.to_pylist()
            return [None if place is None else shared[place] for place in array.indices.to_pylist()]
        values: list[object] = array.to_pylist()
        return values
    except UnicodeDecodeError as error:
        row = before + 1 + next((n for n in range(len(array)) if not _decodes(array[n])), 0)
        raise Unreadable(
            f"{file}, row {row}: column {name!r} is not UTF-8 ({error.reason}); write the file again from its source, "
            "with texts as str, not bytes."
        ) from None


def _decodes(scalar: Any) -> bool:
    try:
        scalar.as_py()
    except UnicodeDecodeError:
        return False
    return True


def _chunks(column: Any) -> list[Any]:
    return column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]


def _validated(batches: Iterable[Any]) -> Iterator[Any]:
    """Validates the batches, since Arrow trusts the offsets of a file, which may point anywhere."""
    for batch in batches:
        batch.validate(full=True)
        yield batch


_FAILURES = (
    *(OSError, ValueError, KeyError, OverflowError, MemoryError, RecursionError),
    *(pyarrow.ArrowException, struct.error),
)
"""Exceptions raised by reading a damaged file."""


@contextmanager
def _explained(file: Path, what: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise Unreadable(
            f"{file} cannot be read as {what} ({reason(error)[:300]}); download it again, or write it again, for "
            "example with pandas."
        ) from None
