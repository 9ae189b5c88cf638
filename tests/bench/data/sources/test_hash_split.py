"""The split by hash: stratified, stable, with copies and groups together."""

from __future__ import annotations

from collections import Counter

import pytest

from tunefront.bench.data.sources.hash_split import split_rows
from tunefront.bench.data.task import Kind, Row

Parts = tuple[list[Row], list[Row]]


def made(labels: list[float], texts: list[str] | None = None, groups: list[str | None] | None = None,
         share: float = 0.2, kind: Kind = "classification") -> Parts:  # fmt: skip
    rows = [Row(str(place), {}, label) for place, label in enumerate(labels)]
    return split_rows(rows, texts or [f"text {n}" for n in range(len(rows))], groups or [None] * len(rows), share, kind)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_every_label_has_its_share_in_test(share: float) -> None:
    _, test = made([0] * 100 + [1] * 50 + [2] * 50, share=share)
    assert Counter(row.label for row in test) == {0: 100 * share, 1: 50 * share, 2: 50 * share}


def test_copies_of_a_text_are_in_one_part() -> None:
    texts = [f"text {n % 40}" for n in range(200)]
    parts = made([n % 40 % 2 for n in range(200)], texts)
    ids = [{texts[int(row.id)] for row in rows} for rows in parts]
    assert all(ids)
    assert not ids[0] & ids[1]


def test_rows_that_share_a_group_or_a_text_are_in_one_part() -> None:
    groups: list[str | None] = [f"g{n // 4}" for n in range(200)]
    texts = [f"text {n}" for n in range(200)]
    texts[3] = texts[4]  # joins the first two groups
    train, test = made([n % 2 for n in range(200)], texts, groups)
    sides = [{groups[int(row.id)] for row in rows} for rows in (train, test)]
    assert not sides[0] & sides[1]
    assert (
        len({row.id in {row.id for row in test} for row in (*train, *test) if groups[int(row.id)] in ("g0", "g1")}) == 1
    )
    assert len(test) == 40


def test_added_rows_and_other_labels_leave_most_rows_where_they_were() -> None:
    before = {row.id for row in made([n % 2 for n in range(500)])[1]}
    after = {row.id for row in made([n % 2 for n in range(520)])[1]}
    changed = {row.id for row in made([(n + (n == 7)) % 2 for n in range(500)])[1]}
    assert len(before - after) < 10
    assert len(before ^ changed) < 5


def test_values_of_a_regression_are_spread_over_both_parts() -> None:
    _, test = made([float(n) for n in range(200)], kind="regression")
    assert Counter(int(row.label // 20) for row in test) == dict.fromkeys(range(10), 4)


def test_a_label_keeps_a_row_in_train() -> None:
    train, test = made([0] * 10 + [1])
    assert 1 in {row.label for row in train}
    assert len(test) == 2


def test_nothing_is_held_out_of_copies_of_one_text() -> None:
    assert made([0, 1] * 5, ["same"] * 10)[1] == []
