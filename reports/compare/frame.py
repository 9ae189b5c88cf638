"""Records as a table: one row a record, nested fields by their dotted names, values exact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel

from tunefront.bench.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

NESTED = (
    *("recipe", "settings", "scores", "selection_scores", "baseline_scores", "versions", "fingerprints"),
    *("checkpoint_dtypes", "flops", "memory", "step_seconds", "method_sources"),
)
LONG = ("train_ids", "demonstration_ids")
"""Fields left out of the table: the ids of rows."""


def flatten(record: Record) -> dict[str, object]:
    """A record's fields with `score`, `selection_score` and `task_bytes`, nested ones as `recipe.learning_rate`."""
    row: dict[str, object] = {}
    for name in Record.model_fields:
        value = getattr(record, name)
        if name in LONG:
            continue
        if name in NESTED:
            row.update(_flat(name, value or {}))
        else:
            row[name] = " | ".join(value) if name == "attempts" else value
        if name == "headline":
            row["score"], row["selection_score"] = record.score, record.selection_score
        if name == "demonstration_bytes":
            row["task_bytes"] = record.task_bytes
    return row


def _flat(name: str, value: object) -> dict[str, object]:
    """Nested values by their dotted names.

    >>> _flat("memory", {"forward": {"inputs": 8}})
    {'memory.forward.inputs': 8}
    """
    inner = dict(value) if isinstance(value, Mapping | BaseModel) else None
    if inner is None:
        return {name: value}
    return {key: content for part in inner for key, content in _flat(f"{name}.{part}", inner[part]).items()}


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """A DataFrame with one row a record, in the order given, objects as they are (so that whole numbers stay whole)."""
    import pandas as pd

    return pd.DataFrame([flatten(record) for record in records], dtype=object)
