"""Which columns a model reads, and what gives the label away."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tunefront.bench.data.reading import describe_task
from tunefront.bench.data.sources.folder import load
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError

ROWS = 24


def task_of(folder: Path, meta: dict[str, object] | None = None, **columns: object) -> Task:
    """A task of 24 rows a split: a text, a label by turns, and columns made by the row's number."""
    for start, split in enumerate(("train", "test")):
        rows = [
            {"text": f"words {start} {row}", "label": ("neg", "pos")[row % 2]}
            | {name: make(row) for name, make in columns.items()}  # type: ignore[operator]
            for row in range(ROWS)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta))
    return load(str(folder))


@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        ("guid", lambda row: str(uuid.UUID(int=row)), "ids"),
        ("anything", lambda row: str(uuid.UUID(int=row)), "ids"),
        ("tweet_id", lambda row: f"t{row}", "ids"),
        ("PassengerId", lambda row: f"p{row}", "ids"),
        ("id", lambda row: f"a {row}", "numbers the rows"),
        ("year", lambda row: 1900 + row, "numbers"),
        ("price", lambda row: f"{row}.5", "numbers"),
        ("age", lambda row: "unknown" if row == 3 else row, "numbers, except 1 of 24"),
        ("flag", lambda row: row % 3 == 0, "numbers"),
        ("nothing", lambda row: None, "empty"),
        ("tags", lambda row: ["a", "b"][: row % 3], "lists"),
        ("extra", lambda row: {"a": row}, "values of type dict"),
        ("label_text", lambda row: ("negative", "positive")[row % 2], "repeats the label in other words"),
        ("label_text", lambda row: None if row == 5 else ("n", "p")[row % 2], "repeats the label in other words"),
        ("nr", lambda row: f"row_{row}", "ids"),
        ("file", lambda row: f"img-{row}.png", "ids"),
        ("notes", lambda row: ["a"] if row == 3 else f"some text {row}", "lists in 1 of 24 rows"),
    ],
)
def test_a_column_that_is_no_text_is_left_out_and_why_is_said(tmp_path, name, make, why):
    task = task_of(tmp_path, **{name: make})
    assert task.input_fields == ("text",)
    assert task.left_out == {name: why}
    assert f"not {name} ({why})" in describe_task(task)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("body", lambda row: 1984 if row == 3 else f"some text {row}"),
        ("keyword", lambda row: ("fire", "flood", "storm", None, "")[row % 5]),
        ("idea", lambda row: f"an idea {row}"),
        ("hash", lambda row: f"two words {row}"),
        ("key", lambda row: ("apple", "pear", "plum")[row % 3]),
        ("word", lambda row: f"{'abcdefghijklmnopqrstuvwxyz'[row]}ing"),
    ],
)
def test_a_column_of_text_is_read(tmp_path, name, make):
    task = task_of(tmp_path, **{name: make})
    assert task.input_fields == ("text", name)
    assert not task.left_out
    assert all(isinstance(text, str) and text != "None" for row in task.splits["test"] for text in task.texts(row))


def test_numbers_among_texts_are_counted(tmp_path):
    task = task_of(tmp_path, body=lambda row: row if row < 3 else f"text {row}")
    assert any(note.startswith("3 of 24 values of 'body'") for note in task.notes)
    assert task.texts(task.splits["train"][0])[1] == "0"


def test_an_input_may_be_empty_where_another_is_not(tmp_path):
    task = task_of(tmp_path, place=lambda row: "here" if row % 4 == 0 else "")
    assert task.input_fields == ("text", "place")
    assert any(note.startswith("'place' is empty in 18 of 24 train") for note in task.notes)
    with pytest.raises(UserError, match=r"row 2|line 2"):
        task_of(tmp_path, text=lambda row: "" if row == 1 else "a", place=lambda row: "x" if row != 1 else None)


def test_a_column_that_alone_determines_the_label_is_warned_of(tmp_path):
    task = task_of(tmp_path, source=lambda row: f"site {row % 4}")
    assert task.input_fields == ("text", "source")
    (warning,) = [text for text in task.warnings if "'source'" in text]
    assert "4 values" in warning
    assert "all 24 rows" in warning


def test_a_column_that_meta_names_is_read_and_warned_of(tmp_path):
    task = task_of(tmp_path, {"input_fields": ["text", "label_text"]}, label_text=lambda row: ("n", "p")[row % 2])
    assert task.input_fields == ("text", "label_text")
    assert any("'label_text' alone reveals the label" in text for text in task.warnings)


def test_a_column_that_determines_nearly_all_labels_is_warned_of(tmp_path):
    task = task_of(tmp_path, source=lambda row: f"site {0 if row == 7 else row % 2}")
    (warning,) = [text for text in task.warnings if "'source'" in text]
    assert "23 of 24 rows" in warning


def test_a_path_that_names_the_label_is_warned_of(tmp_path):
    task = task_of(
        tmp_path, path=lambda row: f"{('neg', 'pos')[row % 2]}/{'abcdefghijklmnopqrstuvwxyz'[row]}{row * row}.txt"
    )
    (warning,) = [text for text in task.warnings if "'path'" in text]
    assert "24 of 24 values contain the name of their label" in warning


def test_a_path_whose_folder_reveals_the_label_is_warned_of(tmp_path):
    letters = "abcdefghijklmnopqrstuvwxyz"
    task = task_of(tmp_path, path=lambda row: f"{('one', 'two')[row % 2]}/{letters[row]}{row * row}.txt")
    (warning,) = [text for text in task.warnings if "'path'" in text]
    assert "folders" in warning
    assert "2 values" in warning


def test_labels_that_are_all_but_one_do_not_make_every_column_telling(tmp_path):
    for split in ("train", "test"):
        rows = [
            {"text": f"some words {row}", "site": f"s {row % 4}", "label": "rare" if row == 0 else "common"}
            for row in range(40)
        ]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert not [text for text in load(str(tmp_path)).warnings if "alone reveals" in text]


def test_codes_are_read_where_there_is_nothing_else(tmp_path):
    for split in ("train", "test"):
        rows = [{"text": f"w{row}", "label": ("a", "b")[row % 2]} for row in range(6)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load(str(tmp_path)).input_fields == ("text",)


@pytest.mark.parametrize("make", [lambda row: f"site {row % 3}", lambda row: f"text {row}", lambda row: "same"])
def test_a_column_that_determines_nothing_is_not_warned_of(tmp_path, make):
    assert not task_of(tmp_path, source=make).warnings


def test_what_was_read_is_one_sentence(tmp_path):
    task = task_of(tmp_path, year=lambda row: row)
    assert describe_task(task) == (
        "24 train and 24 test rows; reads text, not year (numbers); 2 labels: neg 50 %, pos 50 % of 24 train rows"
    )


def test_strange_names_are_shown_as_they_are_written(tmp_path):
    task = task_of(tmp_path, **{"a\x1b[31mb": lambda row: row})
    assert "\x1b" not in describe_task(task)
    assert "\\x1b[31m" in describe_task(task)
