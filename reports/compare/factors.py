"""What may vary within a row of a report: the prompt's template, the draw of rows, the order of demonstrations, the
seed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunefront.reports.compare.checks import group_by

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record

ORDER = re.compile(r"(?<=[:,])order=([^,]*)(?:,|$)")
"""The field of a spelled method that says in which order its demonstrations stand."""


def draw_of(record: Record) -> tuple[str, int]:
    """Which draw of training rows: the folder of published files (empty: drawn by hash) and the seed."""
    return record.data.draw_source or "", record.draw_seed


def order_of(record: Record) -> str | None:
    """The number of the demonstrations' order, None of a record without demonstrations or of a method without it."""
    match = ORDER.search(record.method) if record.prompt.demonstration_ids else None
    return match.group(1) if match else None


FACTORS: Mapping[str, Callable[[Record], Hashable]] = {
    "template": lambda record: record.template,
    "draw": draw_of,
    "order": order_of,
    "seed": lambda record: record.seed,
}
"""The factors by name."""


def cell_of(record: Record) -> tuple[Hashable, ...]:
    """Template, draw and seed: what two methods must share for their scores to be a pair."""
    return record.template, draw_of(record), record.seed


def levels(records: Iterable[Record], factor: str) -> int:
    """How many values of a factor occur, 0 where the records have none (an encoder's, of templates)."""
    values = {FACTORS[factor](record) for record in records}
    return 0 if values == {None} else len(values)


def rows_used(record: Record) -> int | None:
    """Labelled rows that a method used: demonstrations asked for in a prompt, else rows trained on; 0 where it neither
    trains nor has demonstrations, None where that is not recorded."""
    if record.prompt.demonstration_ids:
        return len(record.prompt.demonstration_ids[0])
    return record.data.n_train if record.parameters.trainable else record.parameters.trainable


def merge_orders(rows: Mapping[str, Sequence[Record]], reference: str) -> dict[str, list[Record]]:
    """Rows of a report by label, those that differ only in the order of their demonstrations made one.

    A row that `reference` names by its order stays as it is, and so do those of which other demonstrations are known.
    """
    merged: dict[str, list[Record]] = {}
    for short, labels in group_by(rows, lambda label: _without_order(label, rows[label])).items():
        records = [record for label in labels for record in rows[label]]
        is_reference = reference != short and reference in labels
        if len(labels) > 1 and not is_reference and _same_demonstrations(records):
            merged[short] = records
        else:
            merged.update({label: list(rows[label]) for label in labels})
    return merged


def _without_order(label: str, records: Sequence[Record]) -> str:
    """A label without its order.

    >>> ORDER.sub("", "icl:k=4,order=1").rstrip(":,"), ORDER.sub("", "icl:order=2").rstrip(":,")
    ('icl:k=4', 'icl')
    """
    return ORDER.sub("", label).rstrip(":,") if all(order_of(record) for record in records) else label


def _same_demonstrations(records: Iterable[Record]) -> bool:
    """Whether the demonstrations of a task's cell are the same rows whatever the order."""
    cells = group_by(records, lambda record: (record.task, *cell_of(record)))
    return all(
        len(
            {
                frozenset(id for prompt in record.prompt.demonstration_ids or () for id in prompt)
                for record in cell_records
            }
        )
        == 1
        for cell_records in cells.values()
    )
