"""What labels mean: one reading in every format, and what is refused or doubted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from tests import ROOT
from tunefront.bench.data.sources.doubts import label_error, label_warnings
from tunefront.bench.data.sources.folder import load
from tunefront.bench.data.sources.labels import class_of, kind_of, names_of, number, value_of
from tunefront.bench.errors import UserError

WORDS = ("swift", "sound", "rude", "cold", "warm", "tidy")


def written(folder: Path, labels: list[object], form: str, test: list[object] | None = None) -> Path:
    """A task with a row for each label, in one format."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, values in (("train", labels), ("test", test or labels)):
        frame = [{"text": f"{WORDS[row % 6]} {row}", "label": label} for row, label in enumerate(values)]
        if form == "csv":
            pd.DataFrame(frame).to_csv(folder / f"{split}.csv", index=False)
        elif form == "parquet":
            pd.DataFrame(frame).to_parquet(folder / f"{split}.parquet", index=False)
        else:
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in frame))
    return folder


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        ([0.0, 1.0, 1.0, 0.0], "classification", ("0", "1")),
        (["0.0", "1.0", "1.0", "0.0"], "classification", ("0", "1")),
        ([2, 10, 2, 10], "classification", ("2", "10")),
        ([0.5, 1.0, 2.0, 3.0], "regression", ()),
        (["0.5", "1", "2", "3"], "regression", ()),
        (["0,5", "1", "2,25", "3"], "regression", ()),
        ([True, False, True, False], "classification", ("False", "True")),
        (["1", "01", "1", "01"], "classification", ("01", "1")),
        (["1.0", "2.x", "1.0", "2.x"], "classification", ("1.0", "2.x")),
    ],
)
def test_a_label_has_one_reading_in_every_format(tmp_path, form, labels, kind, names):
    if form == "csv" and labels[1] == "01":
        (tmp_path / "train.csv").write_text("text,label\na,1\nb,01\nc,1\nd,01\n")
        (tmp_path / "test.csv").write_text("text,label\ne,1\nf,01\ng,1\nh,01\n")
        task = load(str(tmp_path))
    else:
        task = load(str(written(tmp_path, labels, form)))
    assert (task.kind, task.label_names) == (kind, names)
    values = [row.label for row in task.splits["test"]]
    assert [values.index(value) for value in values] == [labels.index(label) for label in labels]
    if kind == "regression":
        assert values == [float(str(label).replace(",", ".")) for label in labels]
    assert len(set(values)) == len(set(labels))


