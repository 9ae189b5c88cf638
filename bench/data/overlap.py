"""Rows that occur in both the training split and one that is evaluated on: counted and named, never removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunefront.bench.data.task import Row, Task

_NAMED_IDS = 5


def overlap_warnings(task: Task) -> tuple[str, ...]:
    """One sentence for every evaluation split with rows whose inputs also occur in train; case and spaces set aside."""
    seen = {_normalised(task, row) for row in task.splits["train"]}
    found = []
    for split, rows in task.splits.items():
        again = [row.id for row in rows if _normalised(task, row) in seen] if split != "train" else []
        if again:
            named = ", ".join(again[:_NAMED_IDS]) + (", ..." if len(again) > _NAMED_IDS else "")
            count = f"{len(again)} of {len(rows)} {split} rows also occur{'s' if len(again) == 1 else ''} in train"
            found.append(f"{task.name}: {count} ({'ids' if len(again) > 1 else 'id'} {named})")
    return tuple(found)


def _normalised(task: Task, row: Row) -> tuple[str, ...]:
    return tuple(" ".join(text.casefold().split()) for text in task.texts(row))
