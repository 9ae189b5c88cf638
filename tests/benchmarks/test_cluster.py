"""What a Ray cluster adds to a cell: fast cells on two nodes with a core each, beside two local workers."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.bench.execution.grids import Grid, deterministic
from tests.benchmarks.side_by_side import show
from tests.conftest import make_backbone, make_toy
from tunefront.bench.cells import Cell
from tunefront.bench.execution.engines import Engine, Silent
from tunefront.bench.execution.engines.cluster.engine import Cluster
from tunefront.bench.execution.engines.cluster.joining import ONE_MACHINE, QUIET
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

CELLS, METHODS, ROUNDS = 200, ("ia3", "lora", "full", "features"), 3
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}


class Ends(Silent):
    """When each cell ended."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.at: list[float] = []

    def finished(self, cell: Cell, record: Record) -> None:
        self.at.append(time.perf_counter())

    @property
    def start_seconds(self) -> float:
        """Until the first cell has ended: workers start and import."""
        return self.at[0] - self.began

    @property
    def seconds_per_cell(self) -> float:
        """Of the middle half of the cells, in which every worker is busy."""
        quarter = len(self.at) // 4
        return (self.at[-quarter] - self.at[quarter]) / (len(self.at) - 2 * quarter)


def test_two_nodes_beside_two_workers(benchmark: Any, tmp_path: Path) -> None:
    """Also, that both write the same records, and that a third node that is lost in the middle costs none."""
    os.environ.update(QUIET | {ONE_MACHINE: "0", "RAY_AUTH_MODE": "disabled"})  # read when Ray is imported
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster as Nodes

    grid = Grid(
        str(make_backbone(tmp_path / "model", "bert")),
        f"dir:{make_toy(tmp_path / 'toy')}",
        METHODS,
        CELLS // len(METHODS),
    )
    nodes = Nodes(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    nodes.add_node(**NODE)
    engines: dict[str, Engine] = {"--workers 2": Local(2), "Ray, two nodes": Cluster(nodes.address)}
    ends: dict[str, list[Ends]] = {name: [] for name in engines}
    stores: list[Store] = []

    def run(engine: Engine, progress: Ends) -> None:
        stores.append(Store(tmp_path / str(len(stores))))
        outcome = run_grid(grid.cells(), stores[-1], engine, progress)
        assert (outcome.ran, outcome.failed) == (CELLS, 0)

    def turn() -> None:
        for name, engine in engines.items():
            ends[name].append(Ends())
            run(engine, ends[name][-1])

    try:
        benchmark.pedantic(turn, rounds=ROUNDS, iterations=1)
        third = nodes.add_node(**NODE)

        class Losing(Ends):
            def finished(self, cell: Cell, record: Record) -> None:
                super().finished(cell, record)
                if len(self.at) == CELLS // 2:
                    nodes.remove_node(third, allow_graceful=False)

        run(Cluster(nodes.address), Losing())
    finally:
        nodes.shutdown()
    first, *others = map(deterministic, stores)
    assert all(other == first for other in others)
    local = [each.seconds_per_cell for each in ends["--workers 2"]]
    rows: list[dict[str, object]] = [
        {
            "engine": name,
            "milliseconds per cell": 1e3 * median(each.seconds_per_cell for each in turns),
            "ratio": median(each.seconds_per_cell / other for each, other in zip(turns, local, strict=True)),
            "seconds to the first record": median(each.start_seconds for each in turns),
        }
        for name, turns in ends.items()
    ]
    show(
        benchmark,
        f"{CELLS} cells of a tiny model, {ROUNDS} times; all records, also of a run that lost a node, are equal",
        rows,
    )
