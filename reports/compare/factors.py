"""Factors that vary within a row of a report: prompt template, draw of training rows, order of demonstrations, seed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tunefront.reports.compare.checks import group_by

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from tunefront.bench.records import Record

ORDER = re.compile(r"(?<=[:,])order=([^,]*)(?:,|$)")
"""The field of a spelled method that numbers the order of its demonstrations."""


def draw_of(record: Record) -> tuple[str, int]:
    """The draw of training rows: the folder of published files (empty if drawn by hash) and the seed."""
    return record.data.draw_source or "", record.draw_seed


def order_of(record: Record) -> str | None:
    """The number of the order of demonstrations; None without demonstrations or without such a field."""
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
    """Template, draw and seed. Scores of two methods are a pair if these are equal."""
    return record.template, draw_of(record), record.seed


def levels(records: Iterable[Record], factor: str) -> int:
    """The number of values of a factor; 0 if the records have none (an encoder has no template)."""
    values = {FACTORS[factor](record) for record in records}
    return 0 if values == {None} else len(values)


def rows_used(record: Record) -> int | None:
    """Labelled rows that a method used: demonstrations requested for a prompt, else rows trained on.

    0 if it neither trains nor keeps anything nor has demonstrations, None if that is not recorded.
    """
    if record.prompt.demonstration_ids:
        return len(record.prompt.demonstration_ids[0])
    trainable = record.parameters.trainable
    return record.data.n_train if trainable or (trainable == 0 and record.storage.checkpoint_bytes) else trainable


def same_for_all_draws(record: Record) -> bool:
    """Whether a method used no rows, so that its run stands for every draw and seed."""
    return rows_used(record) == 0


def merge_orders(rows: Mapping[str, Sequence[Record]], reference: str) -> dict[str, list[Record]]:
    """Merges rows of a report that differ only in the order of their demonstrations.

    Rows stay separate if `reference` names one of them with its order, or if their demonstrations differ.
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
    """Whether each cell of a task has the same demonstrations in every order."""
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
