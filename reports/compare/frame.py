"""Records as a table: one row a record, what is in groups by its dotted name, values exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_origin

from tunefront.bench.records import GROUPS, Record, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

LONG = ("data.train_ids", "prompt.demonstration_ids")
"""Fields left out of the table: the ids of rows."""
MAPPINGS = frozenset(
    name
    for name, field in leaves().items()
    if any(get_origin(kind) is dict for kind in (field.annotation, *get_args(field.annotation)))
)
"""Fields that map names, each of which is a column; none where the mapping is null."""


def flatten(record: Record) -> dict[str, object]:
    """A record's fields with `score`, `selection_score` and `task_bytes`; what is in a group or mapping by its dotted
    name: `flops.train`, `recipe.learning_rate`, `memory.phases.forward.inputs`."""
    import pandas as pd

    content = record.model_dump()
    groups = {name: content.pop(name) for name in GROUPS}
    worked_out = {"score": record.score, "selection_score": record.selection_score, "task_bytes": record.task_bytes}
    table = pd.json_normalize({**content, "attempts": " | ".join(record.attempts), **worked_out, **groups})
    row = table.astype(object).iloc[0].to_dict()  # objects: a column of numbers would round whole ones
    return {str(name): value for name, value in row.items() if name not in (*LONG, *MAPPINGS)}


def to_frame(records: Iterable[Record]) -> pd.DataFrame:
    """A DataFrame with one row a record, in the order given, objects as they are (so that whole numbers stay whole)."""
    import pandas as pd

    return pd.DataFrame([flatten(record) for record in records], dtype=object)
