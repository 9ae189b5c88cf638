"""Records as a table: one row per record, grouped fields by dotted names, exact values."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_origin

from tunefront.bench.records.record import GROUPS, Percentiles, Record, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pandas as pd

LONG = ("data.train_ids", "prompt.demonstration_ids")
"""Fields that are left out of the table: lists of row ids."""
MAPPINGS = frozenset(
    name
    for name, field in leaves().items()
    if any(get_origin(kind) is dict or kind is Percentiles for kind in (field.annotation, *get_args(field.annotation)))
)
"""Fields that are mappings, or percentiles: each name in them is a column. A null one has none."""
_LEFT_OUT = frozenset((*LONG, *MAPPINGS))


def flatten(record: Record) -> dict[str, object]:
    """A record's fields with `score`, `selection_score` and `task_bytes`. Fields of groups and mappings have dotted
    names: `flops.train`, `recipe.learning_rate`, `memory.phases.forward.inputs`."""
    content = record.model_dump()
    groups = {name: content.pop(name) for name in GROUPS}
    derived = {"score": record.score, "selection_score": record.selection_score, "task_bytes": record.task_bytes}
    content |= {"attempts": " | ".join(record.attempts), **derived, **groups}
    single = {name: value for name, value in content.items() if not isinstance(value, dict)}
    nested = {name: value for name, value in content.items() if isinstance(value, dict)}
    row = {**single, **dict(_dotted(nested, ""))}
    return {name: value for name, value in row.items() if name not in _LEFT_OUT}


def _dotted(fields: Mapping[str, object], place: str) -> Iterator[tuple[str, object]]:
    """The values of nested mappings with their dotted names. `pandas.json_normalize` does the same, but makes a table
    of each record, which takes a hundred times as long."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


def to_frame(records: Iterable[Record], places: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A DataFrame with one row per record, in the given order. Its dtype is object, so integers stay exact. `places`,
    key -> results folder, add the column `results`."""
    import pandas as pd

    rows = [flatten(record) | ({} if places is None else {"results": places.get(record.key)}) for record in records]
    return pd.DataFrame(rows, dtype=object)
