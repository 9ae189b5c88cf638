"""The tables of records in the PDF: in parts, since Typst's time grows with the square of a table's rows."""

from __future__ import annotations

import pytest

from tests.reports import factory
from tunefront.reports.formats import pdf
from tunefront.reports.sections.document import compose


@pytest.mark.parametrize(("most", "sizes"), [(4, [4]), (3, [3, 1])])
def test_records_of_a_panel_are_in_tables_of_limited_length(monkeypatch, most, sizes):
    monkeypatch.setattr(pdf, "MOST_ROWS", most)
    page = compose(factory.grid(methods=("full", "ia3"), tasks=("sst2",), seeds=(0, 1))).pages[0]
    tables = pdf._files(page, several=False)
    assert [len(table.rows) for table in tables] == sizes
