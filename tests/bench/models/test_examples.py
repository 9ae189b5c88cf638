"""Batches: every row once per epoch, little padding, equal shares if requested, the same order for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch

from tunefront.bench.models.examples import EncodedExamples, training_order


def examples(lengths: list[int], labels: list[int] | None = None, classes: int = 2) -> EncodedExamples:
    """Rows of the given lengths whose tokens identify the row: row r consists of r + 1."""
    return EncodedExamples(
        columns={
            "input_ids": [torch.full((length,), row + 1) for row, length in enumerate(lengths)],
            "attention_mask": [torch.ones(length, dtype=torch.long) for length in lengths],
        },
        padding={"input_ids": 7_000, "attention_mask": 0},
        labels=torch.tensor(labels if labels is not None else [row % classes for row in range(len(lengths))]),
    )


def drawn_lengths(count: int, seed: int = 0) -> list[int]:
    """Lengths as in real text: most are short, a few are long."""
    generator = torch.Generator().manual_seed(seed)
    return [3 + min(100, int(x)) for x in (torch.randn(count, generator=generator) * 0.7 + 2.5).exp().tolist()]


def epoch(
    rows: EncodedExamples, batch_size: int, seed: int, number: int = 0, balanced: bool = False
) -> list[list[int]]:
    count = -(-len(rows) // batch_size)
    order = training_order(rows, batch_size, torch.Generator().manual_seed(seed), balanced)
    return list(islice(order, number * count, (number + 1) * count))


@pytest.mark.parametrize("count", [1, 7, 16, 100, 2_500])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_every_row_once_per_epoch(count: int, batch_size: int) -> None:
    rows = examples(drawn_lengths(count))
    for number in range(3):
        batches = epoch(rows, batch_size, 3, number)
        assert sorted(row for batch in batches for row in batch) == list(range(count))
        sizes = Counter(len(batch) for batch in batches)
        assert sizes[batch_size] == count // batch_size, "only the last rows make a short batch"


def test_precomputed_features_are_shuffled_without_buckets() -> None:
    rows = examples([5] * 50).with_features(torch.randn(50, 4))
    batches = epoch(rows, 16, 0)
    assert sorted(row for batch in batches for row in batch) == list(range(50))
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]


def padded_share(rows: EncodedExamples, batches: list[list[int]]) -> float:
    computed = sum(len(batch) * max(rows.lengths[row] for row in batch) for batch in batches)
    return 1 - sum(rows.lengths) / computed


def test_buckets_waste_little_padding() -> None:
    rows = examples(drawn_lengths(2_000))
    order = torch.randperm(2_000, generator=torch.Generator().manual_seed(0)).tolist()
    at_random = [order[start : start + 32] for start in range(0, 2_000, 32)]
    assert padded_share(rows, at_random) > 0.5
    assert padded_share(rows, epoch(rows, 32, 0)) < 0.06
    assert padded_share(rows, rows.scoring_order(32)) < 0.06


def test_batches_and_their_order_change_with_the_epoch() -> None:
    rows = examples(drawn_lengths(500))
    first, second = epoch(rows, 16, 0, 0), epoch(rows, 16, 0, 1)
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    longest = [max(rows.lengths[row] for row in batch) for batch in first]
    assert longest != sorted(longest), "short rows first would be a curriculum"
    assert longest != sorted(longest, reverse=True)


@pytest.mark.parametrize("balanced", [False, True])
def test_the_order_depends_only_on_the_seed(balanced: bool) -> None:
    rows = examples(drawn_lengths(200))
    torch.manual_seed(1)
    first = epoch(rows, 16, 5, balanced=balanced)
    torch.manual_seed(2)
    assert first == epoch(rows, 16, 5, balanced=balanced)
    assert first != epoch(rows, 16, 6, balanced=balanced)


@pytest.mark.parametrize(("counts", "batch_size"), [((90, 10), 16), ((40, 5, 5), 12), ((3, 1), 4)])
def test_balanced_batches_have_equal_shares(counts: tuple[int, ...], batch_size: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    rows = examples([4] * len(labels), labels)
    order = training_order(rows, batch_size, torch.Generator().manual_seed(0), balanced=True)
    seen: Counter[int] = Counter()
    for batch in islice(order, 30):
        shares = Counter(labels[row] for row in batch)
        assert len(batch) < batch_size or max(shares.values()) - min(shares.values()) <= 1
        assert set(shares) == set(range(len(counts)))
        seen.update(batch)
    assert set(seen) == set(range(len(labels))), "rows of rare labels repeat more often, and no row is missing"


def test_scoring_takes_every_row_once_longest_first() -> None:
    rows = examples(drawn_lengths(77))
    batches = rows.scoring_order(10)
    flat = [row for batch in batches for row in batch]
    assert sorted(flat) == list(range(77))
    assert [rows.lengths[row] for row in flat] == sorted(rows.lengths, reverse=True)


def test_a_batch_is_padded_on_the_right_to_its_longest_row() -> None:
    rows = examples([2, 4, 3], [1, 0, 1])
    batch = rows.batch([0, 2])
    assert batch.inputs["input_ids"].tolist() == [[1, 1, 7_000], [3, 3, 3]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.labels.tolist() == [1, 1]
    assert batch.rows.tolist() == [0, 2]
    assert rows.shape(batch) == (2, 3)


def test_a_batch_of_features_has_no_tokens() -> None:
    rows = examples([2, 4, 3]).with_features(torch.arange(6.0).reshape(3, 2), "states")
    batch = rows.batch([2, 0])
    assert batch.inputs["states"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert rows.shape(batch) == (2, 0)
    assert rows.lengths == (0, 0, 0)
    assert rows.shape(rows.shaped(5, 0)) == (5, 0)


@pytest.mark.parametrize(("count", "length"), [(1, 1), (7, 9), (2, 30)])
def test_a_batch_of_any_shape_can_be_built(count: int, length: int) -> None:
    rows = examples([2, 4, 3])
    assert rows.shape(rows.shaped(count, length)) == (count, length)


def test_the_fingerprint_is_that_of_the_tokens() -> None:
    same = examples([2, 3], [0, 1]).fingerprint
    assert examples([2, 3], [1, 1]).fingerprint == same
    assert examples([3, 2]).fingerprint != same
    assert examples([2, 3, 1]).fingerprint != same
    # The boundary between two rows changes it.
    one, two = examples([2, 3]), examples([2, 3])
    one.columns["input_ids"][:] = [torch.tensor([1, 1]), torch.tensor([1, 2, 2])]  # type: ignore[index]
    two.columns["input_ids"][:] = [torch.tensor([1, 1, 1]), torch.tensor([2, 2])]  # type: ignore[index]
    assert one.fingerprint != two.fingerprint
