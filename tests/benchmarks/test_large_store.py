"""The time per record of a report, and per cell of a run in which all is recorded: about the same for few and many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.large_store import SHAPES, LargeStore, make
from tests.benchmarks.side_by_side import SideBySide, show

RATIO_TARGET, MOST = 1.1, 2.0
"""Time per record of the large store over that of the small one."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LargeStore]:
    """A store with five times the records of the other, of the same methods and tasks."""
    folder = tmp_path_factory.mktemp("stores")
    return {name: make(folder / name, SHAPES[name]) for name in ("small", "large")}


def test_time_of_a_report_grows_no_faster_than_its_records(
    benchmark: Any, stores: dict[str, LargeStore], tmp_path: Path
) -> None:
    from tunefront.bench.records import load_records
    from tunefront.reports import write

    def report(name: str) -> None:
        write(load_records(stores[name].results), tmp_path / name, ["csv", "pdf"])

    _compare(benchmark, "report", {name: lambda name=name: report(name) for name in stores})


def test_time_of_a_recorded_run_grows_no_faster_than_its_cells(benchmark: Any, stores: dict[str, LargeStore]) -> None:
    from tunefront.bench.execution.grid import run_grid
    from tunefront.bench.records.store import Store
    from tunefront.bench.suites.expand import expand

    def run(name: str) -> None:
        outcome = run_grid(expand(str(stores[name].suite)).cells, Store(stores[name].results))
        assert outcome.ran == 0

    _compare(benchmark, "run of recorded cells", {name: lambda name=name: run(name) for name in stores})


def _compare(benchmark: Any, what: str, variants: dict[str, Any]) -> None:
    timed = SideBySide(benchmark, variants, rounds=2)
    records = {name: SHAPES[name].cells for name in variants}
    per_record = timed.ratio("large", "small") * records["small"] / records["large"]
    show(
        benchmark,
        f"{what}; time per record, large over small: {per_record:.2f}, target {RATIO_TARGET}",
        [
            {
                "store": name,
                "records": records[name],
                "seconds": timed.median(name),
                "ms per record": 1000 * timed.median(name) / records[name],
            }
            for name in variants
        ],
    )
    assert per_record < MOST
