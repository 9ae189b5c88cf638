"""Which files are which split: other names, shards, the Hub's layout, saved datasets, and what is no file of rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from tunefront.bench.data.sources.folder import few_shot, load
from tunefront.bench.data.sources.limits import VARIABLE
from tunefront.bench.data.task import Task
from tunefront.bench.errors import UserError

CSV = "text,label\na fine film,good\na dull film,bad\n"


def put(folder: Path, *names: str, text: str = CSV) -> Path:
    """The folder with files of these names; .parquet, .tsv and .json hold what the CSV says."""
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = {"text": [f"film {number}", f"dull {number}"], "label": ["good", "bad"]}
        if name.endswith(".parquet"):
            pyarrow.parquet.write_table(pyarrow.table(rows), file)
        elif name.endswith(".json"):
            file.write_text(
                json.dumps([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])
            )
        else:
            file.write_text(text.replace(",", "\t") if ".tsv" in name.lower() else text)
    return folder


def mistake(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(str(folder))
    return str(caught.value)


def texts(task: Task, split: str = "train") -> list[object]:
    return [row.fields["text"] for row in task.splits[split]]


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train.tsv", "dev.tsv"), {"train", "validation"}),
        (("train.csv", "valid.csv", "test.json"), {"train", "validation", "test"}),
        (("training.csv", "val.tsv"), {"train", "validation"}),
        (("Train.CSV", "EVAL.csv"), {"train", "validation"}),
        (("train.json", "evaluation.json"), {"train", "validation"}),
        (("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet", "README.md"), {"train", "test"}),
        (("train-00000-of-00001-0123456789abcdef.parquet", "test.csv"), {"train", "test"}),
        (("data/train.csv", "data/test.csv"), {"train", "test"}),
        (("train.csv", "test.csv", "data/train.csv", "data/test.csv"), {"train", "test"}),
        (("train.csv", "test.csv", "eval/metrics.json", "train/notes.csv"), {"train", "test"}),
        (("train/0000.parquet", "train/0001.parquet", "test/0000.parquet"), {"train", "test"}),
        (("train.parquet/part-0.snappy.parquet", "train.parquet/part-1.snappy.parquet", "test.csv"), {"train", "test"}),
    ],
)
def test_splits_are_found_by_the_names_that_people_give_them(
    tmp_path: Path, names: tuple[str, ...], splits: set[str]
) -> None:
    task = load(str(put(tmp_path, *names)))
    assert set(task.splits) == splits
    assert len(task.splits["train"]) in (2, 4)


def test_another_name_of_a_split_is_noted(tmp_path: Path) -> None:
    assert [note for note in load(str(put(tmp_path, "train.tsv", "dev.tsv"))).notes if "dev.tsv" in note]
    assert load(str(put(tmp_path / "plain", "train.tsv", "validation.tsv"))).notes == ()


def test_shards_are_joined_in_order_and_counted_in_a_note(tmp_path: Path) -> None:
    names = [f"data/train-0000{number}-of-00003.parquet" for number in range(3)]
    task = load(str(put(tmp_path, *names[::-1], "data/test-00000-of-00001.parquet")))
    assert texts(task) == ["film 2", "dull 2", "film 1", "dull 1", "film 0", "dull 0"]
    assert [row.id for row in task.splits["train"]] == [str(number) for number in range(6)]
    assert [note for note in task.notes if "3 files joined" in note]


@pytest.mark.parametrize(
    ("names", "facts"),
    [
        (("train-00000-of-00003.parquet", "train-00002-of-00003.parquet"), ("2 of 3", "train-00001-of-00003")),
        (("train-00001-of-00002.csv",), ("1 of 2", "train-00000-of-00002")),
        (("train-00000-of-99999.csv",), ("1 of 99999", "train-00001-of-99999")),
        (("train-00000-of-00001.csv", "train-00000-of-00002.csv", "train-00001-of-00002.csv"), ("needs one of them",)),
        (("train-00000-of-00001.csv", "train.csv"), ("train.csv", "train-*-of-00001.csv", "needs one of them")),
        (("train-00003-of-00002.csv", "train-00000-of-00002.csv", "train-00001-of-00002.csv"), ("3 shards", "2")),
        (("train.csv", "train.tsv"), ("train.csv and train.tsv",)),
        (("train.csv", "Train.csv"), ("Train.csv", "train.csv")),
        (("train.csv", "dev.csv", "valid.csv"), ("dev.csv and valid.csv", "validation needs one")),
        (("train/a.csv", "train/b.json"), ("several formats", "a.csv, b.json")),
    ],
)
def test_missing_shards_and_ambiguous_splits_are_reported(
    tmp_path: Path, names: tuple[str, ...], facts: tuple[str, ...]
) -> None:
    folder = put(tmp_path, *names, *(["test/c.csv"] if "/" in names[0] else ["test.csv"]))
    said = mistake(folder)
    assert [fact for fact in facts if fact not in said] == []


def test_a_shard_without_rows_is_passed_over_and_all_of_them_are_a_mistake(tmp_path: Path) -> None:
    put(tmp_path, "train-00000-of-00002.csv", "test.csv")
    put(tmp_path, "train-00001-of-00002.csv", text="text,label\n")
    assert len(load(str(tmp_path)).splits["train"]) == 2
    put(tmp_path, "train-00000-of-00002.csv", text="text,label\n")
    assert "has no rows" in mistake(tmp_path)


def test_a_value_that_is_nested_too_deeply_for_later_is_a_mistake(tmp_path: Path) -> None:
    put(tmp_path, "test.csv")
    for depth in range(800, 1001, 4):
        deep = "[" * depth + "]" * depth
        (tmp_path / "train.jsonl").write_text(f'{{"text": "a", "label": {deep}}}\n{{"text": "b", "label": "good"}}\n')
        try:
            load(str(tmp_path))
        except UserError as error:
            message = str(error)
    assert "nested too deeply" in message


def test_shards_of_other_columns_are_a_mistake(tmp_path: Path) -> None:
    put(tmp_path, "train-00000-of-00002.csv", "test.csv")
    put(tmp_path, "train-00001-of-00002.csv", text="body,label\nx,good\n")
    said = mistake(tmp_path)
    assert all(fact in said for fact in ("train-00001-of-00002.csv", "'body'", "'text'"))


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("train.xlsx", ("read_excel", "train.csv", "openpyxl")),
        ("train.tgz", ("tar -xf",)),
        ("train.zip", ("python -m zipfile -e",)),
        ("train.pkl", ("pickle", "never read")),
        ("train.txt", ("name it",)),
        ("plain_text/train-00000-of-00001.csv", ("dir:", "plain_text")),
    ],
)
def test_an_unsupported_format_is_reported_with_a_remedy(tmp_path: Path, name: str, facts: tuple[str, ...]) -> None:
    said = mistake(put(tmp_path, name, "test.csv"))
    assert [fact for fact in ("has no train", name.split("/")[0], *facts) if fact not in said] == []
    assert not any(word in said for word in ("mv ", "gunzip ", "> train"))


def saved(folder: Path, columns: dict[str, object] | None = None, features: object = None) -> Path:
    """A folder as `DatasetDict.save_to_disk` writes it."""
    columns = columns or {"text": ["a", "b", "c"], "label": [0, 1, 0]}
    features = features or datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos", "neutral"])}
    )
    made = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=made.select([2, 1, 0, 1]), test=made).save_to_disk(
        str(folder), num_shards={"train": 2, "test": 1}
    )
    return folder


def test_a_saved_dataset_is_read_with_its_order_and_class_names(tmp_path: Path) -> None:
    task = load(str(saved(tmp_path / "saved")))
    assert texts(task) == ["c", "b", "a", "b"]
    assert task.label_names == ("neg", "pos", "neutral")
    assert [row.label for row in task.splits["train"]] == [0, 1, 0, 1]


def test_a_saved_dataset_with_images_is_read_without_them(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "states": datasets.Array2D((1, 2), "float32"),
            "text": datasets.Value("string"),
            "label": datasets.Value("string"),
        }
    )
    columns = {"image": [None] * 2, "states": [[[0.0, 1.0]]] * 2, "text": ["a", "b"], "label": ["x", "y"]}
    made = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=made, test=made).save_to_disk(str(tmp_path / "saved"))
    task = load(str(tmp_path / "saved"))
    assert task.input_fields == ("text",)
    assert [note for note in task.notes if "image" in note]


def test_one_saved_dataset_without_splits_is_explained(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "label": ["x"]}).save_to_disk(str(tmp_path / "saved"))
    assert "DatasetDict" in mistake(tmp_path / "saved")


@pytest.mark.parametrize(
    "state",
    [
        {"_data_files": [{"filename": "/etc/hostname"}]},
        {"_data_files": [{"filename": "../test/data-00000-of-00001.arrow"}]},
        {"_data_files": [{"filename": "..\\test\\x.arrow"}]},
        {"_data_files": [{"filename": "no-such.arrow"}]},
        {"_data_files": [{"filename": 7}]},
        {"_data_files": []},
        {"_data_files": [{"filename": "data-00000-of-00002.arrow"}], "_indices_files": [{"filename": "i.arrow"}]},
        {},
        [],
        "x",
    ],
)
def test_a_state_that_leads_elsewhere_is_refused(tmp_path: Path, state: object) -> None:
    folder = saved(tmp_path / "saved")
    (folder / "train" / "state.json").write_text(json.dumps(state))
    assert str(folder / "train") in mistake(folder)


def test_a_saved_dataset_that_stands_for_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1000000")
    rows = {"text": ["x" * 100] * 20_000, "label": [0, 1] * 10_000}
    assert VARIABLE in mistake(saved(tmp_path / "saved", rows))


def test_a_fifo_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    put(tmp_path, "test.csv")
    os.mkfifo(tmp_path / "train.csv")
    assert "train.csv is a pipe" in mistake(tmp_path)
    put(tmp_path / "b", "train.csv", "test.csv")
    os.mkfifo(tmp_path / "b" / "meta.json")
    assert "meta.json is a pipe" in mistake(tmp_path / "b")
    task = load(str(put(tmp_path / "c", "train.csv", "test.csv", "few_shot/2_shot/0.jsonl")))
    os.mkfifo(tmp_path / "c" / "few_shot" / "2_shot" / "1.jsonl")
    with pytest.raises(UserError, match="no published draw"):
        few_shot(task, 7, 1)


def test_a_split_that_is_a_folder_a_broken_link_or_a_loop_is_reported(tmp_path: Path) -> None:
    put(tmp_path, "test.csv")
    (tmp_path / "train.csv").mkdir()
    assert "train.csv is a folder" in mistake(tmp_path)
    (tmp_path / "train.csv").rmdir()
    (tmp_path / "train.csv").symlink_to("train.csv")
    assert "train.csv, a link to train.csv, cannot be read" in mistake(tmp_path)
    (tmp_path / "train.csv").unlink()
    (tmp_path / "train.csv").symlink_to("gone/elsewhere.csv")
    assert "a link to gone/elsewhere.csv" in mistake(tmp_path)
    (tmp_path / "train.csv").unlink()
    (tmp_path / "train.csv").symlink_to("/dev/zero")
    assert "train.csv is a device" in mistake(tmp_path)


def test_a_link_to_an_ordinary_file_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "blobs", "0a1b.csv")
    put(tmp_path / "task", "test.csv")
    (tmp_path / "task" / "train.csv").symlink_to("../blobs/0a1b.csv")
    assert len(load(str(tmp_path / "task")).splits["train"]) == 2


@pytest.mark.parametrize("what", ["listdir", "open"])
def test_a_folder_or_file_without_permission_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    put(tmp_path, "train.csv", "test.csv")

    def refuse(path: object, *_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, what, refuse)
    said = mistake(tmp_path)
    assert str(tmp_path) in said
    assert "Permission denied" in said


@pytest.mark.parametrize("path", ["~nosuchuser/x", "a\0b", "x" * 5000, "~nosuchuser"])
def test_a_path_that_can_lead_nowhere_is_reported(path: str) -> None:
    with pytest.raises(UserError) as caught:
        load(path)
    assert len(str(caught.value)) < 600
    assert ("nosuchuser" in str(caught.value)) == path.startswith("~")


def test_files_of_few_shots_may_bear_any_name(tmp_path: Path) -> None:
    task = load(str(put(tmp_path, "train.csv", "test.csv")))
    folder = tmp_path / "few_shot" / "2_shot"
    folder.mkdir(parents=True)
    for name in ("0", "9" * 200, "x"):
        (folder / f"{name}.jsonl").write_text('{"text": "a", "label": "good"}\n')
    assert len(few_shot(task, 1, 0)[0]) == 1
