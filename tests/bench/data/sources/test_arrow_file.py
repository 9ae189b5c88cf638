"""Parquet and Arrow files: pandas' index, names of classes, what is left out, and small files that stand for much."""

from __future__ import annotations

import json
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from tunefront.bench.data.sources.arrow_sizes import decompressed_bytes
from tunefront.bench.data.sources.folder import load
from tunefront.bench.data.sources.limits import VARIABLE
from tunefront.bench.data.sources.reading import read_table
from tunefront.bench.data.sources.tables import Problems, Table
from tunefront.bench.errors import UserError

TEXTS = ["a fine film", "a dull film", "a film"]
LABELS = ["good", "bad", "good"]


def table(file: Path, keep: tuple[str, ...] = ("label",)) -> Table:
    problems = Problems()
    read = read_table(file, problems, keep=keep)
    problems.raise_any()
    assert read is not None
    return read


def parquet(folder: Path, columns: object, metadata: dict[str, object] | None = None, **options: object) -> Path:
    """A Parquet file of these columns; `metadata`: key -> what stands there as JSON."""
    made = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
    if metadata is not None:
        made = made.replace_schema_metadata({key: json.dumps(value) for key, value in metadata.items()})
    pyarrow.parquet.write_table(made, folder / "train.parquet", **options)
    return folder / "train.parquet"


def mistake(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        table(file)
    return str(caught.value)


@pytest.mark.parametrize("index", [["u1", "u2", "u3"], [7, 2, 9], None])
def test_pandas_index_is_left_out_and_noted(tmp_path: Path, index: list[object] | None) -> None:
    frame = pandas.DataFrame({"text": TEXTS, "label": LABELS}, index=index)
    frame.to_parquet(tmp_path / "a.parquet")
    read = table(tmp_path / "a.parquet")
    assert read.columns == ("text", "label")
    assert read.records[1] == {"text": "a dull film", "label": "bad"}
    assert ["__index_level_0__" in note for note in read.notes] == [True] * (index is not None)


def test_a_named_index_is_left_out_unless_requested_or_the_only_text(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"uid": ["u1", "u2", "u3"], "text": TEXTS, "label": LABELS})
    frame.set_index("uid").to_parquet(tmp_path / "a.parquet")
    assert table(tmp_path / "a.parquet").columns == ("text", "label")
    assert table(tmp_path / "a.parquet", keep=("label", "uid")).columns == ("text", "label", "uid")
    frame.drop(columns="uid").set_index("text").to_parquet(tmp_path / "b.parquet")
    assert table(tmp_path / "b.parquet").columns == ("label", "text")
    frame.rename(columns={"uid": "idx"}).set_index("idx").to_parquet(tmp_path / "c.parquet")
    assert set(table(tmp_path / "c.parquet").columns) == {"text", "label", "idx"}


def classes(names: object) -> dict[str, object]:
    return {"huggingface": {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}, "text": None}}}}


def test_class_names_of_the_metadata_are_the_classes_and_train_may_lack_one(tmp_path: Path) -> None:
    names = ["neg", "pos", "neutral"]
    parquet(tmp_path, {"text": TEXTS, "label": [0, 1, 0]}, classes(names)).rename(tmp_path / "test.parquet")
    parquet(tmp_path, {"text": TEXTS, "label": [2, 1, 2]}, classes(names))
    (tmp_path / "validation.jsonl").write_text('{"text": "x", "label": 2}\n')
    task = load(str(tmp_path))
    assert task.label_names == ("neg", "pos", "neutral")
    assert [row.label for row in task.splits["train"]] == [2, 1, 2]
    (tmp_path / "meta.json").write_text('{"label_names": ["a", "b", "c"]}')
    assert load(str(tmp_path)).label_names == ("a", "b", "c")


