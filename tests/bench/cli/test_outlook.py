"""The line about what will run: cells that are skipped, and how many run at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.data.sources.test_own_file import csv_file, lines, put


def outlook(call: Any, *arguments: str) -> str:
    """What is said about the cells before they run."""
    result = call("run", "--method", "features", "--set", "epochs=1", *arguments)
    assert result.exit_code == 0, result.stderr
    return next(line for line in result.stderr.splitlines() if "cell" in line)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_cells_that_are_skipped_are_counted_and_named(folder: Path, call: Any, language_models: dict[str, str]) -> None:
    put(folder, "quiz.csv", lines("question,A,B,answer", lambda n: f"what is {n} and {n},{n},{n + 1},{'AB'[n % 2]}"))
    line = outlook(call, "--data", "quiz.csv", "--backbone", language_models["gpt2"])
    assert "skipped (features)" in line


def test_no_more_cells_run_at_a_time_than_there_are(folder: Path, call: Any, backbones: dict[str, str]) -> None:
    csv_file(folder)
    line = outlook(call, "--data", "tickets.csv", "--backbone", backbones["bert"], "--shots", "20", "--workers", "2")
    assert "at a time" in line
    assert "2 at a time" not in line
