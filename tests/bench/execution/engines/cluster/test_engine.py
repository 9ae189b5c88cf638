"""Cells on a real Ray cluster, whose nodes are processes of this machine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.bench.execution.grids import Grid, by_status, deterministic, litter, odd, repair
from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.execution.engines import Silent
from tunefront.bench.execution.engines.cluster.belongings import Belonging
from tunefront.bench.execution.engines.cluster.engine import Cluster
from tunefront.bench.execution.engines.cluster.fleet import SENT_AT_MOST, Fleet, Member, Needs
from tunefront.bench.execution.engines.cluster.joining import ONE_MACHINE, QUIET
from tunefront.bench.execution.engines.cluster.relay import Surroundings
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.records import Record
from tunefront.bench.records.store import Store

MakeGrid = Callable[..., Grid]
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes with a core each; Ray's own class, for `add_node` and `remove_node`."""
    os.environ.update(QUIET | {ONE_MACHINE: "0", "RAY_AUTH_MODE": "disabled"})  # read when Ray is imported
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster as Nodes

    made = Nodes(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()


def test_two_nodes_give_what_one_process_gives_bit_for_bit(nodes: Any, grid: MakeGrid, tmp_path: Path) -> None:
    """A worker that dies costs its cell alone, as on one machine."""
    some = grid(methods=["features", *odd(tmp_path, "exit"), "ia3", "full"])
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    run_grid(grid(methods=("features", "ia3", "full")).cells(), here)
    outcome = run_grid(some.cells(), there, Cluster(nodes.address))
    assert (outcome.ran, outcome.failed) == (4, 1)
    (failed,) = by_status(outcome.records, "failed")
    assert "exit 3" in (failed.reason or "")
    made = deterministic(there)
    assert {key: made[key] for key in made if key != failed.key} == deterministic(here)
    assert litter(there) == []
    repair(tmp_path)
    assert run_grid(some.cells(), there, Cluster(nodes.address)).ran == 1


def test_a_store_that_no_node_sees_is_written_by_the_driver(nodes: Any, grid: MakeGrid, tmp_path: Path) -> None:
    some, here, there = grid(methods=("ia3", "full")), Store(tmp_path / "here"), Store(f"memory://{tmp_path.name}")
    run_grid(some.cells(), here)
    assert run_grid(some.cells(), there, Cluster(nodes.address)).ran == 2
    assert deterministic(there) == deterministic(here)


class Killing(Silent):
    """Ends a node once a cell runs on every node, then lets the cells go on."""

    def __init__(self, folder: Path, kill: Callable[[], None], after: int):
        self._folder, self._kill, self._left = folder, kill, after

    def started(self, cell: Cell) -> None:
        self._left -= 1
        if self._left == 0:
            self._kill()
            repair(self._folder)


def test_a_node_that_is_lost_costs_its_running_cell_alone(nodes: Any, grid: MakeGrid, tmp_path: Path) -> None:
    third = nodes.add_node(**NODE)
    some = grid(methods=odd(tmp_path, "sleep"), seeds=5)
    store = Store(tmp_path / "out")
    lost = Killing(tmp_path, lambda: nodes.remove_node(third, allow_graceful=False), after=3)
    outcome = run_grid(some.cells(), store, Cluster(nodes.address), lost)
    assert (outcome.ran, outcome.failed) == (5, 0)
    here = Store(tmp_path / "here")
    run_grid(some.cells(), here)
    assert deterministic(store) == deterministic(here)
    assert litter(store) == []


class Impatient(Silent):
    """Interrupts at the first record."""

    def finished(self, cell: Cell, record: Record) -> None:
        raise KeyboardInterrupt


def test_an_interrupted_run_keeps_what_has_finished_and_goes_on(nodes: Any, grid: MakeGrid, tmp_path: Path) -> None:
    some, store = grid(methods=("features", "ia3", "full")), Store(tmp_path / "out")
    first = run_grid(some.cells(), store, Cluster(nodes.address, workers=1), Impatient())
    assert (first.interrupted, len(store.records())) == (True, 1)
    second = run_grid(some.cells(), store, Cluster(nodes.address, workers=1))
    assert (second.ran, second.reused, second.interrupted) == (2, 1, False)
    assert litter(store) == []


def test_workers_stay_between_rounds_and_end_with_the_last(nodes: Any, grid: MakeGrid, tmp_path: Path) -> None:
    """One worker, so that whether it is the same can be told from its node's processes."""
    ray, store = pytest.importorskip("ray"), Store(tmp_path / "out")
    with Cluster(nodes.address, workers=1).kept() as kept:
        assert isinstance(kept, Cluster)
        assert run_grid(grid(methods=("features",)).cells(), store, kept).ran == 1
        first = workers_of(kept)
        assert run_grid(grid(methods=("ia3",)).cells(), store, kept).ran == 1
        assert workers_of(kept) == first
        other = Store(tmp_path / "other")
        assert run_grid(grid(methods=("features",)).cells(), other, kept).ran == 1
        assert workers_of(kept) != first  # they write to one store
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert litter(store) == litter(other) == []


def workers_of(kept: Cluster) -> list[Member]:
    """The workers that a kept engine has now."""
    assert kept.crew is not None
    assert kept.crew.workers is not None
    return list(kept.crew.workers.members)


def test_a_node_that_cannot_keep_what_it_is_sent_is_named(tmp_path: Path) -> None:
    """Else it would be sent the same for ever."""
    (tmp_path / "mine.py").write_text("# a method", encoding="utf-8")
    wanted = Belonging("method", str(tmp_path / "mine.py"), "0" * 64)
    took = SimpleNamespace(remote=lambda *arguments: None)
    there = Member(SimpleNamespace(receive=took, finish=took), "node", "elsewhere")
    head = SimpleNamespace(gcs_address="127.0.0.1:1")
    ray: Any = SimpleNamespace(get=lambda reference: None, get_runtime_context=lambda: head)
    fleet = Fleet(ray, Needs(1, 0), Surroundings("", "", "", {}))
    for _ in range(SENT_AT_MOST):
        fleet.send(there, wanted)
    with pytest.raises(UserError, match=r"elsewhere got the method file .*mine\.py"):
        fleet.send(there, wanted)


def test_a_head_node_that_is_lost_ends_the_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself waits for it, and then ends the process."""
    head = SimpleNamespace(gcs_address="127.0.0.1:1")
    ray: Any = SimpleNamespace(get_runtime_context=lambda: head, nodes=lambda: pytest.fail("it is asked"))
    fleet = Fleet(ray, Needs(1, 0), Surroundings("", "", "", {}))
    monkeypatch.setattr("tunefront.bench.execution.engines.cluster.fleet.NODES_SECONDS", -1.0)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:1 does not answer"):
        fleet.look()
    fleet.stop()  # asks nobody


def test_a_head_node_that_is_lost_while_it_is_asked_ends_the_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by `ray stop --force` on its machine: the workers are lost first, and then the head node."""
    ended, checks = threading.Event(), iter([True])

    def check(address: str) -> None:
        if not next(checks, False):
            raise UserError("refused")

    monkeypatch.setattr("tunefront.bench.execution.engines.cluster.fleet.check_answers", check)
    monkeypatch.setattr("tunefront.bench.execution.engines.cluster.fleet.ANSWER_SECONDS", 0.01)
    head = SimpleNamespace(gcs_address="127.0.0.1:1")
    ray: Any = SimpleNamespace(get_runtime_context=lambda: head, nodes=ended.wait)
    fleet = Fleet(ray, Needs(1, 0), Surroundings("", "", "", {}))
    try:
        with pytest.raises(UserError, match="the head node of the Ray cluster is lost"):
            fleet.allow(1)
    finally:
        ended.set()


def test_a_cluster_on_which_nothing_can_be_started_is_one_paragraph(
    nodes: Any, grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a machine lacks this package: the actor cannot be made."""
    store = Store(tmp_path / "out")
    monkeypatch.setattr("tunefront.bench.execution.engines.cluster.fleet.Relay", Broken)
    with pytest.raises(UserError, match="nothing works here"):
        run_grid(grid(methods=("features",)).cells(), store, Cluster(nodes.address))
    assert litter(store) == []


class Broken:
    """An actor that cannot be made."""

    def __init__(self, *arguments: object) -> None:
        raise ImportError("nothing works here")

    def arrived(self) -> None:
        """Never called."""
