"""`tunefront report` on results folders with unusable, missing or foreign files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.reports.factory import record
from tunefront.bench.records.store import Store


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    store.prepare()
    for label in ("full", "ia3"):
        store.write(record(label=label, recipe={}, settings={}, data__n_test=1), pd.DataFrame({"id": ["0"]}))
    return tmp_path / "results"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "records").iterdir())


def test_odd_records_are_left_out_and_the_rest_is_drawn(call: Any, results: Path) -> None:
    old = json.loads((results / "records" / names(results)[0]).read_text(encoding="utf-8"))
    for number in range(36):
        content = {**old, "key": f"{number:08}", "schema_version": 1}
        (results / "records" / f"{number:08}.json").write_text(json.dumps(content), encoding="utf-8")
    (results / "records" / "aaaaaaaa.json").write_bytes(b"")
    (results / "records" / "cccccccc.json").mkdir()
    os.mkfifo(results / "records" / "dddddddd.json")
    before = names(results)
    result = call("report", str(results), "--format", "csv")
    assert result.exit_code == 0, result.output
    said = result.stderr.replace("\n", " ")
    assert "36 files" in said
    assert "aaaaaaaa.json" in said
    assert "cccccccc.json (a folder)" in said
    assert "dddddddd.json (a pipe)" in said
    assert said.count("warning:") == 3
    assert names(results) == before
    assert len((results / "report" / "report.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_where_nothing_can_be_read_it_is_one_paragraph(call: Any, results: Path) -> None:
    for name in names(results):
        path = results / "records" / name
        path.write_text(path.read_text(encoding="utf-8").replace('"reason"', '"raison"'), encoding="utf-8")
    before = names(results)
    result = call("report", str(results))
    assert result.exit_code == 2
    assert "2 files" in result.stderr
    assert "raison" in result.stderr
    assert "warning" not in result.stderr
    assert names(results) == before
    assert not (results / "report").exists()


@pytest.mark.parametrize("command", ["report", "stale"])
def test_results_that_are_no_folder_are_a_mistake(command: str, call: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    for results, message in (("taken", "is a file"), ("nowhere", "does not exist"), ("x" * 400, "too long")):
        result = call(command, results)
        assert result.exit_code == 2, result.output
        assert message in result.stderr


def test_a_report_says_which_cells_lack_predictions(call: Any, results: Path) -> None:
    shutil.rmtree(results / "predictions")
    result = call("report", str(results), "--format", "md")
    assert result.exit_code == 0
    assert "predictions for full on sst2, seed 0; ia3 on sst2, seed 0" in result.stderr.replace("\n", "")
    assert "full on sst2, seed 0; ia3 on sst2, seed 0" in (results / "report" / "report.md").read_text("utf-8")
    Store(results).write(record(label="full", recipe={}, settings={}, data__n_test=1), pd.DataFrame({"id": ["0"]}))
    result = call("report", str(results), "--format", "csv")
    assert "predictions for ia3 on sst2" in result.stderr.replace("\n", "")