def test_splits_whose_metadata_order_the_classes_differently_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path, {"text": TEXTS, "label": [0, 1, 0]}, classes(["pos", "neg"])).rename(tmp_path / "test.parquet")
    parquet(tmp_path, {"text": TEXTS, "label": [0, 1, 0]}, classes(["neg", "pos"]))
    with pytest.raises(UserError, match=r"train: neg, pos; test: pos, neg"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    "metadata",
    [
        {"huggingface": "x"},
        {"huggingface": {"info": []}},
        {"huggingface": {"info": {"features": [1]}}},
        classes([]),
        classes([1, 2]),
        classes("negpos"),
        {"pandas": {"index_columns": [{"kind": "range"}, 7, "no such"]}},
        {"pandas": {"index_columns": "text"}},
        {"pandas": []},
    ],
)
def test_odd_metadata_is_passed_over(tmp_path: Path, metadata: dict[str, object]) -> None:
    read = table(parquet(tmp_path, {"text": TEXTS, "label": [0, 1, 0]}, metadata))
    assert (read.columns, dict(read.class_names)) == (("text", "label"), {})


def test_columns_of_images_and_dates_are_left_out_with_a_note_and_lists_are_kept(tmp_path: Path) -> None:
    image = pyarrow.array([{"bytes": b"\xff\xd8", "path": "x.jpg"}] * 3)
    day = pyarrow.array([0, 1, 2**62], pyarrow.timestamp("ns"))
    columns = {"image": image, "day": day, "text": TEXTS, "choices": [["a", "b"], [], None], "label": LABELS}
    read = table(parquet(tmp_path, columns))
    assert read.columns == ("text", "choices", "label")
    assert [record["choices"] for record in read.records] == [["a", "b"], [], None]
    assert [name for name in ("image", "day") if any(name in note for note in read.notes)] == ["image", "day"]


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()])
def test_values_are_those_that_were_written_whatever_holds_them(tmp_path: Path, kind: pyarrow.DataType) -> None:
    texts = pyarrow.array(["é", None, "b" * 40] * 30, kind)
    columns = {
        "text": texts,
        "kind": pyarrow.array(["x", "y", None] * 30).dictionary_encode(),
        "n": pyarrow.array([1, None, 3] * 30),
        "f": [0.5, float("inf"), -1.0] * 30,
        "flag": [True, False, None] * 30,
        "nested": [{"a": ["p", "q"], "b": 1}, None, {"a": [], "b": None}] * 30,
        "nothing": pyarrow.nulls(90),
    }
    expected = pyarrow.table(columns).to_pylist()
    if not pyarrow.types.is_string_view(kind):
        assert table(parquet(tmp_path, columns, row_group_size=25)).records == expected
        pyarrow.feather.write_feather(pyarrow.table(columns), tmp_path / "a.feather")
        assert table(tmp_path / "a.feather").records == expected
    with pyarrow.ipc.new_stream(tmp_path / "a.arrow", pyarrow.table(columns).schema) as stream:
        stream.write_table(pyarrow.table(columns), max_chunksize=20)
    assert table(tmp_path / "a.arrow").records == expected


def test_decimals_are_numbers_as_in_other_formats(tmp_path: Path) -> None:
    values = pyarrow.array([Decimal("0.50"), None, Decimal("12.25")])
    read = table(parquet(tmp_path, {"text": TEXTS, "label": values}))
    assert [record["label"] for record in read.records] == [0.5, None, 12.25]


def test_a_column_name_that_occurs_twice_is_a_mistake(tmp_path: Path) -> None:
    made = pyarrow.Table.from_arrays([pyarrow.array(TEXTS)] * 2, names=["text", "text"])
    assert "'text' occurs twice" in mistake(parquet(tmp_path, made))


@pytest.mark.parametrize("dictionary", [True, False])
def test_text_that_is_not_utf8_is_named_by_its_row_and_column(tmp_path: Path, dictionary: bool) -> None:
    bad = pyarrow.array([b"fine", b"caf\xe9", b"x"]).view(pyarrow.string())
    said = mistake(parquet(tmp_path, {"text": bad, "label": LABELS}, use_dictionary=dictionary))
    assert all(fact in said for fact in ("train.parquet", "row 2", "'text'", "UTF-8"))


