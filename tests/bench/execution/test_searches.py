"""A search by Optuna from the call to the records, with tiny models that really train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunefront import load_records, mix, plan, run
from tunefront.bench.errors import UserError
from tunefront.bench.records import Record
from tunefront.bench.suites.optuna_search import STARTUP

SUITE = """
methods = ["features", "ia3"]
shots = [80]
[recipe]
steps = 3
batch_size = 8
[search]
sampler = "optuna"
trials = 6
"""


@pytest.fixture
def search(tmp_path: Path, backbones: dict[str, str], toy_folder: str) -> dict[str, Any]:
    path = tmp_path / "asked.toml"
    path.write_text(SUITE, encoding="utf-8")
    return {"suite": str(path), "backbones": [backbones["bert"]], "tasks": [toy_folder]}


def tried(records: list[Record]) -> dict[tuple[str, int], float]:
    """(method, number) -> rate of each trial."""
    return {(record.label, record.search.number or 0): float(record.recipe["learning_rate"] or 0) for record in records}


def test_a_longer_search_goes_on_from_the_records_of_a_shorter_one(search: dict[str, Any], tmp_path: Path) -> None:
    short = run(**search, trials=5, out=tmp_path / "out")
    assert len(short) == 10
    assert all(record.status == "ok" and record.selection_score is not None for record in short)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "records").iterdir()}
    long = run(**search, out=tmp_path / "out")
    assert tried(long).items() >= tried(short).items()
    assert len(load_records(tmp_path / "out")) == 12
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_trials_do_not_depend_on_the_number_of_workers(search: dict[str, Any], tmp_path: Path) -> None:
    one, two = (tried(run(**search, out=tmp_path / str(workers), workers=workers)) for workers in (1, 2))
    assert one == two


def test_a_plan_has_as_many_cells_and_those_of_the_start(search: dict[str, Any], tmp_path: Path) -> None:
    planned = tried(list(plan(**search)))
    ran = tried(run(**search, out=tmp_path / "out"))
    assert planned.keys() == ran.keys()
    assert all(planned[trial] == ran[trial] for trial in ran if trial[1] <= STARTUP)


def test_rows_of_trials_that_are_not_known_yet_cannot_be_mixed(search: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="optuna"):
        mix(**search, out=tmp_path / "out")
