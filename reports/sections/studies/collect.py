"""The studies that a report shows: whatever the structure of the records gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunefront.reports.names import join_names
from tunefront.reports.sections.studies.ablations import ablation_studies
from tunefront.reports.sections.studies.study import Material, Study

PROTOCOLS: tuple[Callable[[Material], Sequence[Study]], ...] = (ablation_studies,)
"""The functions that find the studies of one protocol."""


def studies(material: Material) -> tuple[Study, ...]:
    """The studies of all records, in the order of the protocols."""
    return tuple(study for find in PROTOCOLS for study in find(material))


def mention(found: Sequence[Study]) -> list[str]:
    """The sentence at the top of the report that names its studies; empty without any."""
    return [f"Studied below: {join_names([study.title for study in found])}."] if found else []
