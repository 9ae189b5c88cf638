"""Rows that occur in two splits: counted and named, never removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.bench.data.hashing import normalised

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

_NAMED_IDS = 5


def overlap_warnings(task: Task) -> tuple[str, ...]:
    """One sentence per evaluation split with rows whose inputs also occur in train, and for test rows that also occur
    in validation, which chooses among settings; up to case and spaces."""
    pairs = [(split, "train") for split in task.splits if split != "train"]
    pairs += [("test", "validation")] if {"test", "validation"} <= task.splits.keys() else []
    inputs = {other: {_normalised(task, row) for row in task.splits[other]} for _, other in pairs}
    warnings = []
    for split, other in pairs:
        rows = task.splits[split]
        repeated = [row.id for row in rows if _normalised(task, row) in inputs[other]]
        if repeated:
            named = ", ".join(repeated[:_NAMED_IDS]) + (", ..." if len(repeated) > _NAMED_IDS else "")
            count = (
                f"{len(repeated)} of {len(rows)} {split} rows also occur{'s' if len(repeated) == 1 else ''} in {other}"
            )
            warnings.append(f"{task.name}: {count} ({'ids' if len(repeated) > 1 else 'id'} {named})")
    return tuple(warnings)


def _normalised(task: Task, row: Row) -> tuple[str, ...]:
    return tuple(map(normalised, task.texts(row)))
