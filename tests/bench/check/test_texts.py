"""Odd texts, counted, with an example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tunefront.bench.check.findings import Finding
from tunefront.bench.check.languages import language_findings, language_of, script_of
from tunefront.bench.check.texts import text_findings
from tunefront.bench.data.task import MetricSpec, Row, Task


def task_of(train: Sequence[tuple[str, int]], test: Sequence[tuple[str, int]] = (("a test of it", 0),)) -> Task:
    splits = {
        split: [Row(f"{split}{place}", {"text": text}, label) for place, (text, label) in enumerate(rows)]
        for split, rows in (("train", train), ("test", test))
    }
    return Task("t", "classification", splits, ("text",), ("x", "y"), (MetricSpec("accuracy"),))


def findings(task: Task) -> dict[str, Finding]:
    return {finding.kind: finding for finding in text_findings(task)[1]}


def test_copies_are_counted_up_to_case_and_blanks() -> None:
    facts, _ = text_findings(task_of([("A film", 0), ("a  film", 0), ("another one", 1), ("a FILM", 0)]))
    assert facts["copies"] == {"train": 2, "test": 0}
    assert facts["conflicting"]["train"] == 0


def test_copies_with_another_label_are_a_warning_that_names_a_row() -> None:
    found = findings(task_of([("a film", 0), ("good book", 1), ("a film", 1)]))["conflict"]
    assert (found.count, found.row, found.level) == (2, "train0", "warning")


def test_rows_in_two_splits_are_counted() -> None:
    found = findings(task_of([("a film", 0), ("good book", 1)], [("new text", 0), ("A film ", 1)]))["overlap"]
    assert (found.count, found.row) == (1, "test1")


def test_scored_rows_that_choose_among_settings_are_counted() -> None:
    task = task_of([("a film", 0), ("good book", 1)], [("new text", 0), ("other text", 1)])
    chosen = replace(task, splits={**task.splits, "validation": task.splits["test"][:1]})
    found = findings(chosen)["overlap"]
    assert (found.count, found.row, found.level) == (1, "test0", "warning")
    assert "validation" in found.text


@pytest.mark.parametrize("text", ["-", "?!", "ok", "  . .  ", "😀😀😀"])
def test_a_text_with_next_to_no_letters_is_near_empty(text: str) -> None:
    assert findings(task_of([(text, 0), ("good book", 1)]))["near empty"].count == 1


@pytest.mark.parametrize("text", ["bad", "a b c", "好", "42 %, 7"])
def test_a_short_text_is_not(text: str) -> None:
    assert "near empty" not in findings(task_of([(text, 0), ("good book", 1)]))


def test_ordinary_texts_are_not_odd() -> None:
    assert not findings(task_of([(f"the film number {number} is good", number % 2) for number in range(50)]))


@pytest.mark.parametrize(
    ("text", "script"),
    [("good", "Latin"), ("хорошо", "Cyrillic"), ("καλό", "Greek"), ("很好", "Chinese"), ("とても良い", "Japanese"),
     ("좋다", "Hangul"), ("جيد", "Arabic"), ("12 — 7 😀", None), ("", None)],
)  # fmt: skip
def test_a_script_is_known_by_its_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the film is not what I had hoped for", "English"),
        ("I need to do it so I can go on to my next card", "English"),
        ("der Film ist nicht so gut wie das Buch", "German"),
        ("je ne suis pas sur que les films du jour sont dans le cinéma", "French"),
        ("el coche que compré no es muy bueno para los viajes", "Spanish"),
        ("good film", None),
    ],
)
def test_a_language_is_known_by_frequent_words(text: str, language: str | None) -> None:
    assert language_of(text) == language


def mixed(others: Sequence[str], backbone: str | None = None) -> list[Finding]:
    english = [f"the film number {number} was not what I had hoped for" for number in range(60)]
    return language_findings(task_of([(text, 0) for text in [*english[: 60 - len(others)], *others]]), backbone)[1]


def test_another_language_is_reported_with_a_row() -> None:
    (found,) = mixed([f"der Film {number} ist nicht so gut wie das Buch" for number in range(8)])
    assert (found.kind, found.count, found.row) == ("languages", 8, "train52")


def test_another_script_is_reported() -> None:
    (found,) = mixed([f"очень хороший фильм {number}" for number in range(8)])
    assert (found.kind, found.count) == ("scripts", 8)


def test_a_few_strange_words_are_not() -> None:
    assert not mixed(["der Film ist nicht so gut wie das Buch"])


def test_a_backbone_that_reads_english_is_not_for_german() -> None:
    german = [f"der Film {number} ist nicht so gut wie das Buch" for number in range(60)]
    assert "backbone" in {finding.kind for finding in mixed(german, "minilm")}
    assert "backbone" not in {finding.kind for finding in mixed(german, "mine")}
