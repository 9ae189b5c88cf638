"""Options as typed: a blank, repeated or invalid value gives one paragraph, and nothing runs."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.bench.world import World
from tunefront.bench.errors import NO_THREAD, ErrorCollector, UserError
from tunefront.bench.files import expanded, explain_os_error, local_folder, writing
from tunefront.bench.records import load_records
from tunefront.bench.records.urls import output_folder
from tunefront.bench.suites.lists import parse_values

pytestmark = pytest.mark.usefixtures("reports")
SMALL = ("run", "--method", "ia3", "--backbone", "tiny", "--task", "docstrings/kind", "--seeds", "0")
DIGITS = "9" * 5000


class Kept(MemoryFileSystem):
    """A file system that stands for another machine's."""

    protocol = "kept"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]


@pytest.fixture
def elsewhere() -> None:
    fsspec.register_implementation("kept", Kept, clobber=True)


def refused(result: Any, *facts: str) -> None:
    assert result.exit_code == 2, result.output
    for fact in facts:
        assert fact in result.stderr
    assert "Traceback" not in result.stderr
    assert "bug in tunefront" not in result.stderr


LISTS = ("--shots", "--draws", "--seeds", "--method", "--backbone", "--task", "--template", "--set")


@pytest.mark.parametrize("option", LISTS)
@pytest.mark.parametrize("text", ["", " ", "\t", "\udcff", "a\0b"])
def test_what_is_blank_or_no_text_is_refused(option: str, text: str, call: Any, world: World, tmp_path: Path) -> None:
    refused(call("run", option, text), option)
    assert not world.calls
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("option", ["--shots", "--draws", "--seeds"])
@pytest.mark.parametrize("text", [",", ",,", " , ", "1,", ",1", "1,,2", "1,1", DIGITS, "-1", "1.5", "١٢x"])
def test_a_list_with_gaps_or_twins_is_refused(option: str, text: str, call: Any, world: World) -> None:
    refused(call("run", option, text))
    assert not world.calls


@pytest.mark.parametrize(
    "arguments",
    [
        ("--method", "ia3", "--method", "ia3"),
        ("--task", "docstrings/kind", "--task", "docstrings/kind"),
        ("--backbone", "tiny", "--backbone", " tiny"),
        ("--set", "epochs=1", "--set", "epochs=2"),
        ("--set", "device=cpu", "--device", "cuda"),
        ("--set", "=1"),
        ("--set", "epochs="),
        ("--device", ""),
        ("",),
        (" ",),
    ],
)
def test_what_is_given_twice_or_half_is_refused(arguments: tuple[str, ...], call: Any, world: World) -> None:
    refused(call("run", *arguments))
    assert not world.calls


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", DIGITS, f"-{DIGITS}", "true", "0x10"])
def test_numbers_that_are_none_are_refused(value: str, call: Any, world: World) -> None:
    refused(call(*SMALL, "--set", f"learning_rate={value}"), "learning_rate")


@pytest.mark.parametrize(
    "spelled",
    [
        f"houlsby:bottleneck={DIGITS}",
        f"houlsby:std={DIGITS}",
        f"houlsby(bottleneck=0x{'f' * 4000})",
        "houlsby:bottleneck=1e999",
        "houlsby:std=nan",
        "houlsby:" + "x" * 20_000,
        "houlsby(" + "(" * 3000 + ")",
        '"' * 9000,
    ],
)
def test_spelled_numbers_beyond_all_bounds_are_refused(spelled: str, call: Any, world: World) -> None:
    refused(call("run", "--method", spelled))
    assert not world.calls


@pytest.mark.parametrize("verb", ["run", "report", "stale"])
@pytest.mark.parametrize("place", ["", "  ", "~nobody-of-this-name/x", "a\0b", "file://", "s3:/bucket/x"])
def test_a_place_that_is_none_is_refused(verb: str, place: str, call: Any, world: World, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    refused(call(*((*SMALL, "--out", place) if verb == "run" else (verb, place))))
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("place", ["", " ", "memory://x", "~nobody-of-this-name", "s3:/x", "nosuch://x"])
def test_a_report_is_not_written_to_no_place(place: str, call: Any, world: World, tmp_path: Path) -> None:
    call(*SMALL)
    before = set(tmp_path.iterdir())
    refused(call("report", "results", "--out", place), "--out" if place != "nosuch://x" else "nosuch")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("option", "text"), [("--format", ""), ("--format", "html,"), ("--format", "md,md"), ("--where", "")]
)
def test_lists_of_a_report_are_read_as_strictly(option: str, text: str, call: Any, world: World) -> None:
    call(*SMALL)
    refused(call("report", "results", option, text), option)


@pytest.mark.usefixtures("elsewhere")
def test_a_report_goes_where_the_url_says(call: Any, world: World, tmp_path: Path) -> None:
    call(*SMALL)
    result = call("report", "results", "--out", "kept://bucket/drawn/", "--format", "md")
    assert result.exit_code == 0, result.output
    assert "kept://bucket/drawn/report.md" in result.stdout
    with fsspec.open("kept://bucket/drawn/report.md", "rt") as file:
        assert file.read() == "1 None"
    assert not [path for path in tmp_path.iterdir() if ":" in path.name]
    ran = call(*SMALL, "--out", "kept://bucket/results")
    assert ran.exit_code == 0
    assert len(load_records("kept://bucket/results")) == 1


