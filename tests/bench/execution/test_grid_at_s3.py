"""A grid whose records are at S3, on a real server: nothing is run twice, lost, doubled or half written."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.execution.grids import Grid, Nursery, deterministic, nursery, odd, outcome, repair, until
from tests.s3 import Server
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity
from tunefront.bench.records.store import Store

MakeGrid = Callable[..., Grid]


@pytest.fixture(scope="module")
def nests() -> Iterator[tuple[Nursery, Nursery]]:
    """Two processes that start grids at the same time."""
    with nursery() as one, nursery() as other:
        yield one, other


def test_records_at_s3_are_those_of_a_folder_and_are_not_run_again(s3: Server, grid: MakeGrid, tmp_path: Path) -> None:
    cells = grid(methods=("features", "ia3", "full"), seeds=2).cells()
    store, folder = Store(s3.new_url()), Store(tmp_path / "out")
    first = run_grid(cells, store)
    assert (first.ran, first.reused, first.failed) == (6, 0, 0)
    run_grid(cells, folder)
    assert deterministic(store) == deterministic(folder)
    again = run_grid(cells, Store(store.location))
    assert (again.ran, again.reused, again.records) == (0, 6, first.records)
    store.remote.remove(f"records/{first.records[2].key}.json")
    mended = run_grid(cells, Store(store.location))
    assert (mended.ran, mended.reused) == (1, 5)
    assert deterministic(store) == deterministic(folder)
    assert store.remote.listing("locks") == {}


def test_workers_write_to_s3(s3: Server, grid: MakeGrid, nests: tuple[Nursery, Nursery], tmp_path: Path) -> None:
    """The parent has connections when it forks the workers."""
    some, url = grid(methods=("features", "ia3"), seeds=2), s3.new_url()
    nests[0].start(some, tmp_path / "forked", workers=2, url=url)
    assert nests[0].wait() == 0
    assert (outcome(tmp_path / "forked")["ran"], outcome(tmp_path / "forked")["failed"]) == (4, 0)
    run_grid(some.cells(), Store(tmp_path / "out"))
    assert deterministic(Store(url)) == deterministic(Store(tmp_path / "out"))


def test_shards_of_a_grid_are_together_the_undivided_one(s3: Server, grid: MakeGrid, tmp_path: Path) -> None:
    """As machines with `--shard` do it: each runs the cells of its share of keys, all write to one URL."""
    cells = grid(methods=("features", "ia3", "layernorm"), seeds=3).cells()
    shards = [[cell for cell in cells if int(Identity.of(cell).key, 16) % 8 == shard] for shard in range(8)]
    url = s3.new_url()
    assert sum(run_grid(shard, Store(url)).ran for shard in shards) == len(cells)
    run_grid(cells, Store(tmp_path / "out"))
    assert deterministic(Store(url)) == deterministic(Store(tmp_path / "out"))
    assert run_grid(cells, Store(url)).reused == len(cells)


def test_two_commands_share_the_cells_of_a_grid(
    s3: Server, grid: MakeGrid, nests: tuple[Nursery, Nursery], tmp_path: Path
) -> None:
    some, url = grid(methods=("features", "ia3"), seeds=3), s3.new_url()
    outs = [tmp_path / "one", tmp_path / "other"]
    for nest, out in zip(nests, outs, strict=True):
        nest.start(some, out, workers=1, url=url)
    assert [nest.wait() for nest in nests] == [0, 0]
    counts = [outcome(out) for out in outs]
    assert [count["failed"] for count in counts] == [0, 0]
    store = Store(url)
    assert sorted(record.key for record in store.records()) == sorted(some.names())
    run_grid(some.cells(), Store(tmp_path / "alone"))
    assert deterministic(store) == deterministic(Store(tmp_path / "alone"))
    assert store.remote.listing("locks") == {}


def test_a_killed_command_blocks_no_cell(
    s3: Server, grid: MakeGrid, nests: tuple[Nursery, Nursery], tmp_path: Path
) -> None:
    some, url = grid(methods=odd(tmp_path, "sleep")), s3.new_url()
    killed = nests[0].start(some, tmp_path / "killed", workers=1, url=url)
    until((tmp_path / "sleep.started").exists)
    (claim,) = Store(url).remote.listing("locks")
    assert claim.removesuffix(".json") in some.names()
    os.killpg(killed, signal.SIGKILL)
    nests[0].wait()
    repair(tmp_path)
    nests[1].start(some, tmp_path / "next", workers=1, url=url)
    assert nests[1].wait() == 0
    assert (outcome(tmp_path / "next")["ran"], outcome(tmp_path / "next")["failed"]) == (1, 0)
    assert Store(url).remote.listing("locks") == {}
