"""Every number of a study leads to the records that it is made of."""

from __future__ import annotations

import pytest

from tests.reports.sections.studies import test_learning_curves, test_losses, test_mixed, test_span_removal, test_sweeps
from tests.reports.sections.studies.test_streams import records as streamed
from tunefront.reports.formats.html import link_of
from tunefront.reports.sections import document

MADE = {
    "streams": streamed,
    "sweeps": lambda: test_sweeps.adapters((1, 4, 16)),
    "spans": lambda: [test_span_removal.ablated()],
    "losses": lambda: [*test_losses.trained(), test_losses.untrained()],
    "mixed": test_mixed.members,
    "curves": lambda: test_learning_curves.curve("ia3", {16: 0.6, 64: 0.7, 256: 0.8}),
}


@pytest.mark.parametrize("name", MADE)
def test_every_number_of_a_study_has_records(name):
    made = MADE[name]()
    report = document.compose(made)
    rows = {record.key: place for place, record in enumerate(report.records)}
    assert report.studies
    for study in report.studies:
        for table in study.tables:
            for number, row in enumerate(table.rows):
                keys = table.keys[number] if table.keys else ()
                for place, cell in enumerate(row[table.leading :], table.leading):
                    if table.columns[place].numeric and cell.number is not None:
                        assert link_of(row, place, True, keys, rows), (study.tag, table.caption, cell.text)


def test_a_mean_over_orders_leads_to_the_steps_of_all_of_them():
    (study, *_) = document.compose(MADE["streams"]()).studies
    keys = study.tables[0].keys
    assert len(keys) == len(study.tables[0].rows)
    assert all(len(own) > 1 for own in keys)
