"""Reads the schema of a Parquet or Arrow file: class names, pandas' index, columns that cannot be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def class_names(schema: Any) -> dict[str, tuple[str, ...]]:
    """Column -> class names in label order, from the metadata that `datasets` writes into a schema."""
    features = _metadata(schema, b"huggingface").get("info", {})
    features = features.get("features", {}) if isinstance(features, dict) else {}
    names_by_column = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        given = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
        if isinstance(given, list) and given and all(isinstance(name, str) for name in given):
            names_by_column[column] = tuple(given)
    return names_by_column


def _index_columns(schema: Any, keep: Collection[str]) -> list[str]:
    """The columns that pandas wrote for its index. A named one counts as text if there is no other text column."""
    listed = _metadata(schema, b"pandas").get("index_columns", [])
    named = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    texts = [field.name for field in schema if is_string(field.type) and field.name not in (*named, *keep)]
    ours = [name for name in named if name in schema.names and name != "idx" and name not in keep]
    return [name for name in ours if texts or name.startswith("__index_level_") or not _is_text(schema, name)]


def _metadata(schema: Any, key: bytes) -> Mapping[str, Any]:
    try:
        metadata = json.loads((schema.metadata or {}).get(key, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def left_out(schema: Any, keep: Collection[str], notes: list[str]) -> set[str]:
    index = _index_columns(schema, keep)
    odd = [field for field in schema if not _readable(field.type) and field.name not in index]
    if index:
        notes.append(f"pandas' index left out ({', '.join(index)})")
    notes += (f"column {field.name} left out: its type is {str(field.type)[:60]}" for field in odd)
    return {*index, *(field.name for field in odd)}


def _readable(kind: Any) -> bool:
    """Whether values are null, text, numbers, booleans, or lists or structs of these."""
    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _readable(kind.storage_type)
    if types.is_dictionary(kind):
        return _readable(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _readable(kind.value_type)
    if types.is_struct(kind):
        return all(_readable(kind.field(place).type) for place in range(kind.num_fields))
    plain = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, is_string)
    return any(test(kind) for test in plain)


def is_string(kind: Any) -> bool:
    types = pyarrow.types
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _is_text(schema: Any, name: str) -> bool:
    return is_string(schema.field(name).type)
