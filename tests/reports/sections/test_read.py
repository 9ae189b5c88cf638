"""The data of the tasks, from the records."""

from __future__ import annotations

from tests.reports.factory import record
from tunefront.reports.sections import document, provenance

READ = {
    "data.split_rows": {"train": 300, "test": 872},
    "data.input_fields": ("title", "body"),
    "data.left_out_fields": {"year": "numbers"},
    "data.label_counts": {"neg": 100, "pos": 200},
    "data.notes": ("'title' is empty in 3 of 300 train rows",),
}


def test_inputs_labels_and_left_out_fields_are_a_table():
    table = provenance.input_table([record(**READ)], {"sst2": "sst2"})
    (row,) = [[cell.text for cell in row] for row in table.rows]
    assert row == [
        "sst2",
        "300 train, 872 test",
        "title, body",
        "year (numbers)",
        "neg 33\u00a0%, pos 67\u00a0%",
        "'title' is empty in 3 of 300 train rows",
    ]


def test_records_that_do_not_say_have_no_such_table():
    assert provenance.input_table([record()], {"sst2": "sst2"}) is None


def test_a_warning_about_the_data_is_shown_once():
    warning = "sst2: the input 'source' alone says the label"
    records = [
        record(seed=seed, label=label, data__warnings=(warning,), **READ)
        for seed in (0, 1)
        for label in ("full", "ia3")
    ]
    report = document.compose(records)
    assert [text for text in report.warnings if warning in text] == [f"{warning}."]
    assert any(table.caption == "Data of the tasks" for table in report.background)
