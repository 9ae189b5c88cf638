"""Queries and choices in one row, against layouts written out by hand."""

from __future__ import annotations

import torch

from tunefront.bench.models.scoring.packing import pack


def sees(rows: str) -> list[list[int]]:
    """Lines of 0 and 1, one for each token that looks."""
    return [[int(place) for place in line] for line in rows.split()]


def test_a_query_with_two_choices_feeds_all_but_each_choices_last_token() -> None:
    packed = pack([[5, 6]], [[[7], [8, 9, 10]]])
    assert packed.input_ids.tolist() == [[5, 6, 8, 9]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3]]
    assert packed.mask[0, 0].int().tolist() == sees("1000 1100 1110 1111")
    assert packed.read.tolist() == [[0, 1], [0, 2], [0, 3]]
    assert packed.predicts.tolist() == [[[0, 0, 0], [0, 1, 2]]]
    assert packed.shape == (1, 4, 3)


def test_choices_of_a_query_start_at_the_same_position_and_see_nothing_of_each_other() -> None:
    packed = pack([[5]], [[[1, 2, 3], [4, 6], [7, 8, 9]]])
    assert packed.input_ids.tolist() == [[5, 1, 2, 4, 7, 8]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 1, 1, 2]]
    assert packed.mask[0, 0].int().tolist() == sees("100000 110000 111000 100100 100010 100011")
    assert packed.predicts.tolist() == [[[0, 1, 2], [0, 3, 0], [0, 4, 5]]]


def test_examples_in_one_row_share_the_prefix_and_nothing_else() -> None:
    packed = pack([[5, 6], [7]], [[[1, 2], [3]], [[4, 8]]], prefix=3)
    assert packed.input_ids.tolist() == [[5, 6, 1, 7, 4]]
    assert packed.position_ids.tolist() == [[3, 4, 5, 3, 4]]
    assert packed.mask[0, 0].int().tolist() == sees("11110000 11111000 11111100 11100010 11100011")
    assert packed.read.tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]
    assert packed.predicts.tolist() == [[[0, 1], [0, 0]], [[2, 3], [0, 0]]]


def test_apart_every_example_has_a_row_padded_on_the_right() -> None:
    packed = pack([[5, 6], [7]], [[[1, 2], [3]], [[4, 8]]], together=False)
    assert packed.input_ids.tolist() == [[5, 6, 1], [7, 4, 0]]
    assert packed.position_ids.tolist() == [[0, 1, 2], [0, 1, 0]]
    assert packed.read.tolist() == [[0, 1], [0, 2], [1, 0], [1, 1]]
    assert packed.predicts.tolist() == [[[0, 1], [0, 0]], [[2, 3], [0, 0]]]
    first, second = packed.mask[:, 0].int().tolist()
    assert first == sees("100 110 111")
    assert second[:2] == sees("100 110")
    assert second[2][2] == 1, "padding sees itself, or its softmax would be of nothing"


def test_no_token_looks_at_padding_or_ahead() -> None:
    packed = pack([[5] * 4, [6]], [[[1, 2, 3]], [[1]]], prefix=2, together=False)
    assert packed.mask.shape == (2, 1, 6, 8)
    assert packed.mask[:, 0, :, :2].all()
    own = packed.mask[:, 0, :, 2:]
    assert not own[1, :1, 1:].any()
    assert not torch.triu(own, diagonal=1).any()
