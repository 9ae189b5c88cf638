"""`tunefront init`: the suite of one's own data as a file, which runs the same cells."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.bench.suites.test_own import write_rows
from tests.conftest import make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.cli.main import app
from tunefront.bench.data.sampling import rows_of
from tunefront.bench.data.sources import load_task
from tunefront.bench.errors import UserError
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides
from tunefront.bench.suites.written import PLACEHOLDER


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_rows(tmp_path, 100, long=3)
    write_rows_of_few(tmp_path)
    make_toy(tmp_path / "toy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_rows_of_few(folder: Path) -> None:
    (folder / "few.csv").write_text("text,label\n" + "".join(f"w{row} w1,{'ab'[row % 2]}\n" for row in range(40)))
    folds = (f"w{row} w1 w2,{'ab'[row % 2]},{('train', 'dev', 'test')[row % 3]}\n" for row in range(60))
    (folder / "folds.csv").write_text("text,label,fold\n" + "".join(folds))


def rows_trained_on(cell: Cell) -> int:
    return len(rows_of(cell, load_task(cell.task)).train)


def init(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["init", *arguments])


def plain(cells: tuple[Cell, ...]) -> Counter[Cell]:
    """The cells without the names of their tasks, whose paths may be written in another way."""
    return Counter(replace(cell, task="task") for cell in cells)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("train.csv",), {"data": ["train.csv"]}),
        (("train.csv", "--test", "test.csv"), {"data": ["train.csv"], "test": "test.csv"}),
        (("few.csv",), {"data": ["few.csv"]}),
        (("folds.csv",), {"data": ["folds.csv"]}),
        (("dir:toy",), {"tasks": ["dir:toy"]}),
        (("toy", "--draws", "0,1", "--seeds", "3"), {"data": ["toy"], "draws": [0, 1], "seeds": [3]}),
        (("few.csv", "--task", "dir:toy"), {"data": ["few.csv"], "tasks": ["dir:toy"]}),
        (
            ("train.csv", "--set", "learning_rate=1e-3", "--set", "eval_rows=7"),
            {"data": ["train.csv"], "settings": {"learning_rate": 1e-3, "eval_rows": 7}},
        ),
        (
            ("train.csv", "--trials", "5", "--sampler", "random"),
            {"data": ["train.csv"], "trials": 5, "sampler": "random"},
        ),
        (
            ("train.csv", "--method", "bitfit", "--shots", "all"),
            {"data": ["train.csv"], "methods": ["bitfit"], "shots": ["all"]},
        ),
    ],
)
def test_the_file_runs_the_cells_of_the_call(
    folder: Path, folders: dict[str, str], arguments: tuple[str, ...], options: dict[str, Any]
) -> None:
    for kind in ("bert", "llama"):
        done = init(*arguments, "--backbone", folders[kind], "--out", f"{kind}.toml")
        assert done.exit_code == 0, done.output
        cells = expand(None, Overrides(backbones=[folders[kind]], **options)).cells
        wanted = tuple(
            cell for cell in cells if cell.method.fewest_rows <= len(rows_of(cell, load_task(cell.task)).train)
        )
        assert len(wanted) < len(cells) or kind == "bert" or "folds.csv" not in arguments
        order = {name: place for place, name in enumerate(dict.fromkeys(cell.task for cell in wanted))}
        assert len(order) == len(options.get("data", ())) + len(options.get("tasks", ()))
        assert plain(expand(f"{kind}.toml").cells) == plain(wanted)


def test_paths_start_at_the_file(folder: Path, backbones: dict[str, str]) -> None:
    done = init("train.csv", "--test", "test.csv", "--backbone", backbones["bert"], "--out", "suites/mine.toml")
    assert done.exit_code == 0, done.output
    (file,) = tomllib.loads((folder / "suites" / "mine.toml").read_text())["data"]
    assert file == {"file": "../train.csv", "test": "../test.csv", "label": "label", "text": ["text"]}
    (name,) = {cell.task for cell in expand("suites/mine.toml").cells}
    assert name.startswith("file:train.csv?test=test.csv&")


def test_comments_of_the_shipped_suite_stay_and_numbers_get_their_own(folder: Path, backbones: dict[str, str]) -> None:
    init("train.csv", "--backbone", backbones["bert"])
    text = (folder / "train.toml").read_text()
    assert "# a head on frozen features" in text
    assert "fitted" not in tomllib.loads(text)["part"][0]
    (line,) = (line for line in text.splitlines() if line.startswith("max_length"))
    assert "97 of 100 rows uncut" in line
    assert all(len(line) <= 120 for line in text.splitlines())


def test_what_check_finds_odd_is_a_comment(folder: Path, backbones: dict[str, str]) -> None:
    rows = "".join(f"w{row % 7} w1 w2,{('bad', 'Good', 'good')[row % 3]}\n" for row in range(120))
    (folder / "odd.csv").write_text(f"text,label\n{rows}")
    assert init("odd.csv", "--backbone", backbones["bert"]).exit_code == 0
    comments = [line for line in (folder / "odd.toml").read_text().splitlines() if line.startswith("#")]
    assert any("'Good'" in line and "'good'" in line for line in comments)
    assert any("another label" in line for line in comments)


@pytest.mark.parametrize("name", ["train.toml", "folder.toml"])
def test_a_file_that_exists_is_not_overwritten(folder: Path, name: str) -> None:
    (folder / "train.toml").write_text("mine")
    (folder / "folder.toml").mkdir()
    done = init("train.csv", "--out", name)
    assert done.exit_code == 2
    assert "exists already" in done.output
    assert (folder / "train.toml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("--backbone", "minilm"), "needs data"),
        (("trian.csv",), "did you mean 'train.csv'"),
        (("train.csv", "--out", "mine.yaml"), "ends in .toml"),
        (("train.csv", "--out", "https://example.com/mine.toml"), "local file"),
        (("train.csv", "--label", "lable"), "did you mean 'label'"),
    ],
)
def test_mistakes_write_nothing(folder: Path, arguments: tuple[str, ...], fact: str) -> None:
    before = set(folder.rglob("*"))
    done = init(*arguments)
    assert done.exit_code == 2
    assert fact in done.output
    assert set(folder.rglob("*")) == before


def test_without_data_it_is_a_starter_that_runs_once_data_is_named(folder: Path, backbones: dict[str, str]) -> None:
    assert init().exit_code == 0
    path = folder / "suite.toml"
    with pytest.raises(UserError, match=PLACEHOLDER):
        expand("suite.toml", Overrides(backbones=[backbones["bert"]]))
    path.write_text(path.read_text().replace(PLACEHOLDER, "few.csv"))
    chosen = [backbones["bert"]]
    wanted = expand(None, Overrides(backbones=chosen, data=["few.csv"])).cells
    assert plain(expand("suite.toml", Overrides(backbones=chosen)).cells) == plain(wanted)


def test_the_next_command_is_quoted_for_a_shell(folder: Path, backbones: dict[str, str]) -> None:
    (folder / "few.csv").rename(folder / "a few & more.csv")
    said = init("a few & more.csv", "--backbone", backbones["bert"]).output
    assert "tunefront run 'a few & more.toml'" in said


def test_hostile_names_stay_in_comments(folder: Path, backbones: dict[str, str]) -> None:
    (folder / "bad.csv").write_text(
        'text,label,"x\n[part.recipe]\nepochs = 9 \x1b[31m"\n'
        + "".join(f"w{n} w1 w2,{'ab'[n % 2]},q\n" for n in range(80))
    )
    assert init("bad.csv", "--backbone", backbones["bert"]).exit_code == 0
    text = (folder / "bad.toml").read_text()
    assert "\x1b" not in text
    assert tomllib.loads(text)["part"][0]["recipe"]["epochs"] == 20.0
