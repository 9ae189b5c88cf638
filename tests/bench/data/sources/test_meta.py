"""meta.json as people and programs write it, and what is said where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunefront.bench.data.sources.folder import load
from tunefront.bench.errors import UserError

CSV = "text,label\na,1\nb,0\n"


def put(folder: Path, meta: object) -> str:
    """A task whose labels are 1 and 0, with this meta.json: bytes or text as they are, else as JSON."""
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text(CSV)
    text = meta if isinstance(meta, (str, bytes)) else json.dumps(meta)
    (folder / "meta.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(folder)


@pytest.mark.parametrize(
    "meta",
    [
        b'\xef\xbb\xbf{"label_names": ["bad", "good"]}',
        '{"label_names": ["bad", "good"]}'.encode("utf-16"),
        b'{"id2label": {"0": "bad", "1": "good"}}',
        b'{"id2label": {"1": "good", "0": "bad"}, "label2id": {"good": 1, "bad": 0}}',
        b'{"label2id": {"good": 1, "bad": 0}}',
        b'{"label_names": ["bad", "good"], "labels": {"bad": 7, "good": 9}}',
        b'{"label_names": ["bad", "good"], "metric": "accuracy", "metrics": ["accuracy"]}',
        b'{"label_names": ["bad", "good"], "metric": "share of right answers", "note": NaN, "sha256": {}, "name": ""}',
        b'{"label_names": ["bad", "good"], "own": 1, "own": 2, "task_type": null}',
    ],
)
def test_meta_is_read_as_notepad_and_model_configurations_write_it(tmp_path: Path, meta: bytes) -> None:
    task = load(put(tmp_path, meta))
    assert task.label_names == ("bad", "good")
    assert [row.label for row in task.splits["train"]] == [1, 0]


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("label_name", ["bad", "good"], "label_names"),
        ("labelNames", ["bad", "good"], "label_names"),
        ("lable_names", ["bad", "good"], "label_names"),
        ("labels", ["bad", "good"], "label_names"),
        ("lable_field", "label", "label_field"),
        ("label_column", "label", "label_field"),
        ("input-fields", ["text"], "input_fields"),
        ("input_field", ["text"], "input_fields"),
        ("Task_Type", "classification", "task_type"),
        ("metric", ["f1"], "metrics"),
        ("metric", "matthews", "metrics"),
        ("id2lable", {"0": "bad", "1": "good"}, "id2label"),
    ],
)
def test_a_misspelt_key_is_named_with_the_one_that_was_meant(
    tmp_path: Path, key: str, value: object, meant: str
) -> None:
    with pytest.raises(UserError, match=f"meta.json: unknown key {key!r}.*did you mean {meant!r}"):
        load(put(tmp_path, {key: value}))


@pytest.mark.parametrize("key", ["license", "source", "notes", "seed", "num_rows", "language", "few_shot", "templates"])
def test_a_key_of_ones_own_is_allowed(tmp_path: Path, key: str) -> None:
    assert load(put(tmp_path, {key: {"any": ["thing"]}})).label_names == ("0", "1")


@pytest.mark.parametrize(
    "meta", [{"label_notes": "who"}, {"input_files": ["a.csv"]}, {"labels": 2, "classes": 2}, {"label_source": "crowd"}]
)
def test_a_key_of_ones_own_that_is_much_like_another_is_allowed(tmp_path: Path, meta: dict[str, object]) -> None:
    assert load(put(tmp_path, meta)).label_names == ("0", "1")


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"id2label": {"0": "bad", "2": "good"}}, ", id2label: 0, 1"),
        ({"id2label": ["bad", "good"]}, ", id2label: "),
        ({"id2label": {"0": "bad", "1": 7}}, ", id2label: "),
        ({"label2id": {"bad": 0, "good": True}}, ", label2id: "),
        ({"label2id": {}}, ", label2id: "),
        ({"id2label": {"0": "bad", "1": "good"}, "label_names": ["good", "bad"]}, "another order"),
        ({"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 1, "good": 0}}, "another order"),
        ('{"label_names": ["a", "b"], "label_names": ["b", "a"]}', "'label_names' occurs twice"),
        ('{"label_field": "label", "a": {"a": NaN}, "label_field": "text"}', "'label_field' occurs twice"),
        ({"label_field": None}, ", label_field: "),
        ({"label_names": ["bad", 1]}, ", label_names.1: "),
        ({"label_names": {"a": 1}}, ", label_names: "),
        ({"metrics": [[["f1"]]]}, ", metrics.0"),
        ("null", ": expected a JSON object, got a NoneType"),
        ("7", ": expected a JSON object, got a int"),
        ("", ": invalid JSON"),
        ('{"label_names": ["a", "b"]', ": invalid JSON"),
        (b"\xff\xfe{", " starts as UTF-16"),
        (b'{"a": "\x00"}', "NUL"),
        pytest.param("[" * 100_000, " is nested too deeply", id="deep"),
        pytest.param('{"own": ' + '{"a":' * 100_000, " is nested too deeply", id="deep own"),
        pytest.param('{"seed": ' + "9" * 5000 + "}", ": invalid JSON: a number has more", id="digits"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    ],
)
def test_what_is_wrong_with_meta_is_one_short_paragraph(tmp_path: Path, meta: object, says: str) -> None:
    with pytest.raises(UserError) as caught:
        load(put(tmp_path, meta))
    assert "meta.json" in str(caught.value)
    assert says in str(caught.value)
    assert "mistakes" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_meta_that_is_a_folder_is_reported(tmp_path: Path) -> None:
    folder = put(tmp_path, {})
    (tmp_path / "meta.json").unlink()
    (tmp_path / "meta.json").mkdir()
    with pytest.raises(UserError, match=r"meta\.json is a folder"):
        load(folder)
