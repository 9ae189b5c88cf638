"""Killed at any moment and started again, a grid finishes with no cell lost, doubled or half written."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.execution.grids import Grid, Nursery, alive, children, deterministic, until
from tunefront.bench.records.store import Store

MakeGrid = Callable[..., Grid]


def kill_at_random(
    nest: Nursery, some: Grid, out: Path, whole_group: bool, within: float, generator: random.Random
) -> bool:
    """Starts the grid and kills it after a random time; returns whether it still ran."""
    parent = nest.start(some, out)
    time.sleep(generator.uniform(0, within))
    workers = children(parent)
    try:
        (os.killpg if whole_group else os.kill)(parent, signal.SIGKILL)
    except ProcessLookupError:
        nest.wait()
        return False
    code = nest.wait()
    until(lambda: not any(alive(worker) for worker in workers), 10)
    return code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kills", "seeds"), [pytest.param(2, 2, id="few"), pytest.param(10, 12, id="many", marks=pytest.mark.slow)]
)
def test_records_are_those_of_an_undisturbed_run_whatever_was_killed(
    kills: int, seeds: int, grid: MakeGrid, nest: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent alone, and the whole group, each `kills` times; records and predictions bit for bit."""
    some = grid(seeds=seeds)
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "cache"))
    start = time.monotonic()
    assert nest.run(some, tmp_path / "undisturbed")["failed"] == 0
    seconds = time.monotonic() - start
    monkeypatch.setenv("TUNEFRONT_CACHE", str(tmp_path / "another cache"))
    generator, struck, rounds = random.Random(kills), {True: 0, False: 0}, 0
    out = tmp_path / "disturbed"
    while min(struck.values()) < kills:
        group = struck[True] < struck[False]
        share = 2 * kills - sum(struck.values())
        if kill_at_random(nest, some, out, group, max(0.05, seconds / share), generator):
            struck[group] += 1
        else:  # it had finished: delete some of its files, so that there is work left
            for name in generator.sample(some.names(), len(some.names()) // 2):
                out.joinpath("records", f"{name}.json").unlink()
        rounds += 1
        assert rounds < 20 * kills, "no kill strikes"
    last = nest.run(some, out)
    assert last["failed"] == 0
    assert not last["interrupted"]
    undisturbed, disturbed = Store(tmp_path / "undisturbed"), Store(out)
    assert set(deterministic(disturbed)) == set(some.names())
    assert deterministic(disturbed) == deterministic(undisturbed)
    assert {record.attempts for record in disturbed.records()} == {()}
    for kind, ending in (("records", "json"), ("predictions", "parquet")):
        assert {path.stem for path in out.joinpath(kind).glob(f"[!.]*.{ending}")} == set(some.names())
    again = nest.run(some, out)
    assert (again["ran"], again["reused"]) == (0, len(some.names()))
