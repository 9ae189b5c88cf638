"""`--data FILE` from the command, from suites and from Python: one task, by one name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.bench.data.sources.test_own_file import csv_file
from tunefront import run
from tunefront.bench.errors import UserError
from tunefront.bench.suites.expand import expand
from tunefront.bench.suites.overrides import Overrides


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    csv_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(suite: str = "quick", **options: Any) -> set[str]:
    overrides = Overrides(methods=["features"], backbones=["minilm"], **options)
    return {cell.task for cell in expand(suite, overrides, listing=True).cells}


@pytest.mark.parametrize(
    "options",
    [
        {"data": ["tickets.csv"], "label": "sentiment"},
        {"data": [Path("tickets.csv")], "label": "sentiment"},
        {"tasks": ["tickets.csv?label=sentiment"]},
        {"tasks": ["file:tickets.csv?label=sentiment"]},
    ],
)
def test_every_way_to_name_a_file_is_one_task(folder: Path, options: dict[str, Any]) -> None:
    assert names(**options) == {"file:tickets.csv?label=sentiment"}


def test_a_suite_names_files_next_to_it(folder: Path) -> None:
    suite = folder / "suites" / "mine.toml"
    csv_file(suite.parent)
    suite.write_text('tasks = ["tickets.csv?split=0.3"]\nmethods = ["features"]\nbackbones = ["minilm"]\n')
    assert names("suites/mine.toml") == {"file:suites/tickets.csv?split=0.3"}


def test_what_is_guessed_is_announced_before_anything_runs(folder: Path) -> None:
    expansion = expand("quick", Overrides(methods=["features"], backbones=["minilm"], data=["tickets.csv"]))
    assert "guessed: say otherwise with --text, --label and --split" in expansion.announcements[0]


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("--label", "sentiment"), "only applies to --data"),
        (("--data", "tikets.csv"), "did you mean 'tickets.csv'"),
        (("--data", "tickets.csv", "--label", "sentimnt"), "did you mean 'sentiment'"),
        (("--data", "tickets.csv", "--split", "0"), "below 1"),
        (("--data", "tickets.csv", "--data", "b.csv", "--test", "c.csv"), "for one --data"),
        (("--data", "tickets.csv", "--data", "b.csv", "--validation", "c.csv"), "for one --data"),
        (("--data", "tickets.csv", "--data", "tickets.csv"), "twice"),
        (("--data", ""), "--data"),
    ],
)
def test_a_mistake_is_one_paragraph_and_exit_code_2(folder: Path, call: Any, arguments: Any, fact: str) -> None:
    result = call("run", "--method", "features", "--backbone", "minilm", *arguments)
    assert result.exit_code == 2, result.output
    assert fact in " ".join(result.stderr.split())
    assert not (folder / "results").exists()


def test_a_dataframe_has_the_fingerprint_of_its_file(folder: Path, backbones: dict[str, str], monkeypatch: Any) -> None:
    import pandas as pd

    monkeypatch.setenv("TUNEFRONT_CACHE", str(folder / "cache"))
    known: dict[str, Any] = {"methods": ["features"], "backbones": [backbones["bert"]], "settings": {"eval_rows": 4}}
    shots: dict[str, Any] = {"shots": [8], "seeds": [0], "out": folder / "out", "label": "sentiment"}
    (file,) = run(data="tickets.csv", **known, **shots)
    (frame,) = run(data=pd.read_csv("tickets.csv"), **known, **shots)
    assert file.status == frame.status == "ok", (file.reason, frame.reason)
    assert file.fingerprints["task"] == frame.fingerprints["task"]
    assert json.loads(file.model_dump_json())["scores"] == json.loads(frame.model_dump_json())["scores"]


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"text": ["a b"] * 9},
        {"text": ["a b \ud800"] * 9, "label": [0, 1, 1] * 3},
        {"text": ["a b"] * 9, "label": 3},
    ],
)
def test_a_bad_dataframe_is_named_as_one(columns: dict[str, Any]) -> None:
    """It is kept in a file that the caller does not know."""
    with pytest.raises(UserError, match="the DataFrame") as error:
        run(data=pandas.DataFrame(columns, dtype=object), methods=["features"], backbones=["minilm"])
    assert ".parquet" not in str(error.value)


def test_data_that_is_no_path_and_no_dataframe_is_refused() -> None:
    with pytest.raises(UserError, match="of type dict"):
        run(data={"text": ["a"]})


def test_a_long_path_is_named_once_and_then_by_its_file(folder: Path, backbones: dict[str, str], call: Any) -> None:
    csv_file(folder / "some" / "long" / "path")
    data = ("--data", "some/long/path/tickets.csv", "--label", "sentiment")
    only = ("--shots", "8", "--seeds", "0", "--set", "eval_rows=4")
    result = call("run", "--method", "features", "--backbone", backbones["bert"], *data, *only)
    assert result.exit_code == 0, result.output
    (cell,) = (line for line in result.stderr.splitlines() if "features · " in line)
    assert cell.endswith(" tickets.csv")
    assert "long/path" not in result.stdout
    html = (folder / "results" / "report" / "report.html").read_text()
    assert "tickets.csv (file:" in html.replace("<wbr>", "")
