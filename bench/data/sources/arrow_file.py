"""Parquet and Arrow files: read in batches under the task's budget, with what their metadata says of columns.

A small file can stand for gigabytes: encodings repeat a text for a few bits. So the footer is asked first; then texts
stay in their dictionaries until their full size is known, and whatever else could grow comes in small batches.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet

from tunefront.bench.data.sources.contents import check_kind, open_file, reason
from tunefront.bench.data.sources.limits import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from tunefront.bench.data.sources.limits import Budget
    from tunefront.bench.data.sources.tables import Record

_BATCH_ROWS = 65_536
_GROWING_BYTES = 2**25
_FEWEST_ROWS = 64
_ROW_VALUES = 4  # a record and its place cost about as much as four values
_BOUNDED = frozenset({"PLAIN", "RLE", "BIT_PACKED", "BYTE_STREAM_SPLIT"})
"""Encodings that give no more bytes of text than they are stored in."""
_DICTIONARY = _BOUNDED | {"RLE_DICTIONARY", "PLAIN_DICTIONARY"}
"""Encodings of text that can be read as a dictionary and the places in it."""
_FLAT_BYTES = {"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE"}
_HEADS = {"Parquet": b"PAR1", "Arrow": b"ARROW1"}

Columns = tuple[list[str], list["Record"], dict[str, tuple[str, ...]]]
"""(names in order, a record for each row, class names by column)."""


def read_parquet(file: Path, budget: Budget, keep: Collection[str], notes: list[str]) -> Columns:
    """The rows of a Parquet file. `keep`: columns that are read even where they are the file's index.

    Errors: Unreadable.
    """
    with open_file(file) as source, _explained(file, "Parquet"):
        _check_head(file, source, "Parquet")
        plain = pyarrow.parquet.ParquetFile(source)
        schema = plain.schema_arrow
        left_out = _left_out(schema, keep, [])
        texts = _with_dictionary(schema, plain.metadata)
        parquet = pyarrow.parquet.ParquetFile(source, read_dictionary=texts)
        rows = _check_footer(file, parquet.metadata, left_out, texts, budget)
        wanted = [name for name in schema.names if name not in left_out]
        columns = wanted if left_out else None
        if rows < _BATCH_ROWS:  # what could grow is weighed before any of it is kept
            scales = replace(budget)
            for batch in parquet.iter_batches(rows, columns=columns, use_threads=False):
                for name in wanted:
                    scales.spend(file, *_weight(_plain(batch[name])))
        batches = parquet.iter_batches(rows, columns=columns, use_threads=False)
        return read_batches(file, schema, batches, budget, keep, notes)


def read_arrow(file: Path, budget: Budget, keep: Collection[str], notes: list[str]) -> Columns:
    """The rows of an Arrow file, of the streaming format, in which `datasets` saves, or of Feather's.

    Errors: Unreadable.
    """
    with open_file(file) as source, _explained(file, "Arrow"):
        if _check_head(file, source, "Arrow"):
            reader = pyarrow.ipc.open_file(source)
            batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            reader = batches = pyarrow.ipc.open_stream(source)
        return read_batches(file, reader.schema, _validated(batches), budget, keep, notes)


def read_batches(
    file: Path,
    schema: Any,  # pyarrow has no types
    batches: Iterable[Any],
    budget: Budget,
    keep: Collection[str],
    notes: list[str],
) -> Columns:
    """Record batches as records, without the columns that hold no text, numbers or lists of them, and without indices.

    Errors: Unreadable where a name occurs twice, a text is not UTF-8 or the budget does not allow the rows.
    """
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise Unreadable(f"{file}: column {twice[0]!r} occurs twice; rename one of them.")
    left_out = _left_out(schema, keep, notes)
    names = [name for name in schema.names if name not in left_out]
    records: list[Record] = []
    for batch in batches:
        budget.spend(file, 0, _ROW_VALUES * batch.num_rows)
        columns = [
            list(
                chain.from_iterable(_values(file, name, chunk, len(records), budget) for chunk in _chunks(batch[name]))
            )
            for name in names
        ]
        records += (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return names, records, {name: given for name, given in class_names(schema).items() if name in names}


def class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Column -> names of its classes in label order, from what `datasets` writes into a schema's metadata."""
    features = _metadata(schema, b"huggingface").get("info", {})
    features = features.get("features", {}) if isinstance(features, dict) else {}
    found = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        given = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
        if isinstance(given, list) and given and all(isinstance(name, str) for name in given):
            found[column] = tuple(given)
    return found


def _index_columns(schema: Any, keep: Collection[str]) -> list[str]:
    """The columns that pandas made of an index. One with a name of its own is text where nothing else is."""
    listed = _metadata(schema, b"pandas").get("index_columns", [])
    named = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    texts = [field.name for field in schema if _is_string(field.type) and field.name not in (*named, *keep)]
    ours = [name for name in named if name in schema.names and name != "idx" and name not in keep]
    return [name for name in ours if texts or name.startswith("__index_level_") or not _is_text(schema, name)]


