"""Splits whose labels are hidden, as those of benchmarks are: left out, said, and no mistake while one is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefront.bench.data.sources.folder import load
from tunefront.bench.errors import UserError

GOOD = "text,label\na fine film,good\na dull film,bad\n"
NUMBERED = GOOD.replace("good", "1").replace("bad", "0")
HIDDEN = {
    "no column": "text\nx\ny\n",
    "other column": "text,id\nx,1\ny,2\n",
    "-1": "text,label\nx,-1\ny,-1\n",
    "-1.0": '{"text": "x", "label": -1.0}\n{"text": "y", "label": -1}\n',
    "empty": "text,label\nx,\ny,\n",
    "null": '{"text": "x", "label": null}\n{"text": "y", "label": NaN}\n{"text": "z"}\n',
}


def put(folder: Path, meta: str = "{}", **splits: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in splits.items():
        (folder / f"{split}.{'jsonl' if text.startswith('{') else 'csv'}").write_text(text)
    (folder / "meta.json").write_text(meta)
    return str(folder)


def mistake(folder: Path, **splits: str) -> str:
    with pytest.raises(UserError) as caught:
        load(put(folder, **splits))
    return str(caught.value)


@pytest.mark.parametrize("how", HIDDEN)
@pytest.mark.parametrize(
    ("train", "meta"), [(GOOD, "{}"), (GOOD, '{"label_names": ["bad", "good"]}'), (NUMBERED, "{}")]
)
def test_a_split_without_labels_is_left_out_with_a_note(tmp_path: Path, how: str, train: str, meta: str) -> None:
    task = load(put(tmp_path, meta, train=train, validation=train, test=HIDDEN[how]))
    assert (set(task.splits), task.eval_split) == ({"train", "validation"}, "validation")
    assert [note for note in task.notes if note.startswith("test left out")]
    task = load(put(tmp_path / "b", meta, train=train, test=train, validation=HIDDEN[how]))
    assert set(task.splits) == {"train", "test"}
    assert [note for note in task.notes if note.startswith("validation left out")]


@pytest.mark.parametrize("how", HIDDEN)
def test_a_task_of_which_nothing_is_left_to_score_is_a_mistake(tmp_path: Path, how: str) -> None:
    said = mistake(tmp_path, train=GOOD, test=HIDDEN[how])
    assert "no labels to score against: test has " in said
    assert "mistakes" not in said
    said = mistake(tmp_path / "b", train=GOOD, test=HIDDEN[how], validation=HIDDEN["-1"])
    assert all(fact in said for fact in ("no labels to score", "test has", "validation has"))


@pytest.mark.parametrize("test", ["text,lable\nx,good\n", "text,label\nx,\ny,good\n", "text,label\nx,-1\ny,good\n"])
def test_a_misspelt_label_column_and_a_split_that_is_partly_labelled_stay_mistakes(tmp_path: Path, test: str) -> None:
    assert "test.csv" in mistake(tmp_path, train=GOOD, validation=GOOD, test=test)


def test_a_train_split_that_is_partly_labelled_stays_a_mistake(tmp_path: Path) -> None:
    assert "row 2: 'label' is empty" in mistake(tmp_path, train="text,label\nx,good\ny,\nz,bad\n", test=GOOD)
    assert "train.csv" in mistake(tmp_path / "b", train="text\nx\n", test=GOOD)


def test_minus_one_is_a_label_where_train_has_it(tmp_path: Path) -> None:
    sides = "text,label\na,-1\nb,1\n"
    task = load(put(tmp_path, train=sides, test="text,label\nc,-1\n", validation=sides))
    assert [row.label for row in task.splits["test"]] == [task.label_names.index("-1")]
    values = '{"text": "a", "label": -1.5}\n{"text": "b", "label": 1}\n'
    task = load(put(tmp_path / "b", train=values, test='{"text": "c", "label": -1.0}\n', validation=values))
    assert [row.label for row in task.splits["test"]] == [-1.0]


def test_a_regression_task_hides_its_labels_as_minus_one_too(tmp_path: Path) -> None:
    values = '{"text": "a", "label": 4.5}\n{"text": "b", "label": 1}\n'
    assert set(load(put(tmp_path, train=values, test=HIDDEN["-1.0"], validation=values)).splits) == {
        "train",
        "validation",
    }