@pytest.mark.parametrize("cut", [0, 4, 100, -1, -9])
def test_a_file_that_is_cut_off_is_explained(tmp_path: Path, cut: int) -> None:
    file = parquet(tmp_path, {"text": TEXTS, "label": LABELS})
    file.write_bytes(file.read_bytes()[:cut])
    assert "train.parquet cannot be read as Parquet" in mistake(file)
    arrow = tmp_path / "a.arrow"
    made = pyarrow.table({"text": TEXTS})
    pyarrow.feather.write_feather(made, arrow)
    arrow.write_bytes(arrow.read_bytes()[:cut])
    assert "a.arrow cannot be read as Arrow" in mistake(arrow)
    with pyarrow.ipc.new_stream(arrow, made.schema) as stream:
        stream.write_table(made)
    arrow.write_bytes(arrow.read_bytes()[:cut])
    assert "a.arrow cannot be read as Arrow" in mistake(arrow)


def bombs() -> dict[str, pyarrow.Table]:
    """Tables that are small on disk: one long text, many times over, in the ways that Arrow has of repeating it."""
    rows, long = 60_000, "x" * 2000
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), pyarrow.array([long]))
    lists = pyarrow.ListArray.from_arrays(range(rows + 1), repeated.cast(pyarrow.string()))
    return {
        "dictionary": pyarrow.table({"text": repeated}),
        "text": pyarrow.table({"text": repeated.cast(pyarrow.string())}),
        "list": pyarrow.table({"texts": lists}),
        "struct": pyarrow.table({"texts": pyarrow.StructArray.from_arrays([lists], names=["a"])}),
        "null": pyarrow.table({"text": pyarrow.nulls(5_000_000)}),
        "zeros": pyarrow.table({"n": pyarrow.array(bytearray(2_000_000), pyarrow.int8())}),
        "null list": pyarrow.table({"t": pyarrow.FixedSizeListArray.from_arrays(pyarrow.nulls(5_000_000), 1_000_000)}),
    }


@pytest.mark.parametrize("kind", ["dictionary", "text", "list", "struct", "null", "zeros", "null list"])
@pytest.mark.parametrize("how", ["parquet", "delta", "arrow"])
def test_a_small_file_that_stands_for_much_is_refused_before_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, how: str
) -> None:
    monkeypatch.setenv(VARIABLE, "50000000")
    made = bombs()[kind]
    if how == "arrow":
        file = tmp_path / "train.arrow"
        with pyarrow.ipc.new_stream(
            file, made.schema, options=pyarrow.ipc.IpcWriteOptions(compression="zstd")
        ) as stream:
            stream.write_table(made)
    elif how == "delta":
        file = parquet(tmp_path, made, compression="zstd", use_dictionary=False)
        if kind == "text":
            file = parquet(
                tmp_path, made, compression="zstd", use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"}
            )
    else:
        file = parquet(tmp_path, made, compression="zstd")
    assert file.stat().st_size < 2_500_000
    del made
    before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    said = mistake(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert VARIABLE in said
    assert peak < 60_000_000
    assert pyarrow.total_allocated_bytes() <= before + 1_000_000


@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
@pytest.mark.parametrize("kind", ["text", "dictionary"])
def test_the_size_of_a_message_is_known_before_it_is_decompressed(compression: str | None, kind: str) -> None:
    made = bombs()[kind].combine_chunks()
    buffer = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(
        buffer, made.schema, options=pyarrow.ipc.IpcWriteOptions(compression=compression)
    ) as stream:
        stream.write_table(made)
    sizes = [decompressed_bytes(each) for each in pyarrow.ipc.MessageReader.open_stream(buffer.getvalue())]
    assert sum(sizes) == pytest.approx(made.nbytes, rel=0.001, abs=4096)


def test_repeated_texts_are_held_once(tmp_path: Path) -> None:
    read = table(parquet(tmp_path, {"text": ["one and the same text"] * 1000, "label": LABELS[:2] * 500}))
    assert len({id(record["text"]) for record in read.records}) == 1
