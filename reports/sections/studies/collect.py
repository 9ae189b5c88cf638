"""The studies that a report shows: whatever the structure of the records gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunefront.bench.records import Record
from tunefront.bench.records.answers import AnswerFiles
from tunefront.reports.compare.aliases import unify_names
from tunefront.reports.compare.printable import make_printable
from tunefront.reports.names import join_names, short_names
from tunefront.reports.sections.studies.ablations import ablation_studies
from tunefront.reports.sections.studies.mixed import mixed_studies
from tunefront.reports.sections.studies.streams import stream_studies
from tunefront.reports.sections.studies.study import Material, Study
from tunefront.reports.sections.studies.trials import trial_studies

PROTOCOLS: tuple[Callable[[Material], Sequence[Study]], ...] = (
    trial_studies,
    ablation_studies,
    stream_studies,
    mixed_studies,
)
"""The functions that find the studies of one protocol."""


def studies(material: Material) -> tuple[Study, ...]:
    """The studies of all records, in the order of the protocols."""
    return tuple(study for find in PROTOCOLS for study in find(material))


def studies_of(records: Sequence[Record], answers: AnswerFiles) -> tuple[Study, ...]:
    """The studies of records of any status, as a command prints them when it ends."""
    shown = unify_names(make_printable(records))
    scored = tuple(record for record in shown if record.status == "ok")
    rest = tuple(record for record in shown if record.status in ("failed", "skipped"))
    names, backbones = (short_names(getattr(record, of) for record in shown) for of in ("task", "backbone"))
    return studies(Material(scored, names, backbones, answers, rest))


def mention(found: Sequence[Study]) -> list[str]:
    """The sentence at the top of the report that names its studies; empty without any."""
    return [f"Studied below: {join_names([study.title for study in found])}."] if found else []
