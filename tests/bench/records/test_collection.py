"""Records of several folders: their places, their table, their predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.reports.factory import ledger, record
from tunefront.bench.errors import UserError
from tunefront.bench.records import Records, load_records
from tunefront.bench.records.answers import AnswerFiles
from tunefront.bench.records.frame import flatten
from tunefront.bench.records.store import Store

FRAME = pd.DataFrame({"id": ["b", "a"], "label": [1, 0], "prediction": [1, 1], "score_0": [0.1, 0.2]})


@pytest.fixture
def folders(tmp_path):
    for name, seed in (("first", 0), ("second", 1)):
        store = Store(tmp_path / name)
        store.prepare()
        store.write(record(seed=seed, recipe={}, settings={}), FRAME)
    return str(tmp_path / "first"), str(tmp_path / "second")


def test_records_of_several_folders_know_their_places(folders):
    records = load_records(*folders)
    assert [records.places[one.key] for one in records] == list(folders)


def test_a_call_without_folders_is_refused():
    with pytest.raises(UserError):
        load_records()


def test_the_table_has_a_row_per_record_and_dotted_columns(folders):
    frame = load_records(*folders).to_frame()
    assert frame["seed"].tolist() == [0, 1]
    assert {"scores.test.accuracy", "flops.train", "score"} <= set(frame.columns)


def test_columns_of_the_table_can_be_averaged_and_integers_stay_exact(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    large = 2**62 + 1
    for seed, count in ((0, large), (1, None)):
        store.write(record(seed=seed, recipe={}, settings={}, flops__train=count))
    frame = load_records(tmp_path).to_frame()
    assert frame["score"].mean() == pytest.approx(sum(one.score for one in load_records(tmp_path)) / 2)
    assert frame["flops.train"].dropna().tolist() == [large]
    assert frame["flops.train"].isna().sum() == 1
    assert frame.groupby("label")["flops.train"].max().tolist() == [large]


def test_a_slice_keeps_its_places_and_its_table(folders):
    first = load_records(*folders)[:1]
    assert isinstance(first, Records)
    assert first.places[first[0].key] == folders[0]
    assert len(first.to_frame()) == 1


def test_no_records_make_an_empty_table():
    assert len(Records().to_frame()) == 0


def test_answers_are_in_the_order_of_ids(folders):
    records = load_records(*folders)
    answers = AnswerFiles(records.places).read(records[0].key)
    assert answers is not None
    assert answers.ids.tolist() == ["a", "b"]
    assert answers.labels.tolist() == [0, 1]
    assert answers.predictions.tolist() == [1, 1]


@pytest.mark.parametrize(
    "frame",
    [
        FRAME.assign(id=["a", "a"]),
        FRAME.drop(columns="label"),
        FRAME.assign(prediction=["x", "y"]),
        FRAME.assign(prediction=[0.5, float("nan")]),
        FRAME.assign(id=[[1], [2]]),
        FRAME.iloc[:0],
    ],
    ids=["the same id twice", "no labels", "texts", "not a number", "lists as ids", "no rows"],
)
def test_a_file_that_holds_no_predictions_gives_none(folders, frame):
    records = load_records(folders[0])
    Store(folders[0]).write(records[0], frame)
    assert AnswerFiles(records.places).read(records[0].key) is None


def test_a_file_of_another_number_of_rows_is_not_read(folders):
    records = load_records(folders[0])
    files = AnswerFiles(records.places)
    assert files.read(records[0].key, rows=2) is not None
    assert files.read(records[0].key, rows=3) is None


def test_a_missing_or_broken_file_gives_none(folders, tmp_path):
    records = load_records(folders[0])
    files = AnswerFiles(records.places)
    path = tmp_path / "first" / "predictions" / f"{records[0].key}.parquet"
    path.write_bytes(path.read_bytes()[:40])
    assert files.read(records[0].key) is None
    path.unlink()
    assert files.read(records[0].key) is None
    assert files.read("0" * 64) is None


def test_a_column_that_occurs_twice_gives_none(tmp_path):
    (tmp_path / "predictions").mkdir()
    names, numbers = pa.array(["a", "b"]), pa.array([0, 1])
    table = pa.table([names, names, numbers, numbers], names=["id", "id", "label", "prediction"])
    parquet.write_table(table, tmp_path / "predictions" / "key.parquet")
    assert AnswerFiles({"key": str(tmp_path)}).read("key") is None


def test_damaged_bytes_never_end_a_report(folders, tmp_path):
    records = load_records(folders[0])
    path = tmp_path / "first" / "predictions" / f"{records[0].key}.parquet"
    content, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        for place in generator.integers(len(content), size=3):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        answers = AnswerFiles(records.places).read(records[0].key)
        assert answers is None or len(answers.ids) == len(answers.labels) == len(answers.predictions)


def test_a_table_has_the_values_of_pandas_normalisation():
    made = ledger(record(recipe={"steps": None, "epochs": 3.0}, attempts=("first", "second")))
    content = made.model_dump()
    whole = {name: value for name, value in pd.json_normalize(content).iloc[0].to_dict().items() if "_ids" not in name}
    flat = flatten(made)
    shared = flat.keys() & whole.keys() - {"attempts"}
    assert len(shared) > 90
    assert {name for name in shared if flat[name] != whole[name]} == set()
