"""The time per record of a report, and per cell of keys and of a run in which all is recorded: about the same for few
and many, in a folder and at S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.growth import copied
from tests.benchmarks.large_store import SHAPES, LargeStore, make
from tests.benchmarks.side_by_side import SideBySide, show
from tests.s3 import Server
from tunefront.bench.records import load_records
from tunefront.bench.records.deletion import drop_index
from tunefront.bench.records.store import Store

RATIO_TARGET, MOST = 1.1, 2.0
"""Time per record of the large store over that of the small one."""
INDEXED = 0.5
"""Time of reading the records of the large store at S3 with its index over that without one."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LargeStore]:
    """A store with five times the records of the other, of the same methods and tasks."""
    folder = tmp_path_factory.mktemp("stores")
    return {name: make(folder / name, SHAPES[name]) for name in ("small", "large")}


def test_time_of_a_report_grows_no_faster_than_its_records(
    benchmark: Any, stores: dict[str, LargeStore], tmp_path: Path
) -> None:
    from tunefront.reports import write

    def report(name: str) -> None:
        write(load_records(stores[name].results), tmp_path / name, ["csv", "pdf"])

    _compare(benchmark, "report", {name: lambda name=name: report(name) for name in stores})


def test_time_of_a_recorded_run_grows_no_faster_than_its_cells(benchmark: Any, stores: dict[str, LargeStore]) -> None:
    from tunefront.bench.execution.grid import run_grid
    from tunefront.bench.suites.expand import expand

    def run(name: str) -> None:
        outcome = run_grid(expand(str(stores[name].suite)).cells, Store(stores[name].results))
        assert outcome.ran == 0

    _compare(benchmark, "run of recorded cells", {name: lambda name=name: run(name) for name in stores})


def test_time_of_keys_grows_no_faster_than_their_cells(benchmark: Any, stores: dict[str, LargeStore]) -> None:
    from tunefront.bench.execution.identity import Identity, Shared
    from tunefront.bench.suites.expand import expand

    def keys(name: str) -> None:
        shared = Shared()
        assert len({Identity.of(cell, shared).key for cell in expand(str(stores[name].suite)).cells})

    _compare(benchmark, "keys", {name: lambda name=name: keys(name) for name in stores})


@pytest.fixture(scope="module")
def urls(stores: dict[str, LargeStore], s3_server: Server) -> dict[str, str]:
    """The same stores at S3; reading one writes its index."""
    copies = {name: s3_server.new_url() for name in stores}
    for name, url in copies.items():
        copied(stores[name], url)
        load_records(url)
    return copies


def test_time_of_a_recorded_run_at_s3_grows_no_faster_than_its_cells(
    benchmark: Any, stores: dict[str, LargeStore], urls: dict[str, str], s3: Server
) -> None:
    from tunefront.bench.execution.grid import run_grid
    from tunefront.bench.suites.expand import expand

    def run(name: str) -> None:
        assert run_grid(expand(str(stores[name].suite)).cells, Store(urls[name])).ran == 0

    _compare(benchmark, "run of records at S3", {name: lambda name=name: run(name) for name in stores})


def test_an_index_makes_reading_at_s3_faster(benchmark: Any, urls: dict[str, str], s3: Server) -> None:
    """The server is on this machine: elsewhere each request it saves takes longer."""
    store = Store(urls["large"])

    def read_without() -> None:
        drop_index(store)
        load_records(store.location)

    timed = SideBySide(benchmark, {"without": read_without, "index": lambda: load_records(store.location)}, rounds=2)
    rows = [{"records read": name, "seconds": timed.median(name)} for name in ("without", "index")]
    ratio = timed.ratio("index", "without")
    show(benchmark, f"reading records at S3, index over without: {ratio:.2f}, target {INDEXED}", rows)
    assert ratio < 1


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
