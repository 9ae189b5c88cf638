"""The ablations in a set of records, found by their structure: whichever command ran them."""

from __future__ import annotations

from tunefront.bench.records import Record
from tunefront.reports.compare import recipe_choice
from tunefront.reports.compare.protocols import ordinary
from tunefront.reports.compare.trials import is_pooled
from tunefront.reports.sections.studies.learning_curves import curve_studies
from tunefront.reports.sections.studies.losses import loss_studies
from tunefront.reports.sections.studies.span_removal import span_studies
from tunefront.reports.sections.studies.study import Material, Study
from tunefront.reports.sections.studies.sweeps import sweep_studies


def ablation_studies(material: Material) -> list[Study]:
    """The studies of spans, sizes and other numbers, losses and training rows. Where recipes were searched, only the
    records of the chosen ones count; where sizes were searched too, those on different tasks are no sweep."""
    records = ordinary(material.records)
    selection = recipe_choice.choose(records)
    chosen = selection.records

    def is_unchosen(record: Record) -> bool:
        """Whether several recipes of a record's cell are in the report, since none could be chosen."""
        return record.key in selection.unchosen

    return [
        *span_studies(material, chosen, selection.row),
        *sweep_studies(material, [record for record in chosen if not is_pooled(record)], selection.row, is_unchosen),
        *loss_studies(material, records),
        *curve_studies(material, chosen, selection.row),
    ]
