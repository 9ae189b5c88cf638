"""How rows of several members are cut into passes."""

from __future__ import annotations

import random

import pytest

from tests.toys import toy_task
from tunefront.bench.models.examples import EncodedExamples
from tunefront.bench.models.routing.rows import MixedRows, cut_packed, cut_padded


def cost(lengths: list[int], ends: list[int], pass_cost: float) -> float:
    starts = [0, *ends[:-1]]
    return sum(pass_cost + lengths[start] * (end - start) for start, end in zip(starts, ends, strict=True))


def test_no_other_cut_costs_less() -> None:
    drawn = random.Random(0)
    for _ in range(30):
        lengths = sorted((drawn.randint(1, 40) for _ in range(7)), reverse=True)
        best = cost(lengths, cut_padded(lengths, 4, 20), 20)
        for cuts in range(2**6):
            ends = [place + 1 for place in range(6) if cuts >> place & 1] + [7]
            if all(end - start <= 4 for start, end in zip([0, *ends], ends, strict=False)):
                assert best <= cost(lengths, ends, 20)


@pytest.mark.parametrize(("cost_of_a_pass", "passes"), [(0, 3), (10**6, 1)])
def test_a_cheap_pass_pads_nothing_and_a_dear_one_is_the_only_one(cost_of_a_pass: int, passes: int) -> None:
    assert len(cut_padded([9, 9, 7, 2, 2], 64, cost_of_a_pass)) == passes


def test_no_rows_make_no_pass() -> None:
    assert cut_padded([], 4, 1) == cut_packed([], 4, 1) == []


def test_a_row_above_the_budget_has_a_pass_of_its_own() -> None:
    assert cut_packed([50, 3, 3, 3], 64, 6) == [1, 3, 4]


def encoded(lengths: list[int]) -> EncodedExamples:
    import torch

    ids = [torch.ones(length, dtype=torch.long) for length in lengths]
    return EncodedExamples({"input_ids": ids}, {"input_ids": 0}, torch.zeros(len(lengths), dtype=torch.long))


def test_every_row_is_scored_once_whatever_its_member() -> None:
    rows = MixedRows([encoded([3, 9, 5]), encoded([8, 2])], pass_cost=4)
    order = rows.order(2)
    assert sorted(tag for batch in order for tag in batch) == rows.tags
    assert all(len(batch) <= 2 for batch in order)
    assert [rows.length(tag) for batch in order for tag in batch] == [9, 8, 5, 3, 2]
    assert {tag for batch in order for tag in batch if len(batch) > 1} >= {(0, 1), (1, 0)}
    assert rows.order(9, [(1, 1)]) == [[(1, 1)]]


def test_a_batch_per_member_keeps_the_order_of_its_rows() -> None:
    rows = MixedRows([encoded([3, 9, 5]), encoded([8, 2])])
    batches = dict(rows.batches([(0, 2), (1, 1), (0, 0)]))
    assert {member: batch.rows.tolist() for member, batch in batches.items()} == {0: [2, 0], 1: [1]}


def test_toy_rows_are_of_unequal_length() -> None:
    """What the other tests rely on."""
    texts = [len(str(row.fields["text"]).split()) for row in toy_task().splits["test"]]
    assert len({*texts}) > 3
