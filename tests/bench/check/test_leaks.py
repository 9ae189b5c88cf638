"""Columns and texts that give the label away, and those that do not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.bench.data.sources.test_own_file import lines, put, sentence
from tunefront.bench.check.findings import Finding
from tunefront.bench.check.leaks import explained, leaks, written_labels
from tunefront.bench.data.sources import load_task, own_file

ROWS = 400


def table(folder: Path, column: object, label: object = None, shuffled: bool = True) -> list[Finding]:
    """The findings of a file with a column `extra`, which is not read."""
    assert callable(column)
    generator = random.Random(0)
    labels = [label(number) if callable(label) else generator.choice(["bad", "good"]) for number in range(ROWS)]
    row = lambda i: f'"{sentence(i)}",{column(i, labels[i])},{labels[i]}'  # noqa: E731
    path = put(folder, "rows.csv", lines("review,extra,label", row, ROWS))
    return leaks(own_file.read(f"file:{path}?text=review"))


LEAKING = {
    "another name of the label": lambda number, label: label.upper(),
    "many values of one label each": lambda number, label: f"{label[0]}{number % 20}",
    "a code with a pattern": lambda number, label: f"{'R' if label == 'bad' else 'S'}-{number}",
    "a path whose folder is the label": lambda number, label: f"data/{label}/{number}.txt",
    "numbers in two ranges": lambda number, label: number / 7 + (1000 if label == "bad" else 0),
    "nearly always the label": lambda number, label: "bad" if number % 25 == 0 else label,
}
HARMLESS = {
    "one value": lambda number, label: "web",
    "few values": lambda number, label: f"c{number * 7 % 9}",
    "a number per row": lambda number, label: number * 37 % 1009,
    "somewhat related": lambda number, label: label if number % 3 else "bad",
}


@pytest.mark.parametrize("column", LEAKING.values(), ids=LEAKING)
def test_a_column_that_gives_the_label_away_is_named(tmp_path: Path, column: object) -> None:
    (found,) = table(tmp_path, column)
    assert found.kind == "leak"
    assert "'extra'" in found.text


@pytest.mark.parametrize(
    ("text", "leaks_it"),
    [
        (lambda number, label: f"{'B' if label == 'bad' else 'K'}{number}: {sentence(number)}", True),
        (lambda number, label: f"{number} {sentence(number)} {label}", False),  # a written label, which is another sort
        (lambda number, label: sentence(number), False),
    ],
)
def test_an_input_with_a_mark_of_its_label_is_a_warning(tmp_path: Path, text: object, leaks_it: bool) -> None:
    assert callable(text)
    generator = random.Random(0)
    labels = [generator.choice(["bad", "good"]) for _ in range(ROWS)]
    path = put(tmp_path, "rows.csv", lines("text,label", lambda i: f'"{text(i, labels[i])}",{labels[i]}', ROWS))
    found = leaks(own_file.read(f"file:{path}?text=text&label=label"))
    assert [finding.level for finding in found] == ["warning"] * leaks_it


def test_numbers_of_a_thousand_digits_are_no_trouble(tmp_path: Path) -> None:
    assert not table(tmp_path, lambda number, label: "9" * (400 + number % 3))


@pytest.mark.parametrize("column", HARMLESS.values(), ids=HARMLESS)
def test_an_ordinary_column_is_not(tmp_path: Path, column: object) -> None:
    assert not table(tmp_path, column)


def test_a_column_gives_a_value_away(tmp_path: Path) -> None:
    (found,) = table(tmp_path, lambda number, label: float(label) * 2 + number % 3 / 100, lambda i: i * 31 % 97 / 10)
    assert found.kind == "leak"


def test_rows_sorted_by_label_are_seen(tmp_path: Path) -> None:
    found = table(tmp_path, lambda number, label: "web", lambda i: "bad" if i < 150 else "good")
    assert [finding.kind for finding in found] == ["order"]


@pytest.mark.parametrize("regression", [False, True])
def test_chance_explains_nothing(regression: bool) -> None:
    generator = random.Random(0)
    values = [generator.randrange(30) for _ in range(1000)]
    assert explained(values, [generator.randrange(2) for _ in values], regression) < 0.1


def test_a_value_of_its_own_in_every_row_explains_nothing() -> None:
    assert explained(range(100), [number % 2 for number in range(100)]) <= 0


def test_a_label_written_in_its_texts_is_named(tmp_path: Path) -> None:
    row = lambda i: f'"{sentence(i)}{" #spam" if i % 2 else ""}",{"spam" if i % 2 else "ham"}'  # noqa: E731
    path = put(tmp_path, "rows.csv", lines("text,label", row, ROWS))
    (found,) = written_labels(load_task(f"file:{path}"))
    assert "'spam'" in found.text
    assert found.level == "warning"


def test_a_word_in_all_texts_is_no_written_label(tmp_path: Path) -> None:
    row = lambda i: f'"{sentence(i)} spam or ham",{"spam" if i % 2 else "ham"}'  # noqa: E731
    path = put(tmp_path, "rows.csv", lines("text,label", row, ROWS))
    assert not written_labels(load_task(f"file:{path}"))
