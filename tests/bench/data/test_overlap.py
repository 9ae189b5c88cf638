"""Rows that occur in train and in an evaluation split are counted and named."""

from tunefront.bench.data.overlap import overlap_warnings
from tunefront.bench.data.task import MetricSpec, Row, Task


def pairs(*texts: tuple[str, str]) -> list[Row]:
    return [Row(f"r{i}", {"a": a, "b": b}, 0) for i, (a, b) in enumerate(texts)]


def task(**splits: list[Row]) -> Task:
    return Task("toy", "classification", splits, ("a", "b"), ("x", "y"), (MetricSpec("accuracy"),))


def test_case_and_spaces_do_not_hide_an_overlap():
    again = task(train=pairs(("One  two", "three")), test=pairs(("four", "five"), ("one two ", "THREE")))
    assert overlap_warnings(again) == ("toy: 1 of 2 test rows also occurs in train (id r1)",)


def test_a_pair_overlaps_only_as_a_pair():
    assert overlap_warnings(task(train=pairs(("a", "b")), test=pairs(("a", "c"), ("b", "a"), ("a b", "")))) == ()


def test_every_evaluation_split_is_named_with_its_first_ids():
    train = pairs(*((str(i), "") for i in range(8)))
    actual = overlap_warnings(task(train=train, validation=train[:2], test=train))
    assert actual == (
        "toy: 2 of 2 validation rows also occur in train (ids r0, r1)",
        "toy: 8 of 8 test rows also occur in train (ids r0, r1, r2, r3, r4, ...)",
        "toy: 2 of 8 test rows also occur in validation (ids r0, r1)",
    )


def test_scored_rows_that_choose_among_settings_are_named():
    rows = pairs(("a", "b"), ("c", "d"))
    assert overlap_warnings(task(train=pairs(("e", "f")), validation=rows[:1], test=rows)) == (
        "toy: 1 of 2 test rows also occurs in validation (id r0)",
    )
