"""Records in any store that fsspec reaches."""

from __future__ import annotations

import os
import time
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, load_records
from tunefront.bench.records.store import Store


def record(key: str) -> Record:
    return Record(key=key, status="ok", method="full", label="full", backbone="b", task="t", seed=3)


def test_a_url_holds_records_and_predictions() -> None:
    store = Store("memory://results/a")
    store.prepare()
    store.write(record("1" * 8), pd.DataFrame({"id": ["0"], "label": [1], "prediction": [1]}))
    store.write(record("2" * 8))
    assert store.read("1" * 8) == record("1" * 8)
    assert store.read("3" * 8) is None
    assert [stored.key for stored in store.records()] == ["1" * 8, "2" * 8]
    assert store.predictions("1" * 8)["prediction"].tolist() == [1]
    with store.claim("1" * 8) as mine:
        assert mine


def test_a_torn_record_behind_a_url_is_named_and_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    store = Store("memory://results/b")
    store.write(record("1" * 8))
    fsspec.filesystem("memory").pipe_file("/results/b/records/11111111.json", b'{"key": "111')
    assert store.read("1" * 8) is None
    assert "11111111.json is not a complete record" in caplog.text


def test_preparing_a_url_makes_its_folders_and_leaves_no_probe() -> None:
    Store("memory://results/c/").prepare()
    files = fsspec.filesystem("memory")
    assert files.isdir("/results/c/records")
    assert files.isdir("/results/c/predictions")
    assert files.find("/results/c") == []


@pytest.mark.parametrize(
    "failure", [PermissionError("Access Denied"), ImportError("Install s3fs"), RuntimeError("no key")]
)
def test_a_url_that_cannot_be_written_or_read_is_a_mistake(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(fsspec.core, "url_to_fs", broken)
    with pytest.raises(UserError, match=f"memory://d cannot be written .{failure}.; give a local folder"):
        Store("memory://d").prepare()


def test_a_record_behind_a_url_that_may_not_be_read_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("memory://results/refused")
    store.write(record("1" * 8))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
    with pytest.raises(UserError, match=r"11111111.json cannot be read .Access Denied"):
        store.read("1" * 8)
    assert load_records("memory://results/refused") == []


def test_an_unknown_protocol_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"nowhere://a cannot be written .Protocol not known: nowhere"):
        Store("nowhere://a").prepare()
    with pytest.raises(UserError, match="nowhere://a cannot be read"):
        load_records("nowhere://a")


def test_a_file_url_is_a_local_folder(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/new")
    store.prepare()
    store.write(record("1" * 8), pd.DataFrame({"id": ["0"], "prediction": [1]}))
    assert store.location == str(tmp_path / "new")
    assert (tmp_path / "new" / "records" / "11111111.json").is_file()
    assert store.predictions("1" * 8)["prediction"].tolist() == [1]
    assert load_records(f"file://{tmp_path}/new") == Store(tmp_path / "new").records() == [record("1" * 8)]
    with store.claim("1" * 8) as mine, Store(tmp_path / "new").claim("1" * 8) as twice:
        assert (mine, twice) == (True, False)


def test_preparing_removes_day_old_files_of_killed_processes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    store.write(record("1" * 8))
    for folder in ("records", "predictions"):
        for name, age in ((".old.json.0.tmp", 25), (".new.json.0.tmp", 1), ("kept.json.corrupt", 99)):
            path = tmp_path / folder / name
            path.touch()
            os.utime(path, (time.time() - 3600 * age,) * 2)
        store.prepare()
        names = {path.name for path in (tmp_path / folder).iterdir()}
        assert names - {"11111111.json"} == {".new.json.0.tmp", "kept.json.corrupt"}
    assert store.read("1" * 8) == record("1" * 8)


def test_a_file_that_is_being_written_survives_a_clock_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the machines that share a folder is some days ahead."""
    store = Store(tmp_path / "out")
    store.prepare()
    written, left = (tmp_path / "out" / "records" / f".{name}.json.tmp" for name in ("written", "left"))
    for file in (written, left):
        file.touch()
    os.utime(left, (time.time() - 48 * 3600,) * 2)
    ahead = time.time() + 72 * 3600
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: ahead)
        Store(tmp_path / "out").prepare()
    assert written.exists()
    assert not left.exists()
