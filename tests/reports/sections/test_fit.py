"""A plan shows its assumptions and whether it fits before the costs."""

from __future__ import annotations

import pytest

from tests.bench.records.made import dotted
from tests.reports.factory import record
from tunefront.reports.sections.fit import advice, assumptions, fit_tables


def planned(label="full", batch=32, at_once=64, **changes):
    fields = {
        "status": "planned",
        "label": label,
        "key": f"{label}{batch}{at_once}{changes.get('backbone', '')}",
        "task": "synthetic rows of 16 tokens, 2 choices of 1",
        "recipe": {"batch_size": batch, "dtype": "float32", "optimizer": "adamw"},
        "settings": {"eval_batch_size": at_once},
        "memory.phases": {"forward": {"frozen_weights": 90_000}, "evaluation": {"frozen_weights": 40_000}},
    }
    return record(**{**fields, **dotted(changes)})


def test_assumptions_name_dtypes_batches_optimiser_and_the_machine_of_the_seconds():
    text = assumptions(
        [planned(), planned("ia3", recipe={"batch_size": 8, "dtype": "bfloat16", "optimizer": "adafactor"})]
    )
    for part in ("weights in float32", "float32 or bfloat16", "adamw or adafactor", "32 or 8 rows per batch"):
        assert part in text
    assert "synthetic rows of 16 tokens" in text
    assert "up to 64" in text
    assert "Example CPU @ 2.50GHz" in text
    assert "--length" in text


def test_a_plan_without_seconds_says_so():
    untimed = planned(seconds__train=None, seconds__eval=None)
    assert "no seconds here" in assumptions([untimed], "no seconds here.")
    assert "Example CPU" not in assumptions([untimed])
    assert assumptions([]) == ""


def test_the_answer_is_a_row_a_method():
    records = [planned(), planned("ia3"), planned("icl", training__steps=0)]
    largest = {records[0].key: (False, 12, 300), records[1].key: (True, 61, 648), records[2].key: (True, None, 9)}
    (table,) = fit_tables(records, largest, "8.00\u00a0GB")
    assert table.caption.startswith("Fits into 8.00\u00a0GB? minilm")
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["full", "no", "90.0\u00a0kB", "12", "40.0\u00a0kB", "300"],
        ["ia3", "yes", "90.0\u00a0kB", "61", "40.0\u00a0kB", "648"],
        ["icl", "yes", "90.0\u00a0kB", "—", "40.0\u00a0kB", "9"],
    ]


@pytest.mark.parametrize(
    ("fits", "end"),
    [
        ((False, 17, 100), "does not fit with batch_size=32 as planned, but fits with --set batch_size=17."),
        ((False, 64, 5), "does not fit with eval_batch_size=64 as planned, but fits with --set eval_batch_size=5."),
        ((False, 2, 3), "but fits with --set batch_size=2 --set eval_batch_size=3."),
        ((False, None, 3), "does not fit even with one row per batch."),
        ((False, 12, None), "does not fit even with one row per batch."),
    ],
)
def test_a_sentence_names_the_smaller_batch_that_fits(fits, end):
    record = planned()
    (text,) = advice([record], {record.key: fits})
    assert text.startswith("full ")
    assert text.endswith(end)


def test_a_plan_that_fits_needs_no_advice():
    record = planned()
    assert advice([record], {record.key: (True, 64, 64)}) == []


def test_several_backbones_are_named_and_share_one_note():
    records = [planned(backbone="a"), planned(backbone="b")]
    largest = {record.key: (False, 3, 64) for record in records}
    tables = fit_tables(records, largest, "1 kB")
    assert [bool(table.note) for table in tables] == [False, True]
    assert [
        text.endswith(f"({name}, synthetic rows of 16 tokens, 2 choices of 1).")
        for text, name in zip(advice(records, largest), "ab", strict=True)
    ] == [True, True]
