"""Folders as tasks: what is read, what is inferred, and the one clear paragraph that every mistake gets."""

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tunefront.bench.data.sources.folder import few_shot, load
from tunefront.bench.data.task import MetricSpec
from tunefront.bench.errors import UserError, UserErrors

Row = dict[str, object]
GOOD: list[Row] = [{"text": "a fine film", "label": "good"}, {"text": "a dull film", "label": "bad"}]


def put(folder: Path, meta: object = None, **splits: object) -> str:
    """A folder with these splits: rows as JSONL, text as CSV, bytes as they are under `<split>.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, content in splits.items():
        if isinstance(content, list):
            (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
        else:
            data = content if isinstance(content, bytes) else str(content).encode()
            (folder / f"{split}.csv").write_bytes(data)
    if meta is not None:
        (folder / "meta.json").write_text(meta if isinstance(meta, str) else json.dumps(meta))
    return str(folder)


def mistake(folder: Path, meta: object = None, **splits: object) -> str:
    with pytest.raises(UserError) as caught:
        load(put(folder, meta, **splits))
    return str(caught.value)


def test_without_meta_the_label_column_names_the_classes_and_text_columns_are_read(tmp_path):
    rows = [{"idx": 7, "title": "one", "label": "b", "n": 3, "body": "two"}, {**GOOD[0], "title": "x", "body": "y"}]
    task = load(put(tmp_path, train=[{**row, "text": "t"} for row in rows], test=[{**rows[0], "text": "t"}]))
    assert task.input_fields == ("title", "body", "text")
    assert task.label_names == ("b", "good")
    assert (task.kind, task.headline) == ("classification", "accuracy")
    assert [row.label for row in task.splits["train"]] == [0, 1]
    assert task.splits["test"][0].fields == {"idx": 7, "title": "one", "n": 3, "body": "two", "text": "t"}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, 10], ("9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        ([True, False, True], ("False", "True")),
        ([2.0, 1.0, 1.0], ("1", "2")),
        (["1", "0", "1"], ("0", "1")),
    ],
)
def test_distinct_training_labels_are_the_classes(tmp_path, labels, names):
    rows = [{"text": f"row {i}", "label": label} for i, label in enumerate(labels)]
    task = load(put(tmp_path, train=rows, validation=rows))
    assert task.label_names == names
    assert [names[row.label] for row in task.splits["train"]] == [str(x).removesuffix(".0") for x in labels]


def test_labels_that_are_not_whole_numbers_make_a_regression_task(tmp_path):
    rows = [{"text": "a", "label": 1.5}, {"text": "b", "label": 2}]
    task = load(put(tmp_path, train=rows, test="text,label\nc,0.25\nd,1e1\n"))
    assert (task.kind, task.label_names, task.outputs) == ("regression", (), 1)
    assert [row.label for row in task.splits["test"]] == [0.25, 10.0]
    assert task.metrics == (MetricSpec("pearson"), MetricSpec("spearman"))


def test_csv_keeps_texts_that_look_like_missing_values_and_leaves_number_columns_out(tmp_path):
    text = '\ufefftext,n,label\nNA,1,None\n"a, ""b""\nc",2,null\nNone,3,null\n'
    task = load(put(tmp_path, train=text, test=text))
    assert task.input_fields == ("text",)
    assert task.label_names == ("None", "null")
    assert [row.fields["text"] for row in task.splits["train"]] == ["NA", 'a, "b"\nc', "None"]


def test_the_three_formats_give_the_same_task(tmp_path):
    import pandas

    rows = [{"text": "a fine film", "label": "good", "idx": "5"}, {"text": "a dull one", "label": "bad", "idx": "3"}]
    table = pandas.DataFrame(rows)
    jsonl = load(put(tmp_path / "jsonl", train=rows, test=rows), "toy")
    csv = load(put(tmp_path / "csv", train=table.to_csv(index=False), test=table.to_csv(index=False)), "toy")
    (tmp_path / "parquet").mkdir()
    for split in ("train", "test"):
        table.to_parquet(tmp_path / "parquet" / f"{split}.parquet")
    assert jsonl == csv == load(str(tmp_path / "parquet"), "toy")
    assert [row.id for row in jsonl.splits["train"]] == ["5", "3"]


@pytest.mark.parametrize("idx", [[1, 1], [None, 2], [{"a": 1}, {"a": 2}]])
def test_rows_are_numbered_where_idx_does_not_tell_them_apart(tmp_path, idx):
    rows = [{**row, "idx": value} for row, value in zip(GOOD, idx, strict=True)]
    assert [row.id for row in load(put(tmp_path, train=rows, test=rows)).splits["train"]] == ["0", "1"]


def test_meta_names_the_fields_the_labels_and_the_metrics_and_may_say_more(tmp_path):
    meta = {
        "task_type": "classification",
        "label_names": ["bad", "good"],
        "label_field": "verdict",
        "input_fields": ["b", "a"],
        "metrics": ["accuracy", {"name": "f1", "labels": ["good"]}],
        "metric": "prose that is never read",
        "license": {"anything": ["goes"]},
    }
    rows = [{"a": "x", "b": "y", "c": "z", "verdict": 1}, {"a": "x", "b": "z", "c": "z", "verdict": "bad"}]
    task = load(put(tmp_path, meta, train=rows, test="a,b,verdict\nx,y,1\n"))
    assert (task.input_fields, task.label_names) == (("b", "a"), ("bad", "good"))
    assert task.metrics == (MetricSpec("accuracy"), MetricSpec("f1", ("good",)))
    assert [row.label for split in task.splits.values() for row in split] == [1, 0, 1]
    assert task.texts(task.splits["train"][0]) == ("y", "x")


def test_a_number_is_a_name_first_in_every_format_and_an_index_only_where_there_is_no_such_name(tmp_path):
    meta = {"label_names": ["1", "2", "many"]}
    task = load(put(tmp_path, meta, train="text,label\na,1\nb,many\nc,0\n", test=[{"text": "a", "label": 1}]))
    assert [row.label for row in task.splits["train"]] == [0, 2, 0]
    assert task.splits["test"][0].label == 0


def test_templates_are_remembered_and_change_no_fingerprint(tmp_path):
    plain = load(put(tmp_path, train=GOOD, test=GOOD))
    (tmp_path / "templates.yaml").write_text("templates: {}\n")
    task = load(str(tmp_path))
    assert (plain.templates, task.templates) == (None, tmp_path / "templates.yaml")
    assert (task.folder, task.fingerprint) == (tmp_path, plain.fingerprint)


def test_a_label_outside_label_names_names_file_row_value_and_nearest(tmp_path):
    said = mistake(
        tmp_path, {"label_names": ["negative", "positive"]}, train="text,label\na,positive\nb,positiv\n", test=GOOD
    )
    assert "train.csv, row 2: no label 'positiv'; did you mean 'positive'?" in said
    assert "test.jsonl, line 1: no label 'good'" in said


@pytest.mark.parametrize(("label", "hint"), [(2, "0 to 1 are a, b"), (-1, "hidden label"), ("", "'label' is empty")])
def test_an_index_outside_label_names_is_explained(tmp_path, label, hint):
    rows = [{"text": "x", "label": label}, {"text": "x", "label": 0}]
    said = mistake(tmp_path, {"label_names": ["a", "b"]}, train=rows[1:], test=rows)
    assert "test.jsonl, line 1" in said
    assert hint in said


def test_a_label_that_train_lacks_is_explained(tmp_path):
    assert "no label 'ugly'" in mistake(tmp_path, train=GOOD, test=[{"text": "x", "label": "ugly"}])


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ("text,lable\nx,good\n", "train.csv: no label column 'label'; did you mean 'lable'?"),
        ("text,label\nx,good\n , bad\n", "train.csv, row 2: 'text' is empty"),
        ("text,label\nx,good\ny\n", "row 2: 1 values for 2 columns"),
        ('text,label\n"x,good\n', "not valid CSV"),
        ("text,text,label\na,b,c\n", "column 'text' occurs twice"),
        ("text;label\na;good\nb;c;bad\n", "row 2: 3 values for 2 columns"),
        ("", "train.csv has no rows"),
        ("text,label\n", "train.csv has no rows"),
        ("text,label\nx,good\ny,good\n", "at least two different labels are needed, found only 'good'"),
        ("n,label\n1,good\n2,bad\n", "no column except 'label' is text"),
        ("text,label\ncafé\x81,good\n".encode("latin1"), "line 2: byte 0xe9 is not UTF-8"),
    ],
)
def test_a_bad_training_file_is_explained(tmp_path, train, says):
    assert says in mistake(tmp_path, train=train, test=GOOD)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "x", ', "not valid JSON"),
        ("[1, 2]", "expected a JSON object, got a list"),
        (r'{"text": "a \uD800 b", "label": "good"}', r"'\ud800' is half of a surrogate pair"),
        (r'{"text": "a", "more": {"\udc00": 1}, "label": "good"}', r"'\udc00' is half of a surrogate pair"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"text": "x", "label": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_a_broken_json_line_is_named_by_its_number(tmp_path, line, says):
    put(tmp_path, train=GOOD, test=GOOD)
    with (tmp_path / "test.jsonl").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(UserError) as caught:
        load(str(tmp_path))
    assert f"test.jsonl, line 4: {says}" in str(caught.value)


def test_both_halves_of_a_character_are_read(tmp_path):
    folder = put(tmp_path, train=GOOD)
    (tmp_path / "test.jsonl").write_text(r'{"text": "\ud83d\ude00", "label": "good"}')
    assert load(folder).splits["test"][0].fields == {"text": "\U0001f600"}


def test_not_a_number_is_a_missing_label_or_text(tmp_path):
    nan = float("nan")
    train = [{"text": f"row {label}", "label": label} for label in (0.0, 1.0, 1.0)]
    said = mistake(tmp_path, train=[*train, {"text": "x", "label": nan}], test=train)
    assert "train.jsonl, line 4: 'label' is empty" in said
    assert "mistakes" not in said
    said = mistake(tmp_path, train=[*train, {"text": nan, "label": 1.0}], test=train)
    assert "train.jsonl, line 4: 'text' is empty" in said
    task = load(put(tmp_path, {"input_fields": ["text"]}, train=[{**train[0], "note": nan}, *train], test=train))
    assert task.label_names == ("0", "1")
    assert task.splits["train"][0].fields == {"text": "row 0.0", "note": None}


def test_not_a_number_in_parquet_is_a_missing_label(tmp_path):
    folder = put(tmp_path, test=[{"text": "a", "label": 0}, {"text": "b", "label": 1}])
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [0.0, 1.0, float("nan")]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet, row 3: 'label' is empty"):
        load(folder)


def test_a_label_that_no_float_can_hold_is_a_mistake(tmp_path):
    rows = [{"text": "a", "label": 0.5}, {"text": "b", "label": int("9" * 400)}]
    assert "line 2: label 999" in mistake(tmp_path, train=rows, test=rows)


def test_a_label_of_thousands_of_digits_is_a_mistake(tmp_path):
    text = f"text,label\na,{'9' * 5000}\nb,1\n"
    said = mistake(tmp_path, train=text, test=text)
    assert "5,000 characters (999" in said
    assert len(said) < 1000


def test_a_long_text_in_csv_is_read_and_the_limit_of_the_process_stays(tmp_path):
    limit, text = csv.field_size_limit(), "x" * 300_000
    task = load(put(tmp_path, train=f"text,label\n{text},good\nb,bad\n", test="text,label\na,good\n"))
    assert task.splits["train"][0].fields["text"] == text
    assert csv.field_size_limit() == limit


def test_a_file_that_is_not_parquet_is_explained(tmp_path):
    put(tmp_path, train=GOOD)
    (tmp_path / "test.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"test\.parquet cannot be read as Parquet"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ("{", "meta.json: invalid JSON"),
        ("[]", "meta.json: "),
        ({"task_type": "clasification"}, "meta.json, task_type: "),
        ({"label_names": "good"}, "meta.json, label_names: "),
        ({"label_names": ["bad", "good", "bad"]}, "label_names: 'bad' occurs twice"),
        ({"metrics": []}, "meta.json, metrics: "),
        ({"metrics": [{"label": "good"}]}, "meta.json, metrics.0.name: field required"),
        ({"metrics": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"metrics": [{"name": "f1", "labels": ["goood"]}]}, "did you mean 'good'"),
        ({"input_fields": ["txt"]}, "no column 'txt'; did you mean 'text'? Known: label, text. (input_fields of meta"),
        ({"input_fields": ["text", "label"]}, "remove 'label' from input_fields"),
        ({"task_type": "regression", "label_names": ["bad", "good"]}, "a regression task has no label_names"),
        ({"task_type": "regression"}, "line 1: label 'good' is not a finite number"),
    ],
)
def test_what_is_wrong_with_meta_is_said_key_by_key(tmp_path, meta, says):
    assert says in mistake(tmp_path, meta, train=GOOD, test=GOOD)


def test_a_folder_that_is_not_there_offers_the_nearest(tmp_path):
    put(tmp_path / "movies", train=GOOD, test=GOOD)
    for path, says in (("movis", "did you mean 'movies'"), ("no/such", "nor"), ("movies/test.jsonl", "is a file")):
        with pytest.raises(UserError, match=says):
            load(str(tmp_path / path))


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"test": GOOD}, "has no train"),
        ({"train": GOOD}, "has neither test nor validation"),
        ({"train": GOOD, "trial": GOOD}, "found: train.jsonl, trial.jsonl"),
        ({}, "found: no files"),
    ],
)
def test_a_folder_without_train_or_without_anything_to_score_is_explained(tmp_path, splits, says):
    assert says in mistake(tmp_path, **splits)


def test_a_split_in_two_formats_is_refused(tmp_path):
    put(tmp_path, train=GOOD, test=GOOD)
    assert "test.jsonl and test.csv" in mistake(tmp_path, test="text,label\nx,good\n")


def test_everything_wrong_with_a_folder_is_reported_together_and_repetition_counted(tmp_path):
    rows = [{"text": "", "label": "good"} for _ in range(10)]
    with pytest.raises(UserErrors) as caught:
        load(put(tmp_path, {"metrics": ["acuracy"]}, train=[*GOOD, *rows], test="text,label\nx,ugly\n"))
    said = caught.value.messages
    assert [sum(word in each for each in said) for word in ("acuracy", "is empty", "7 more", "'ugly'")] == [1, 3, 1, 1]
    assert len(said) == 6


def test_published_draws_are_read_by_their_number_of_rows(tmp_path):
    task = load(put(tmp_path, train=GOOD * 3, test=GOOD))
    put(tmp_path / "few_shot" / "1_shot", **{"0": GOOD, "42": GOOD[::-1]})
    put(tmp_path / "few_shot" / "2_shot", **{"0": GOOD * 2})
    rows, source = few_shot(task, 2, 42)
    assert ([row.label for row in rows], source) == ([0, 1], "few_shot/1_shot")
    assert len(few_shot(task, 4, 0)[0]) == 4
    for shots, seed, says in (
        (2, 1, "available seeds: 0, 42"),
        (3, 0, "available sizes: 2, 4"),
        (4, 42, "available seeds: 0"),
    ):
        with pytest.raises(UserError, match=says):
            few_shot(task, shots, seed)


def test_a_task_without_published_draws_says_so(tmp_path):
    with pytest.raises(UserError, match="draw by seed instead"):
        few_shot(load(put(tmp_path, train=GOOD, test=GOOD)), 2, 0)
