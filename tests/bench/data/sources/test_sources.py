"""Names of tasks: how they are spelled, and what is said about one that is not there."""

import json

import pytest

from tunefront.bench.data.sources import known_tasks, load_task
from tunefront.bench.errors import Mistake


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("docstrings/libary", "did you mean 'docstrings/library'"),
        ("library", "did you mean 'docstrings/library'"),
        ("sst2", r"Or dir:<path>, or hub:<dataset>"),
        ("dir:", "no task 'dir:'"),
        ("dri:data", "no task"),
    ],
)
def test_an_unknown_name_is_a_mistake_with_the_nearest_name(name, says):
    with pytest.raises(Mistake, match=says):
        load_task(name)


def test_a_folder_is_loaded_once_per_working_folder_and_named_as_spelled(tmp_path, monkeypatch):
    for place in ("here", "there"):
        (tmp_path / place / "data").mkdir(parents=True)
        rows = [{"text": f"{place} {i}", "label": i} for i in range(2)]
        for split in ("train", "test"):
            (tmp_path / place / "data" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = []
    for place in ("here", "there", "here"):
        monkeypatch.chdir(tmp_path / place)
        found.append(load_task("dir:data"))
    assert found[0] is found[2]
    assert found[0] != found[1]
    assert found[0].name == found[1].name == "dir:data"
    assert found[0].warnings == ("dir:data: 2 of 2 test rows also occur in train (ids 0, 1)",)


def test_embedded_tasks_are_listed_by_their_full_names():
    assert known_tasks() == ["docstrings/kind", "docstrings/library", "docstrings/match", "docstrings/param_type"]
