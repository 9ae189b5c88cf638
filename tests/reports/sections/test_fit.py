"""A plan says what it assumes and whether it fits before it says what everything costs."""

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


def test_what_is_assumed_names_numbers_batches_optimiser_and_whose_seconds():
    text = assumptions(
        [planned(), planned("ia3", recipe={"batch_size": 8, "dtype": "bfloat16", "optimizer": "adafactor"})]
    )
    for told in ("weights in float32", "float32 or bfloat16", "adamw or adafactor", "32 or 8 rows a batch"):
        assert told in text
    assert "synthetic rows of 16 tokens" in text
    assert "up to 64 at a time" in text
    assert "Example CPU @ 2.50GHz" in text
    assert "--length" in text


def test_without_seconds_that_is_said():
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
    ("fits", "told"),
    [
        ((False, 17, 100), "does not fit with batch_size=32 as planned, but does with --set batch_size=17."),
        ((False, 64, 5), "does not fit with eval_batch_size=64 as planned, but does with --set eval_batch_size=5."),
        ((False, 2, 3), "but does with --set batch_size=2 --set eval_batch_size=3."),
        ((False, None, 3), "does not fit even with one row a batch."),
        ((False, 12, None), "does not fit even with one row a batch."),
    ],
)
def test_a_smaller_batch_that_fits_is_said_in_a_sentence(fits, told):
    one = planned()
    (text,) = advice([one], {one.key: fits})
    assert text.startswith("full ")
    assert text.endswith(told)


def test_what_fits_needs_no_advice():
    one = planned()
    assert advice([one], {one.key: (True, 64, 64)}) == []


def test_of_several_backbones_each_is_named_and_the_note_stands_once():
    records = [planned(backbone="a"), planned(backbone="b")]
    largest = {one.key: (False, 3, 64) for one in records}
    tables = fit_tables(records, largest, "1 kB")
    assert [bool(table.note) for table in tables] == [False, True]
    assert [
        text.endswith(f"({name}, synthetic rows of 16 tokens, 2 choices of 1).")
        for text, name in zip(advice(records, largest), "ab", strict=True)
    ] == [True, True]
