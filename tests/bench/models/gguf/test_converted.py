"""Converted folders of the cache: which files stand for them, made once, and whole or not at all."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests import ROOT
from tests.bench.models.gguf.files import write_model
from tunefront.bench.data.archives.cached import NotFetched
from tunefront.bench.errors import UserError
from tunefront.bench.execution.places import Missing, Places
from tunefront.bench.files import LEFT_SECONDS
from tunefront.bench.forecast.fake_models import FakePretrained
from tunefront.bench.models.gguf import convert, converted, names
from tunefront.bench.models.gguf.origin import FILES, ORIGIN
from tunefront.bench.models.locate import backbone_bytes, check_downloaded, fingerprint, locate, stored_weights

ROOM = converted.ROOM


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which nothing is converted yet."""
    for known in (locate, fingerprint, backbone_bytes):
        known.cache_clear()
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / ROOM


@pytest.fixture
def model(language_models: dict[str, str], tmp_path: Path) -> Path:
    return write_model(tmp_path / "models" / "model.gguf", Path(language_models["llama"]))


@pytest.fixture(autouse=True)
def folder_of_models(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()


def left(cache: Path) -> list[str]:
    """The content of the cache without locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") if cache.exists() else []


def test_the_folder_is_named_by_content_and_version(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = locate(str(model))
    renamed = model.rename(model.with_name("other.gguf"))
    assert locate(str(renamed)) == first
    assert left(cache) == [first.name]
    monkeypatch.setattr(converted, "CONVERTER", 999)
    again = locate.__wrapped__(str(renamed))
    assert left(cache) == sorted([first.name, again.name])


def test_a_converted_folder_is_not_made_again(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = locate(str(model))
    monkeypatch.setattr(converted, "_convert", pytest.fail)
    assert locate.__wrapped__(str(model)) == folder


@pytest.mark.parametrize("name", FILES)
def test_a_folder_that_lost_a_file_is_made_again(name: str, cache: Path, model: Path) -> None:
    folder = locate(str(model))
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    (folder / name).unlink()
    assert locate.__wrapped__(str(model)) == folder
    assert (folder / name).is_file()


def test_what_is_known_of_a_gguf_backbone(cache: Path, model: Path) -> None:
    name = str(model)
    assert backbone_bytes(name) == model.stat().st_size
    assert stored_weights(name) == "F32"
    assert json.loads((locate(name) / ORIGIN).read_text())["bytes"] == model.stat().st_size
    before = fingerprint(name)
    moved = model.rename(model.with_name("moved.gguf"))
    assert fingerprint(str(moved)) == before


def test_a_plan_sees_what_a_run_sees(cache: Path, model: Path) -> None:
    planned = FakePretrained(str(model))
    assert (planned.stored_weights, planned.file_bytes) == ("F32", model.stat().st_size)
    assert planned.config.model_type == "llama"


@pytest.mark.parametrize(
    ("files", "stands_for"),
    [
        (["model.gguf"], True),
        (["MODEL.GGUF", "README.md"], True),
        (["a.gguf", "b.gguf"], False),
        (["model.gguf", "model.safetensors"], False),
        (["model.gguf", "config.json"], False),
        ([], False),
    ],
)
def test_a_folder_stands_for_its_only_gguf_file(files: list[str], stands_for: bool, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / "models" / name).touch()
    assert names.is_gguf(str(tmp_path / "models")) == stands_for


def test_the_only_file_of_a_folder_is_used(cache: Path, model: Path) -> None:
    assert locate(str(model.parent)) == locate(str(model))


def test_of_several_files_one_has_to_be_given(cache: Path, model: Path) -> None:
    shutil.copy(model, model.with_name("other.gguf"))
    with pytest.raises(UserError, match=rf"but model.gguf, other.gguf: give one GGUF file.* {model}"):
        locate(str(model.parent))


def test_a_file_that_is_not_there_is_told_as_such(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no GGUF file .*gone\.gguf"):
        locate(str(tmp_path / "gone.gguf"))


def _converted(path: str, gate: multiprocessing.synchronize.Barrier, made: multiprocessing.SimpleQueue[str]) -> None:
    """In a process of its own: waits for the other, then converts, and says so where it was the one that did."""
    write = convert.Conversion.write

    def slowly(self: convert.Conversion, folder: Path) -> None:
        made.put(str(folder))
        time.sleep(0.5)
        write(self, folder)

    convert.Conversion.write = slowly  # type: ignore[method-assign]
    gate.wait()
    assert locate(path).is_dir()


def test_two_processes_at_once_convert_once(cache: Path, model: Path) -> None:
    context = multiprocessing.get_context("fork")
    gate, made = context.Barrier(2), context.SimpleQueue()
    both = [context.Process(target=_converted, args=(str(model), gate, made)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert made.get()
    assert made.empty()
    assert len(left(cache)) == 1


def test_without_locks_the_first_to_finish_wins(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    def none(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    write = convert.Conversion.write

    def meanwhile(self: convert.Conversion, folder: Path) -> None:
        write(self, folder)
        shutil.copytree(folder, folder.parent / folder.name.removeprefix(".").rsplit(".", 2)[0])

    monkeypatch.setattr(filelock.FileLock, "acquire", none)
    monkeypatch.setattr(convert.Conversion, "write", meanwhile)
    assert load_file(locate(str(model)) / "model.safetensors")
    assert len(left(cache)) == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_leaves_nothing_behind(
    code: int, cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: convert.Conversion, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(convert.Conversion, "_write_weights", full)
        with pytest.raises(
            UserError, match=r"model\.gguf cannot be converted in the cache: .*TUNEFRONT_CACHE"
        ) as raised:
            locate(str(model))
        assert "\n" not in str(raised.value)
        assert left(cache) == []
    assert locate(str(model)).is_dir()


def test_too_little_room_is_told_before_anything_is_written(
    cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converted, "_SPARE", 2**60)
    with pytest.raises(UserError, match=r"takes .* GB as float32 weights, and the cache .* has .* GB left"):
        locate(str(model))
    assert left(cache) == []


def test_a_real_full_disk_ends_in_one_paragraph(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own limit on a file's size stands for a disk that fills up while weights are written."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(UserError, match="cannot be converted in the cache"):
            locate(str(model))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(cache) == []


def test_a_cache_that_cannot_be_written_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locate.cache_clear()
    (tmp_path / "file").touch()
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be converted in the cache: .*another folder"):
        locate(str(model))


def test_what_a_killed_process_left_is_swept(cache: Path, model: Path) -> None:
    for name, age in ((".old.tmp", LEFT_SECONDS + 60), (".young.tmp", 0)):
        (cache / name).mkdir(parents=True)
        (cache / name / "model.safetensors").touch()
        os.utime(cache / name, (time.time() - age, time.time() - age))
    assert left(cache) == [".old.tmp", ".young.tmp"]
    folder = locate(str(model))
    assert left(cache) == [".young.tmp", folder.name]


def test_an_interrupted_conversion_leaves_nothing(cache: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: convert.Conversion, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(convert.Conversion, "_write_weights", interrupted)
    with pytest.raises(KeyboardInterrupt):
        locate(str(model))
    assert left(cache) == []


def test_smollm2_that_is_not_fetched_names_the_command(cache: Path) -> None:
    for look in (locate, check_downloaded, fingerprint, backbone_bytes):
        with pytest.raises(NotFetched, match="tunefront fetch smollm2"):
            look("smollm2")


def test_a_record_on_smollm2_that_is_not_fetched_misses_its_backbone(cache: Path) -> None:
    with pytest.raises(Missing, match="backbone smollm2"):
        Places().backbone("smollm2", None)


def test_a_gguf_file_is_found_from_the_results(
    cache: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert Places(tmp_path / "results").backbone("models/model.gguf", None) == str(model)
    with pytest.raises(Missing):
        Places(tmp_path / "results").backbone("models/gone.gguf", None)
