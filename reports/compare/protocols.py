"""Which protocol a record belongs to: those of some protocols are no part of a comparison of methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tunefront.bench.records import Record

SEPARATE: Mapping[str, Callable[[Record], object]] = {}
"""Protocol -> the group that only its records have. Such records have a section of their own, and are in no panel."""


def is_ordinary(record: Record) -> bool:
    """Whether a record is one of a comparison of methods, and so belongs into a panel."""
    return protocol_of(record) is None


def protocol_of(record: Record) -> str | None:
    """The protocol whose record this is; None for the comparison of methods."""
    return next((name for name, group in SEPARATE.items() if group(record) is not None), None)