def test_the_order_of_labels_does_not_depend_on_the_hash_seed(tmp_path):
    labels = ["1", "01", "001", "2", "02", "10", "010"] * 3
    written(tmp_path, labels, "jsonl")
    code = (
        "from tunefront.bench.data.sources.folder import load\n"
        f"task = load({str(tmp_path)!r})\nprint(task.label_names, task.fingerprint)"
    )
    said = set()
    for seed in ("0", "1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1
    assert "('001', '01', '1', '02', '2', '010', '10')" in said.pop()


def test_scores_that_are_whole_in_train_alone_are_scores(tmp_path):
    task = load(str(written(tmp_path, [0, 5, 10, 15, 20], "jsonl", test=[33.5, 2, 7, 9, 1])))
    assert (task.kind, task.outputs) == ("regression", 1)
    assert [row.label for row in task.splits["test"]] == [33.5, 2, 7, 9, 1]
    assert any("regression" in note for note in task.notes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["neg"], ["pos"], ["neg", "pos"]], "multi-label"),
        (["['neg', 'pos']", "['neg']", "['pos']"], "multi-label"),
        (["[0 1 0]", "[1 0 0]", "[0 0 1]"], "multi-label"),
        (["[neg, pos]", "[neg]", "[pos]"], "multi-label"),
        (["neg|pos", "neg", "pos"], "multi-label"),
        (["a;b", "b;c", "c;a"], "multi-label"),
        (["0,1", "0", "1"], "multi-label"),
        (["toxic+insult", "toxic", "insult"], "multi-label"),
        (["toxic/insult", "toxic", "insult"], "multi-label"),
        (["toxic+insult", "toxic", "insult+threat", "threat"], "multi-label"),
        (["toxic insult", "toxic", "insult"], "multi-label"),
        (["0 1 1", "1 0 0", "0 0 1"], "multi-label"),
        ([{"a": 1}, {"a": 2}, {"b": 1}], "column of its own|list"),
        (["1,000", "2,500", "1,250"], "thousands"),
        (["x" * 2000, "y", "z"], "2,000 characters"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_labels_that_no_task_here_has_are_refused(tmp_path, labels, message, form):
    with pytest.raises(UserError, match=message):
        load(str(written(tmp_path, labels * 2, form)))


@pytest.mark.parametrize(
    "labels",
    [
        ["(none)", "some"],
        ["[pos]", "[neg]"],
        ["Paris, France", "London, UK"],
        ["yes/no", "maybe"],
        ["a|b", "c|d"],
        ["food|pos", "food|neg", "service|pos", "service|neg"],
        ["Smith, John", "Smith, Mary", "Jones, John", "Jones, Mary"],
        ["not good", "good"],
    ],
)
def test_names_with_marks_in_them_are_names(labels):
    assert label_error(labels) is None
    assert names_of(labels) == sorted(labels)


def test_what_meta_says_of_labels_is_not_doubted(tmp_path):
    labels = ["neg|pos", "neg", "pos", "neg"]
    (tmp_path / "meta.json").write_text(json.dumps({"label_names": ["neg", "pos", "neg|pos"]}))
    assert [row.label for row in load(str(written(tmp_path, labels, "csv"))).splits["train"]] == [2, 0, 1, 0]
    halves = ["0", "1", "2", "5", "0,5", "1,5", "2,5"]
    with pytest.raises(UserError, match='"task_type": "regression"'):
        load(str(written(tmp_path / "halves", halves, "jsonl")))
    (tmp_path / "halves" / "meta.json").write_text(json.dumps({"task_type": "regression"}))
    task = load(str(tmp_path / "halves"))
    assert [row.label for row in task.splits["train"]] == [0, 1, 2, 5, 0.5, 1.5, 2.5]


def test_decimal_commas_are_points_with_a_warning(tmp_path):
    labels = [f"{tenths // 10},{tenths % 10}" for tenths in range(0, 50, 2)]
    task = load(str(written(tmp_path, labels, "csv")))
    assert [row.label for row in task.splits["test"]] == [tenths / 10 for tenths in range(0, 50, 2)]
    assert any("decimal points" in text for text in task.warnings)


@pytest.mark.parametrize("stray", ["n/a", "inf", "1.50 EUR", "unknown"])
def test_a_stray_text_among_scores_is_reported(tmp_path, stray):
    labels = [row / 8 for row in range(39)] + [stray]
    with pytest.raises(UserError, match=r"39 of 40|78 of 80|is not a finite number"):
        load(str(written(tmp_path, labels, "jsonl")))


@pytest.mark.parametrize("nothing", ["nan", "NA", "NULL", "None", "<NA>"])
def test_a_missing_value_is_no_class_among_numbers(tmp_path, nothing):
    (tmp_path / "train.csv").write_text(f"text,label\na b,0\nc d,1\ne f,{nothing}\n")
    (tmp_path / "test.csv").write_text("text,label\ng,0\nh,1\n")
    with pytest.raises(UserError, match=f"row 3: no label '{nothing}'"):
        load(str(tmp_path))


def test_a_missing_value_among_names_is_warned_of(tmp_path):
    task = load(str(written(tmp_path, ["nan", "pos", "neg", "nan"], "jsonl")))
    assert any("'nan' is read as a class" in text for text in task.warnings)
    assert not load(str(written(tmp_path / "none", ["none", "pos", "neg"], "jsonl"))).warnings


@pytest.mark.parametrize("names", [None, ["no", "yes"]])
def test_true_and_false_have_one_reading_in_every_format(tmp_path, names):
    actual = set()
    for form, labels in (("jsonl", [True, False]), ("csv", [True, False]), ("parquet", [True, False])):
        place = written(tmp_path / form, labels * 3, form)
        if names:
            (place / "meta.json").write_text(json.dumps({"label_names": names}))
        task = load(str(place))
        actual.add((task.label_names, tuple(row.label for row in task.splits["test"])))
    place = written(tmp_path / "lower", ["true", "false"] * 3, "csv")
    if names:
        (place / "meta.json").write_text(json.dumps({"label_names": names}))
    task = load(str(place))
    actual.add((task.label_names, tuple(row.label for row in task.splits["test"])))
    assert actual == {(("no", "yes") if names else ("False", "True"), (1, 0, 1, 0, 1, 0))}


def test_labels_that_differ_in_blanks_or_unicode_form_are_one_with_a_warning(tmp_path):
    task = load(
        str(written(tmp_path, ["pos", "pos ", "caf\u00e9", "cafe\u0301"], "jsonl", test=[" pos", "cafe\u0301"]))
    )
    assert task.label_names == ("caf\u00e9", "pos")
    assert [row.label for row in task.splits["train"]] == [1, 1, 0, 0]
    assert [row.label for row in task.splits["test"]] == [1, 0]
    assert any("'pos' and 'pos '" in text and "read as one" in text for text in task.warnings)
    assert any("\\xe9" in text and "\\u0301" in text for text in task.warnings)


def test_labels_that_differ_in_case_are_doubted_and_kept_apart(tmp_path):
    task = load(str(written(tmp_path, ["Neg", "neg", "pos", "pos"], "jsonl")))
    assert task.label_names == ("Neg", "neg", "pos")
    (warning,) = [text for text in task.warnings if "different classes" in text]
    assert "'Neg' and 'neg'" in warning


def test_a_declared_name_is_found_in_any_unicode_form():
    assert class_of("cafe\u0301 ", ("tea", "caf\u00e9"), declared=True) == 1
    assert class_of("caf\u00e9", ("tea", "cafe\u0301"), declared=True) == 1


def test_many_whole_numbers_may_be_scores():
    names = [str(n) for n in range(30)]
    (doubt,) = label_warnings(names, names * 2, declared=False)
    assert "regression" in doubt
    assert "2.0 rows each" in doubt
    assert not label_warnings(names, names * 2, declared=True)
    assert not label_warnings(names[:5], names, declared=False)
    assert not label_warnings([], [], declared=False)
    assert not label_warnings(names, names * 20, declared=False)
    assert label_warnings([str(n * 5) for n in range(30)], names * 20, declared=False)


@pytest.mark.parametrize(
    ("value", "index"),
    [("good", 1), (1, 1), ("1", 1), (1.0, 1), ("1.0", 1), (True, 1), (0, 0)],
)
def test_a_declared_label_is_a_name_or_its_number_in_every_spelling(value, index):
    assert class_of(value, ("bad", "good"), declared=True) == index


@pytest.mark.parametrize(
    ("value", "message"), [("god", "did you mean 'good'"), (2, "0 to 1"), (-1, "hidden"), (0.5, "0.5")]
)
def test_an_undeclared_label_is_reported(value, message):
    said = class_of(value, ("bad", "good"), declared=True)
    assert isinstance(said, str)
    assert message in said


def test_numbers():
    assert number(Decimal("2.5")) == 2.5
    assert number("9" * 1001) is None
    assert number("1e99999") is None
    assert number(float("inf")) is None
    assert kind_of(["1", "x"]) == "classification"
    assert value_of("3,5") == 3.5
    assert "finite" in str(value_of("inf"))
    assert "finite" in str(value_of(int("9" * 400)))
