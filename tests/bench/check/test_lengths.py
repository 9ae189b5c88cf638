"""Lengths in tokens against the room, and in words without a backbone."""

from __future__ import annotations

import pytest

from tests.toys import toy_task
from tunefront.bench.check.lengths import MOST_ROWS, length_findings
from tunefront.bench.data.task import Row, Task


def of_words(*counts: int) -> Task:
    rows = [Row(str(place), {"text": " ".join(["film"] * words)}, 0) for place, words in enumerate(counts)]
    return Task("t", "classification", {"train": rows, "test": rows[:1]}, ("text",), ("x", "y"), ())


def test_tokens_count_the_special_ones(backbones: dict[str, str]) -> None:
    lengths, _ = length_findings(of_words(3, 5, 10), backbones["bert"])
    assert (lengths.unit, lengths.longest) == ("tokens", 12)
    assert lengths.room is not None


def test_bins_hold_every_row_once(backbones: dict[str, str]) -> None:
    task = toy_task(rows=(200, 40))
    lengths, _ = length_findings(task, backbones["bert"])
    assert sum(rows for _, rows in lengths.bins) == lengths.rows == 240


def test_rows_longer_than_the_room_are_a_warning(backbones: dict[str, str]) -> None:
    lengths, _ = length_findings(of_words(5), backbones["bert"])
    assert lengths.room is not None
    lengths, (found,) = length_findings(of_words(*[5] * 9, lengths.room + 10), backbones["bert"])
    assert lengths.room is not None
    assert lengths.cut[lengths.room] == pytest.approx(1 / 11)
    assert (found.kind, found.row) == ("cut", "9")


def test_a_language_model_counts_its_prompt(language_models: dict[str, str]) -> None:
    lengths, _ = length_findings(of_words(3), language_models["gpt2"])
    assert lengths.unit == "tokens"
    assert lengths.longest > 3


def test_words_are_counted_without_a_backbone() -> None:
    lengths, found = length_findings(of_words(1, 4, 9), None)
    assert (lengths.unit, lengths.room, lengths.longest, found) == ("words", None, 9, [])


def test_words_are_counted_where_a_backbone_cannot_do_the_task(language_models: dict[str, str]) -> None:
    task = toy_task(kind="regression")
    lengths, _ = length_findings(task, language_models["gpt2"])
    assert lengths.unit == "words"


def test_a_sample_of_many_rows_is_looked_at() -> None:
    lengths, _ = length_findings(of_words(*[3] * 5000), None)
    assert lengths.rows == MOST_ROWS


def test_the_tokens_of_a_book_are_estimated(backbones: dict[str, str]) -> None:
    lengths, _ = length_findings(of_words(4, 50_000), backbones["bert"])
    assert lengths.longest == pytest.approx(50_000, rel=0.01)
    assert len(lengths.bins) <= 8
    assert lengths.bins[-1] == (lengths.longest, 1)
