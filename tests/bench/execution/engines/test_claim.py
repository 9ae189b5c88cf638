"""Writing the record of a claimed cell, where another process may not have seen the claim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.bench.execution.grids import Grid
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.claim import write_claimed
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.run_cell import environment, failed_record, record_of
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store


@pytest.mark.parametrize("status", ["ok", "skipped"])
def test_a_failure_replaces_no_result_of_another_process(
    status: str, grid: Callable[..., Grid], tmp_path: Path
) -> None:
    """At a URL without claims both run the cell, and one of them may lack memory."""
    (cell,) = grid(methods=("full",)).cells()
    work, store = Work(cell, Identity.of(cell)), Store(f"memory://{tmp_path.name}")
    store.prepare()
    result = record_of(cell, work.identity, environment(cell, 1), status)  # type: ignore[arg-type]

    def fail_late() -> tuple[Record, None]:
        store.write(result)
        return failed_record(cell, work.identity, "out of memory", 1), None

    assert write_claimed(work, store, fail_late) == result
    assert store.records() == [result]
    store.remote.remove(f"records/{work.key}.json")
    failed = write_claimed(work, store, lambda: (failed_record(cell, work.identity, "out of memory", 1), None))
    assert failed is not None
    assert failed.status == "failed"
    assert store.records() == [failed]


def test_of_two_results_the_first_stays_with_its_predictions(grid: Callable[..., Grid], tmp_path: Path) -> None:
    (cell,) = grid(methods=("full",)).cells()
    work, store = Work(cell, Identity.of(cell)), Store(f"memory://{tmp_path.name}")
    store.prepare()
    first = record_of(cell, work.identity, environment(cell, 1), "ok")
    second = first.model_copy(update={"seconds": first.seconds.model_copy(update={"train": 7.0})})

    def end_late() -> tuple[Record, pd.DataFrame]:
        store.write(first, pd.DataFrame({"id": ["first"]}))
        return second, pd.DataFrame({"id": ["second"]})

    assert write_claimed(work, store, end_late) == first
    assert store.records() == [first]
    assert store.predictions(work.key)["id"].tolist() == ["first"]