def test_records_in_memory_are_said_to_be_lost(call: Any, world: World) -> None:
    assert "are lost" in call(*SMALL, "--out", "memory://gone").stderr


def test_all_errors_are_reported_together() -> None:
    with pytest.raises(UserError) as error:
        parse_values("--seeds", ["0,,1,1"], commas=True)
    assert "2 errors" in str(error.value)
    assert parse_values("--seeds", [" 0 ,1"], commas=True) == ["0", "1"]
    assert parse_values("--seeds", None) is None


def test_a_folder_is_delivered_as_it_is(tmp_path: Path) -> None:
    with output_folder(tmp_path / "here") as folder:
        assert folder == tmp_path / "here"


@pytest.mark.usefixtures("elsewhere")
def test_what_fails_is_not_delivered() -> None:
    def fail() -> None:
        with output_folder("kept://bucket/none") as folder:
            (folder / "half").write_text("x", encoding="utf-8")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not fsspec.filesystem("kept").exists("bucket/none/half")


def test_paths_that_no_system_takes_are_mistakes() -> None:
    for text in ("~nobody-of-this-name", "a\0b", "\ud800"):
        with pytest.raises(UserError):
            expanded(text)
        with pytest.raises(UserError):
            local_folder(text)
    assert local_folder("a") == Path("a")


def test_a_write_that_fails_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output") as error, writing(tmp_path / "x.json") as file:
        file.write(b"half")
    assert str(tmp_path / "x.json") in explain_os_error(error.value)
    assert list(tmp_path.iterdir()) == []


SYSTEM = {
    errno.EROFS: 2, errno.EIO: 2, errno.EFBIG: 2, errno.ENOLCK: 2, errno.EMFILE: 2, errno.EACCES: 2, errno.ELOOP: 2,
    errno.ENOSPC: 1, errno.EDQUOT: 1, errno.ESTALE: 2, errno.EAGAIN: 2, errno.ENOTDIR: 2, errno.EPERM: 2, 4242: 2,
}  # fmt: skip
"""System error -> exit code."""


@pytest.mark.parametrize("number", SYSTEM)
def test_what_the_system_refuses_names_the_file_and_is_no_bug(number: int, call: Any, world: World) -> None:
    world.raises = OSError(number, os.strerror(number), "results/records/x[1].json")
    result = call(*SMALL)
    assert result.exit_code == SYSTEM[number]
    assert "results/records/x[1].json" in result.stderr
    assert os.strerror(number) in result.stderr
    assert "bug in tunefront" not in result.stderr


def blaming_a_file() -> UserError:
    """An error that blames a file, as where a library gets no thread while it reads one."""
    error = UserError("config.json cannot be used: correct its fields")
    error.__cause__ = RuntimeError(NO_THREAD)
    return error


@pytest.mark.parametrize(
    ("raised", "code", "fact"),
    [
        (ConnectionError("no route"), 2, "no route"),
        (ConnectionError("ftp://ann:secret@host is away"), 2, "ftp://ann:***@host is away"),
        (KeyError("ftp://ann:secret@host"), 1, "bug in tunefront"),
        (MemoryError(), 1, "memory"),
        (ImportError("x.so: failed to map segment from shared object"), 1, "memory"),
        (RuntimeError(NO_THREAD), 2, "thread"),
        (blaming_a_file(), 2, "thread"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (SystemExit(0), 1, "SystemExit"),
        (type("PanicException", (BaseException,), {})("rust"), 1, "PanicException: rust"),
    ],
)
def test_other_ends_have_an_exit_code_too(raised: BaseException, code: int, fact: str, call: Any, world: World) -> None:
    world.raises = raised
    result = call(*SMALL)
    assert result.exit_code == code
    assert fact in result.stderr
    assert "config.json" not in result.stderr
    assert "correct its fields" not in result.stderr
    assert "secret" not in result.output
    assert "Traceback" not in result.stderr


def test_a_lack_of_threads_is_not_collected_with_mistakes() -> None:
    with pytest.raises(UserError, match=r"config\.json"), ErrorCollector().collect():
        raise blaming_a_file()


def test_a_missing_working_directory_is_reported(call: Any, world: World, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        refused(call(*SMALL), "working directory")
    finally:
        os.chdir(tmp_path)
    assert not world.calls


@pytest.mark.parametrize(("typed", "meant"), [("file:/x/y", "file:///x/y"), ("s3:/x/y", "s3://x/y")])
def test_a_url_with_one_slash_is_answered_with_the_whole_one(
    typed: str, meant: str, call: Any, world: World, tmp_path: Path
) -> None:
    call(*SMALL)
    refused(call("report", "results", "--out", typed), f"write {meant},")


@pytest.mark.parametrize("setting", ["steps", "learning_rate", "max_length", "eval_rows", "schedule", "nosuch"])
def test_a_value_of_thousands_of_characters_is_not_repeated(setting: str, call: Any, world: World) -> None:
    for value in ("9" * 5000, "x" * 5000):
        result = call(*SMALL, "--set", f"{setting}={value}")
        if result.exit_code == 0:
            continue
        refused(result)
        assert len(result.stderr) < 1500


def test_other_values_of_thousands_of_characters_are_not_repeated(call: Any, world: World) -> None:
    for option in ("--method", "--task", "--backbone", "--shots", "--seeds", "--draws", "--template", "--device"):
        result = call(*SMALL, option, "9" * 5000)
        assert result.exit_code == 2
        assert len(result.stderr) < 1500, option
