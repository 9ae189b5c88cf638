"""Names of tasks: how they are spelled, and what is said about one that is not there."""

import json

import pytest

from tunefront.bench.data.sources import known_tasks, load_task
from tunefront.bench.errors import UserError


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("docstrings/libary", "did you mean 'docstrings/library'"),
        ("library", "did you mean 'docstrings/library'"),
        ("sst2", r"the path of a file, dir:<path>, or hub:<dataset>"),
        ("dir:", "no task 'dir:'"),
        ("dri:data", "no task"),
    ],
)
def test_an_unknown_name_is_a_mistake_with_the_nearest_name(name, says):
    with pytest.raises(UserError, match=says):
        load_task(name)


def test_a_path_without_dir_is_answered_with_the_spelling_that_works(tmp_path, monkeypatch):
    (tmp_path / "here" / "films").mkdir(parents=True)
    (tmp_path / "here" / "train.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path / "here")
    for name, says in (
        (str(tmp_path / "here"), f"'dir:{tmp_path / 'here'}'"),
        (f"{tmp_path}/here/", f"'dir:{tmp_path}/here'"),
        ("./films", "'dir:./films'"),
        ("films", "'dir:films'"),
        ("../here/films", "'dir:../here/films'"),
        (".", "'dir:.'"),
        ("/", "'dir:/'"),
        ("./no-such", "no file or folder ./no-such"),
        ("no-such.csv", "no file or folder no-such.csv"),
        ("~nosuchuser/x", "no task '~nosuchuser/x'"),
        ("a\0b", "no task"),
        ("x" * 5000, "no task"),
    ):
        with pytest.raises(UserError) as caught:
            load_task(name)
        assert says in str(caught.value)


def test_a_working_folder_that_is_gone_hinders_only_what_is_relative_to_it(tmp_path, monkeypatch):
    for place in ("gone", "films"):
        (tmp_path / place).mkdir()
    for split in ("train", "test"):
        (tmp_path / "films" / f"{split}.csv").write_text("text,label\na,good\nb,bad\n")
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert load_task(f"dir:{tmp_path / 'films'}").label_names == ("bad", "good")
    with pytest.raises(UserError, match="no folder"):
        load_task("dir:films")


def test_a_folder_is_loaded_once_per_working_folder_and_named_as_spelled(tmp_path, monkeypatch):
    for place in ("here", "there"):
        (tmp_path / place / "data").mkdir(parents=True)
        rows = [{"text": f"{place} {i}", "label": i} for i in range(2)]
        for split in ("train", "test"):
            (tmp_path / place / "data" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    actual = []
    for place in ("here", "there", "here"):
        monkeypatch.chdir(tmp_path / place)
        actual.append(load_task("dir:data"))
    assert actual[0] is actual[2]
    assert actual[0] != actual[1]
    assert actual[0].name == actual[1].name == "dir:data"
    assert actual[0].warnings == ("dir:data: 2 of 2 test rows also occur in train (ids 0, 1)",)


def test_embedded_tasks_are_listed_by_their_full_names():
    embedded = ["docstrings/kind", "docstrings/library", "docstrings/match", "docstrings/param_type"]
    assert known_tasks()[:4] == embedded
    assert {name.partition("/")[0] for name in known_tasks()[4:]} == {"sentiment", "news"}
