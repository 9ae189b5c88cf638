"""Which protocol a record belongs to: those of some protocols are no part of a comparison of methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tunefront.bench.records import Record
from tunefront.reports.compare.checks import cell_of, group_by
from tunefront.reports.units import number

SEPARATE: Mapping[str, Callable[[Record], object]] = {"stream": lambda record: record.stream.way}
"""Protocol -> the group that only its records have. Such records have a section of their own, and are in no panel."""
SPANS = "removed_spans"
"""The setting that only adds scores to a record: those without what was inserted into spans of blocks."""


def is_ordinary(record: Record) -> bool:
    """Whether a record is one of a comparison of methods, and so belongs into a panel."""
    return protocol_of(record) is None


def protocol_of(record: Record) -> str | None:
    """The protocol whose record this is; None for the comparison of methods."""
    return next((name for name, group in SEPARATE.items() if group(record) is not None), None)


def ordinary(records: Iterable[Record]) -> list[Record]:
    """The records of a comparison of methods. Of those that differ only in the spans whose scores they add, the one
    with most spans, so that a cell that ran with and without an ablation counts once."""
    kept = [record for record in records if is_ordinary(record)]
    if all(record.spans is None for record in kept):
        return kept
    most = {id(max(group, key=lambda record: len(record.spans or ()))) for group in group_by(kept, _else).values()}
    return [record for record in kept if id(record) in most]


def _else(record: Record) -> tuple[object, ...]:
    """Everything of a record's identity but its spans."""
    settings = tuple(sorted((name, number(value)) for name, value in record.settings.items() if name != SPANS))
    return (
        cell_of(record),
        settings,
        tuple(sorted(record.versions.items())),
        tuple(sorted(record.fingerprints.items())),
    )
