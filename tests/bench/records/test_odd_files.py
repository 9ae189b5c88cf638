"""Odd and hostile files among the records: each is named, skipped and left unchanged, and nothing hangs."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunefront.bench.errors import UserError
from tunefront.bench.records import Record, Unreadable, load_records, ordinary
from tunefront.bench.records.store import Store

ROOT_USER = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture
def deadline() -> Iterator[None]:
    """A test that hangs fails after 20 seconds."""

    def end(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def good(key: str) -> Record:
    return Record(key=key, status="ok", method="full", label="full", backbone="b", task="t")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    store.prepare()
    store.write(good("bbbbbbbb"))
    return tmp_path


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.json")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2 * 2**30)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder": (Path.mkdir, "a folder"),
    "pipe": (os.mkfifo, "a pipe"),
    "loop": (loop, "symbolic links"),
    "dangling": (dangling, "broken link"),
    "device": (device, "a device"),
    "large": (sparse, "2,147,483,648 bytes"),
    "socket": (listening, "a socket"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.usefixtures("deadline")
def test_what_is_no_ordinary_file_is_named_and_left_out(
    kind: str, results: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(results)
    make, why = ODD[kind]
    make(results / "records" / "aaaaaaaa.json")
    assert [record.key for record in load_records(results)] == ["bbbbbbbb"]
    (line,) = (record.getMessage() for record in caplog.records)
    assert "aaaaaaaa.json cannot be read" in line
    assert why in line
    with pytest.raises(Unreadable, match="aaaaaaaa"):
        Store(results).read("aaaaaaaa")
    assert os.path.lexists(results / "records" / "aaaaaaaa.json")


@pytest.mark.skipif(ROOT_USER, reason="root reads everything")
def test_a_record_that_may_not_be_read_is_named(results: Path, caplog: pytest.LogCaptureFixture) -> None:
    (results / "records" / "bbbbbbbb.json").chmod(0)
    assert load_records(results) == []
    assert "Permission denied" in caplog.text


def failing(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    def refuse(path: object, *_: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(ordinary.os, name, refuse)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.EPERM])
def test_what_the_system_refuses_to_read_is_named(
    code: int, results: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "open", code)
    assert load_records(results) == []
    assert f"bbbbbbbb.json cannot be read ({os.strerror(code)})" in caplog.text


def test_a_process_that_can_open_no_more_files_reads_nothing_rather_than_less(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "open", errno.EMFILE)
    with pytest.raises(UserError, match="ulimit -n"):
        load_records(results)


def test_a_folder_that_may_not_be_listed_is_a_mistake(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "listdir", errno.EACCES)
    with pytest.raises(UserError, match=r"records cannot be read .Permission denied"):
        load_records(results)


def test_a_file_where_a_folder_should_be_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="is a file"):
        load_records(tmp_path / "results")
    (tmp_path / "records").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="records is a file where a folder should be"):
        load_records(tmp_path)
    with pytest.raises(UserError, match="NUL"):
        load_records(tmp_path / "a\0b")


def test_records_that_vanish_while_they_are_read_are_counted(
    results: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [results / "records" / f"{name * 8}.json" for name in "cd"]
    real = ordinary.list_files
    monkeypatch.setattr("tunefront.bench.records.io.list_files", lambda *args: [*real(*args), *gone])
    assert [record.key for record in load_records(results)] == ["bbbbbbbb"]
    assert "2 files" in caplog.text
    assert "vanished while the folder was read" in caplog.text


def test_hidden_files_are_no_records(results: Path, caplog: pytest.LogCaptureFixture) -> None:
    (results / "records" / "._bbbbbbbb.json").write_bytes(b"\0\5\x16\7")  # as macOS leaves on other file systems
    assert len(load_records(results)) == 1
    assert caplog.text == ""
