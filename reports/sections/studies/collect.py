"""The studies that a report shows: whatever the structure of the records gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunefront.reports.names import join_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tunefront.bench.records import Record
    from tunefront.reports.sections.studies.study import Study

PROTOCOLS: tuple[Callable[[Sequence[Record], Mapping[str, str], Mapping[str, str]], Sequence[Study]], ...] = ()
"""The functions that find the studies of one protocol in the ok records. They are given the records, the short names of
the tasks, and those of the backbones."""


def studies(records: Sequence[Record], names: Mapping[str, str], backbones: Mapping[str, str]) -> tuple[Study, ...]:
    """The studies in these ok records, ordinary and others, in the order of the protocols."""
    return tuple(study for find in PROTOCOLS for study in find(records, names, backbones))


def mention(found: Sequence[Study]) -> list[str]:
    """The sentence at the top of the report that names its studies; empty without any."""
    return [f"Studied below: {join_names([study.title for study in found])}."] if found else []
