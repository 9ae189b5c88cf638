"""Missing and incomplete files of recorded cells are noticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from tests.bench.records.made import changed, nested
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record
from tunefront.bench.records.kept import find_missing
from tunefront.bench.records.store import Store
from tunefront.bench.records.urls import Listed, UrlFolder

ROWS = pd.DataFrame({"id": ["0", "1"], "label": [1, 0], "prediction": [1, 0]})


def made(number: int, status: str = "ok") -> Record:
    reason = None if status == "ok" else "no"
    fields = {"method": "full", "label": "full", "backbone": "b", "task": "sst2", "seed": number, "data.n_test": 2}
    return Record(key=f"{number:08}", status=status, reason=reason, **nested(fields))


RECORDS = [made(0), made(1), made(2), made(3, "failed"), made(4, "skipped")]


def filled(store: Store) -> Store:
    store.prepare()
    for record in RECORDS:
        store.write(record, ROWS if record.status == "ok" else None)
    return store


@pytest.mark.parametrize("where", ["local", "memory://kept-whole"])
def test_nothing_is_said_where_all_is_there(where: str, tmp_path: Path) -> None:
    store = filled(Store(tmp_path / "out" if where == "local" else where))
    assert find_missing(store.location, RECORDS).lines == []


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "start gone": lambda path: path.write_bytes(path.read_bytes()[4:]),
    "another format": lambda path: path.write_text("id,label\n0,1\n", encoding="utf-8"),
    "zeroed inside": lambda path: path.write_bytes(b"PAR1" + b"\0" * (path.stat().st_size - 8) + b"PAR1"),
    "noise inside": lambda path: path.write_bytes(b"PAR1" + bytes(range(256)) * 9 + b"\xff\xff\0\0PAR1"),
    "magic alone": lambda path: path.write_bytes(b"PAR1"),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "loop": lambda path: (path.unlink(), path.symlink_to(path.name)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_predictions_that_are_not_whole_are_named_once(kind: str, tmp_path: Path) -> None:
    store = filled(Store(tmp_path / "out"))
    for number in (0, 2):
        DAMAGE[kind](tmp_path / "out" / "predictions" / f"{number:08}.parquet")
    missing = find_missing(store.location, RECORDS)
    assert [record.key for record in missing.predictions] == ["00000000", "00000002"]
    assert missing.records == ()
    with pytest.raises(UserError if kind not in ("gone", "loop") else OSError):
        store.predictions("00000002")
    (line,) = missing.lines
    assert "full on sst2, draw 0, seed 0; full on sst2, draw 0, seed 2" in line
    assert "records/00000000.json" in line


def test_predictions_of_another_cell_are_noticed_by_their_rows(tmp_path: Path) -> None:
    store = filled(Store(tmp_path / "out"))
    ROWS[:1].to_parquet(tmp_path / "out" / "predictions" / "00000001.parquet")
    assert [record.seed for record in find_missing(store.location, RECORDS).predictions] == [1]
    rows_unknown = [changed(record, {"data.n_test": None}) for record in RECORDS]
    assert find_missing(store.location, rows_unknown).lines == []


@pytest.mark.parametrize("room", ["records", "predictions"])
def test_a_file_where_a_folder_should_be_is_named(room: str, tmp_path: Path) -> None:
    store = filled(Store(tmp_path / "out"))
    shutil.rmtree(tmp_path / "out" / room)
    (tmp_path / "out" / room).write_text("a file", encoding="utf-8")
    for call in (lambda: find_missing(store.location, RECORDS), store.prepare):
        with pytest.raises(UserError, match=f"out/{room} is a file where a folder should be"):
            call()


def test_a_folder_that_was_deleted_while_cells_ran_is_noticed(tmp_path: Path) -> None:
    store = filled(Store(tmp_path / "out"))
    shutil.rmtree(tmp_path / "out")
    store.write(RECORDS[2], ROWS)  # a cell that still runs makes the folder again
    missing = find_missing(store.location, RECORDS)
    assert [record.seed for record in missing.records] == [0, 1, 3, 4]
    assert missing.predictions == ()
    (line,) = missing.lines
    assert "only 1 of 5 records" in line
    shutil.rmtree(tmp_path / "out")
    assert "only 0 of 5 records" in find_missing(store.location, RECORDS).lines[0]


@pytest.mark.parametrize("content", [b"", b"\0" * 4000, b'{"key": "0000'])
def test_records_that_are_not_whole_on_the_disk_count_as_gone(content: bytes, tmp_path: Path) -> None:
    store = filled(Store(tmp_path / "out"))
    (tmp_path / "out" / "records" / "00000001.json").write_bytes(content)
    missing = find_missing(store.location, RECORDS)
    assert [record.seed for record in missing.records] == [1]
    assert missing.predictions == ()


def test_what_is_lost_behind_a_url_is_noticed() -> None:
    store = filled(Store("memory://kept-in-part"))
    files = fsspec.filesystem("memory")
    files.rm_file("/kept-in-part/records/00000001.json")
    files.pipe_file("/kept-in-part/predictions/00000000.parquet", b"")
    files.rm_file("/kept-in-part/predictions/00000002.parquet")
    missing = find_missing(store.location, RECORDS)
    assert [record.seed for record in missing.records] == [1]
    assert [record.seed for record in missing.predictions] == [0, 2]


def test_a_record_that_is_not_listed_yet_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(Store(f"memory://{tmp_path.name}"))
    store.remote.remove(f"records/{RECORDS[1].key}.json")
    listing = UrlFolder.listing

    def late(folder: UrlFolder, name: str) -> dict[str, Listed]:
        return {file: state for file, state in listing(folder, name).items() if not file.startswith(RECORDS[0].key)}

    monkeypatch.setattr(UrlFolder, "listing", late)
    assert find_missing(store.location, RECORDS).records == (RECORDS[1],)