def _metadata(schema: Any, key: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _left_out(schema: Any, keep: Collection[str], notes: list[str]) -> set[str]:
    index = _index_columns(schema, keep)
    odd = [field for field in schema if not _readable(field.type) and field.name not in index]
    if index:
        notes.append(f"pandas' index left out ({', '.join(index)})")
    notes += (f"column {field.name} left out, which holds {str(field.type)[:60]}" for field in odd)
    return {*index, *(field.name for field in odd)}


def _readable(kind: Any) -> bool:
    """Whether values are null, text, numbers, truth values, or lists or structures of such."""
    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _readable(kind.storage_type)
    if types.is_dictionary(kind):
        return _readable(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _readable(kind.value_type)
    if types.is_struct(kind):
        return all(_readable(kind.field(place).type) for place in range(kind.num_fields))
    plain = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, _is_string)
    return any(test(kind) for test in plain)


def _is_string(kind: Any) -> bool:
    types = pyarrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_text(schema: Any, name: str) -> bool:
    return _is_string(schema.field(name).type)


def _check_head(file: Path, source: Any, what: str) -> bool:
    """Whether the file starts as one of this format does; Unreadable where it starts as another."""
    head = source.read(4096)
    source.seek(0)
    known = head.startswith(_HEADS[what])
    if not known and not (what == "Arrow" and head.startswith(b"\xff\xff\xff\xff")):
        check_kind(file, head, what)
    return known


def _with_dictionary(schema: Any, footer: Any) -> list[str]:
    """The text columns of which every part can be read as a dictionary."""
    groups = map(footer.row_group, range(footer.num_row_groups))
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    others = {column.path_in_schema for column in columns if not {*column.encodings} <= _DICTIONARY}
    return [field.name for field in schema if _is_string(field.type) and field.name not in others]


def _check_footer(file: Path, footer: Any, left_out: Collection[str], texts: Collection[str], budget: Budget) -> int:
    """How many rows a batch may have; Unreadable where the footer alone says that the rows are too many or large."""
    size, values, growing = 0, _ROW_VALUES * footer.num_rows, 0
    for group in map(footer.row_group, range(footer.num_row_groups)):
        grows = 0
        for column in map(group.column, range(group.num_columns)):
            name = column.path_in_schema
            if any(name == other or name.startswith(f"{other}.") for other in left_out):
                continue
            size += column.total_uncompressed_size
            values += column.num_values
            if column.physical_type not in _FLAT_BYTES and name not in texts and not {*column.encodings} <= _BOUNDED:
                grows += column.total_uncompressed_size
        growing = max(growing, grows)
    budget.check(file, size, values)
    if not growing:
        return _BATCH_ROWS
    fewest = max(1, min(_FEWEST_ROWS, budget.left_bytes // growing))  # no value is longer than all that is stored
    return max(fewest, min(_BATCH_ROWS, _GROWING_BYTES // growing))


def _values(file: Path, name: str, array: Any, before: int, budget: Budget) -> list[object]:
    """The array as Python values, booked first. `before`: the file's rows before it, to name the place of a mistake."""
    array = _plain(array)
    if pyarrow.types.is_string_view(array.type):
        step = max(1, min(len(array) or 1, budget.left_bytes // max(1, array.nbytes)))
        parts = (array.slice(start, step).cast(pyarrow.large_string()) for start in range(0, len(array), step))
        return list(chain.from_iterable(_values(file, name, part, before, budget) for part in parts))
    budget.spend(file, *_weight(array))
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


def _weight(array: Any) -> tuple[int, int]:
    """(bytes of text, number of values) that the array's Python values will take."""
    types, kind = pyarrow.types, array.type
    if isinstance(array, pyarrow.DictionaryArray):
        lengths = pyarrow.compute.binary_length(array.dictionary) if _is_string(kind.value_type) else None
        if lengths is None:
            return array.dictionary.nbytes, len(array)
        return pyarrow.compute.sum(lengths.take(array.indices)).as_py() or 0, len(array)
    if _is_string(kind) and not types.is_string_view(kind):
        return pyarrow.compute.sum(pyarrow.compute.binary_length(array)).as_py() or 0, len(array)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        parts = [_weight(_plain(array.flatten()))]
    elif types.is_struct(kind):
        parts = [_weight(_plain(part)) for part in array.flatten()]
    else:
        parts = []
    return sum(text for text, _ in parts) + array.nbytes * (not parts), len(array) + sum(count for _, count in parts)


def _plain(array: Any) -> Any:
    return _plain(array.storage) if isinstance(array, pyarrow.ExtensionArray) else array


def _chunks(column: Any) -> list[Any]:
    return column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]


def _validated(batches: Iterable[Any]) -> Iterator[Any]:
    """Arrow trusts the offsets of its own files; those of a stranger may point anywhere."""
    for batch in batches:
        batch.validate(full=True)
        yield batch


@contextmanager
def _explained(file: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pyarrow.ArrowException, ValueError, KeyError, OverflowError, MemoryError) as error:
        raise Unreadable(
            f"{file} cannot be read as {what} ({reason(error)[:300]}); fetch it again, or write it again, for example "
            "by pandas."
        ) from None
