"""Files of one's own in a suite file: [[data]] tables, and names with options among the tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.data.sources.test_own_file import csv_file
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import ErrorCollector, UserError
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.toml import read_suite

HEAD = 'methods = ["features"]\nbackbones = ["minilm"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("tickets.csv", "test.csv", "dev.csv"):
        csv_file(tmp_path / "suites", name=name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def suite(folder: Path, text: str) -> str:
    (folder / "suites" / "mine.toml").write_text(f"{HEAD}{text}\n")
    return "suites/mine.toml"


def tasks(folder: Path, text: str) -> list[str]:
    cells = expand(suite(folder, text), Overrides(), listing=True).cells
    return list(dict.fromkeys(cell.task for cell in cells))


def mistakes(folder: Path, text: str) -> list[str]:
    wrong = ErrorCollector()
    read_suite(suite(folder, text), wrong)
    return wrong.messages


def test_a_table_is_the_task_of_its_file_next_to_the_suite(folder: Path) -> None:
    text = """[[data]]
    file = "tickets.csv"
    label = "sentiment"
    text = ["title", "review"]
    test = "test.csv"
    validation = "dev.csv"
    """
    (name,) = tasks(folder, text)
    task = load_task(name)
    assert task.input_fields == ("title", "review")
    assert set(task.splits) == {"train", "validation", "test"}
    assert "suites/tickets.csv?test=suites/test.csv&validation=suites/dev.csv&" in name


def test_a_table_and_a_name_with_the_same_options_are_one_task(folder: Path) -> None:
    table = tasks(folder, '[[data]]\nfile = "tickets.csv"\nlabel = "sentiment"\nsplit = 0.3')
    assert table == tasks(folder, 'tasks = ["tickets.csv?label=sentiment&split=0.3"]')


def test_a_file_with_options_is_named_relative_to_the_suite(folder: Path) -> None:
    (name,) = tasks(folder, 'tasks = ["tickets.csv?label=sentiment&test=test.csv"]')
    assert name == "file:suites/tickets.csv?test=suites/test.csv&label=sentiment"


def test_files_come_after_the_tasks(folder: Path) -> None:
    text = 'tasks = ["docstrings/kind"]\n[[data]]\nfile = "tickets.csv"\n[[data]]\nfile = "test.csv"'
    assert tasks(folder, text) == ["docstrings/kind", "file:suites/tickets.csv", "file:suites/test.csv"]


def test_a_list_of_paths_is_enough(folder: Path) -> None:
    assert tasks(folder, 'data = ["tickets.csv"]') == ["file:suites/tickets.csv"]


def test_a_part_has_data_of_its_own(folder: Path) -> None:
    text = """tasks = ["docstrings/kind"]
    [[part]]
    [[part.data]]
    file = "tickets.csv"
    header = true
    [[part]]
    methods = ["full"]
    """
    cells = expand(suite(folder, text), Overrides(), listing=True).cells
    assert {(cell.method.name, cell.task) for cell in cells} == {
        ("features", "file:suites/tickets.csv?header=yes"),
        ("full", "docstrings/kind"),
    }


def test_the_tasks_of_a_call_replace_them(folder: Path) -> None:
    path = suite(folder, '[[data]]\nfile = "tickets.csv"')
    cells = expand(path, Overrides(tasks=["docstrings/kind"]), listing=True).cells
    assert {cell.task for cell in cells} == {"docstrings/kind"}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ('[[data]]\nfile = "a.csv"\nlable = "x"', ["[[data]] 1", "did you mean 'label'"]),
        ('[[data]]\nlabel = "x"', ["names no file"]),
        ('[[data]]\nfile = "a.csv"\nseeds = [1]', ["move seeds above"]),
        ('[[data]]\nfile = "a.csv"\nsplit = true', ["split must be a text"]),
        ('[[data]]\nfile = "a.csv"\nsplit = 1.5', ["below 1"]),
        ('[[data]]\nfile = ["a.csv"]', ["file must be a text, got"]),
        ('[[data]]\nfile = "a.csv"\ntext = [["x"]]', ["text must be a text or a list"]),
        ('[[data]]\nfile = "a.csv"\nkind = "regresion"', ["did you mean 'regression'"]),
        ('[data]\nfile = "a.csv"', ["each [[data]]"]),
        ("data = []", ["each [[data]]"]),
        ("data = [3]", ["or a path"]),
        ('dta = ["a.csv"]', ["did you mean 'data'"]),
    ],
)
def test_a_mistake_is_one_paragraph_with_the_nearest_key(folder: Path, text: str, facts: list[str]) -> None:
    (message,) = mistakes(folder, text)
    assert "mine.toml" in message
    assert "\n" not in message
    assert all(fact in message for fact in facts), message


def test_all_wrong_tables_are_reported(folder: Path) -> None:
    text = '[[data]]\nfile = 3\n[[data]]\nfile = "tickets.csv"\n[[data]]\nfile = "a.csv"\nlable = "x"'
    assert len(mistakes(folder, text)) == 2


def test_a_file_that_is_not_there_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean 'tickets.csv'"):
        expand(suite(folder, '[[data]]\nfile = "tikets.csv"'), Overrides())
