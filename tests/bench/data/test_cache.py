"""The cache: whole entries or none, corrupted ones noticed and named, and where the folder is."""

import logging
import threading

import pytest

from tunefront.bench.data import cache
from tunefront.bench.data.cache import folder, load_or_make, read_task, task_path, write_task
from tunefront.bench.data.task import MetricSpec, Row, Task
from tunefront.bench.errors import UserError
from tunefront.bench.files import writing


def toy(rows: int = 5) -> Task:
    train = [Row(str(i), {"text": f"naïve\u2028{i}", "n": 0.1 * i, "none": None}, i % 2) for i in range(rows)]
    metrics = (MetricSpec("accuracy"), MetricSpec("f1", ("b",)))
    return Task(
        "docs/toy", "classification", {"train": train, "test": train[:2]}, ("text",), ("a", "b"), metrics, ("x 1",)
    )


def never() -> Task:
    raise AssertionError("a whole entry is not made again")


def test_a_task_comes_back_equal(tmp_path):
    path = tmp_path / "tasks" / "toy.jsonl"
    assert load_or_make(path, toy) == toy()
    assert load_or_make(path, never) == toy()
    assert load_or_make(path, never).fingerprint == toy().fingerprint


def test_regression_labels_come_back_bit_for_bit(tmp_path):
    rows = [Row("0", {"text": "a"}, 0.1 + 0.2), Row("1", {"text": "b"}, 3)]
    task = Task("r", "regression", {"train": rows, "test": rows}, ("text",), (), (MetricSpec("pearson"),))
    write_task(tmp_path / "r.jsonl", task)
    assert read_task(tmp_path / "r.jsonl") == task


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + b"\xff\n",
        lambda data: data.replace(b"\xc3\xaf", b"ie", 1),
        lambda data: b"\n".join(data.split(b"\n")[:-2]) + b"\n",
        lambda data: data + data.split(b"\n")[-2] + b"\n",
        lambda data: b"[1, 2]\n" + data,
        lambda data: data.replace(b'"splits"', b'"splats"'),
        lambda data: data.replace(b'"metrics": [', b'"metrics": [7, '),
    ],
)
def test_a_corrupted_entry_is_named_in_a_warning_and_made_again(tmp_path, caplog, damage):
    path = tmp_path / "toy.jsonl"
    write_task(path, toy())
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING, "tunefront"):
        assert load_or_make(path, toy) == toy()
    assert str(path) in caplog.text
    assert "corrupted" in caplog.text
    assert read_task(path) == toy()


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file"

    def stop_midway() -> None:
        with writing(path) as file:
            file.write(b"half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        stop_midway()
    assert list(path.parent.iterdir()) == []


def test_preparing_at_once_succeeds_for_all_and_leaves_one_whole_entry(tmp_path):
    path, together, actual = tmp_path / "toy.jsonl", threading.Barrier(4), []

    def make() -> Task:
        together.wait(timeout=20)  # every one of them has found nothing
        return toy(500)

    threads = [threading.Thread(target=lambda: actual.append(load_or_make(path, make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert actual == [toy(500)] * 4
    assert [file.name for file in tmp_path.iterdir()] == ["toy.jsonl"]
    assert read_task(path) == toy(500)


def test_where_nothing_can_be_written_the_task_is_made_with_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING, "tunefront"):
        assert load_or_make(tmp_path / "file" / "toy.jsonl", toy) == toy()
    assert "TUNEFRONT_CACHE" in caplog.text


def test_the_cache_is_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path))
    assert folder("tasks") == tmp_path / "tasks"


def test_a_checkout_that_can_be_written_has_its_own_cache_and_others_use_the_users(tmp_path, monkeypatch):
    monkeypatch.delenv("TUNEFRONT_CACHE", raising=False)
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    assert tmp_path not in folder().parents
    (tmp_path / "data_cache").mkdir()
    assert tmp_path not in folder().parents
    (tmp_path / "pyproject.toml").touch()
    assert folder("tasks") == tmp_path / "data_cache" / "tasks"
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    assert tmp_path not in folder().parents


def test_another_version_of_what_a_task_was_made_from_is_another_entry():
    one, other = (task_path("docstrings/kind", {"torch": version}) for version in ("2.6", "2.7"))
    assert one != other
    assert one.name.startswith("docstrings-kind-")


def test_a_cache_that_cannot_be_entered_is_no_cache(tmp_path, caplog, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.exists", closed)
    with caplog.at_level(logging.WARNING, "tunefront"):
        assert cache.load_cached(tmp_path / "x.jsonl") is None
    assert "cannot be read" in caplog.text


def test_a_cache_of_an_unknown_user_is_reported_with_the_variable(monkeypatch):
    monkeypatch.setenv("TUNEFRONT_CACHE", "~nobody-of-this-name/x")
    with pytest.raises(UserError, match="TUNEFRONT_CACHE"):
        folder()
