"""Worker processes: the same numbers as in one process, and nothing lost when a process dies."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bench.execution.grids import (
    Grid,
    Nursery,
    alive,
    by_status,
    children,
    deterministic,
    litter,
    odd,
    outcome,
    repair,
    until,
)
from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.engines.pool import next_cell, record_failure
from tunefront.bench.execution.engines.processes import Pool, Worker
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity
from tunefront.bench.records.store import Store
from tunefront.methods.base import Recipe
from tunefront.methods.spelling import parse

MakeGrid = Callable[..., Grid]


def test_two_workers_give_what_one_process_gives_bit_for_bit(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    some = grid()
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    run_grid(some.cells(), here)
    outcome = nest.run(some, tmp_path / "there")
    assert outcome == {"ran": 5, "reused": 0, "failed": 0, "skipped": 0, "interrupted": False}
    assert set(deterministic(here)) == set(some.names())
    assert deterministic(here) == deterministic(there)
    assert {record.environment.concurrent_cells for record in there.records()} == {2}
    assert {record.environment.concurrent_cells for record in here.records()} == {1}
    assert litter(there) == []


def test_every_deterministic_field_is_a_field_and_no_clock_is_one() -> None:
    from tunefront.bench.records import DETERMINISTIC, leaves

    assert set(leaves()) >= DETERMINISTIC
    assert not {name for name in DETERMINISTIC if "second" in name or "resident" in name}
    assert {
        "scores.test",
        "flops.train",
        "parameters.trainable",
        "storage.checkpoint_bytes",
        "training.final_loss",
    } <= DETERMINISTIC


@pytest.mark.parametrize(
    ("way", "reason"),
    [("die", "the worker process died (signal SIGKILL)"), ("exit", "the worker process died (exit 3")],
)
def test_a_worker_that_dies_costs_its_cell_alone(
    way: str, reason: str, grid: MakeGrid, nest: Nursery, tmp_path: Path
) -> None:
    store = Store(tmp_path / "out")
    some = grid(methods=["features", *odd(tmp_path, way), "ia3", "full"])
    outcome = nest.run(some, tmp_path / "out")
    assert (outcome["ran"], outcome["failed"]) == (4, 1)
    (failed,) = by_status(store.records(), "failed")
    assert failed.reason is not None
    assert failed.reason.startswith(reason)
    assert ("memory" in failed.reason) == (way == "die"), "a kill from outside is how a machine short of memory ends it"
    assert failed.method_file == "odd.py"
    repair(tmp_path)
    again = nest.run(some, tmp_path / "out")
    assert (again["ran"], again["reused"], again["failed"]) == (1, 3, 0)
    repaired = store.read(failed.key)
    assert repaired is not None
    assert (repaired.status, repaired.attempts) == ("ok", (failed.reason,))
    assert litter(store) == []


def test_more_deaths_than_workers_are_survived(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    outcome = nest.run(grid(methods=[*odd(tmp_path, "die", "exit", "fail", "unsupported"), "ia3"]), tmp_path / "out")
    assert outcome == {"ran": 5, "reused": 0, "failed": 3, "skipped": 1, "interrupted": False}


def sleeping(folder: Path, nest: Nursery, some: Grid, out: Path) -> tuple[int, int]:
    """Starts a grid with a cell that sleeps; returns the pids of the parent and of the worker that runs it."""
    parent = nest.start(some, out)
    started = folder / "sleep.started"
    worker = int(until(lambda: started.exists() and started.read_text()))
    return parent, worker


def test_an_idle_worker_that_is_killed_is_not_missed(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    some = grid(methods=[*odd(tmp_path, "sleep"), "features"])
    parent, busy = sleeping(tmp_path, nest, some, tmp_path / "out")
    store = Store(tmp_path / "out")
    until(lambda: len(store.records()) == 1)
    time.sleep(0.1)
    (idle,) = set(children(parent)) - {busy}
    os.kill(idle, signal.SIGKILL)
    until(lambda: not alive(idle) and len(children(parent)) == 2)
    repair(tmp_path)
    assert nest.wait() == 0
    assert outcome(tmp_path / "out") == {"ran": 2, "reused": 0, "failed": 0, "skipped": 0, "interrupted": False}


def test_workers_end_when_their_parent_is_killed(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    some = grid(methods=[*odd(tmp_path, "sleep"), "features"])
    parent, _ = sleeping(tmp_path, nest, some, tmp_path / "out")
    workers = children(parent)
    assert len(workers) == 2
    os.kill(parent, signal.SIGKILL)
    assert nest.wait() == -signal.SIGKILL
    until(lambda: not any(alive(worker) for worker in workers), 5)
    repair(tmp_path)
    assert nest.run(some, tmp_path / "out")["failed"] == 0
    assert len(Store(tmp_path / "out").records()) == 2


def test_ctrl_c_stops_the_workers_and_says_so(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    some = grid(methods=[*odd(tmp_path, "sleep"), "features"])
    parent, _ = sleeping(tmp_path, nest, some, tmp_path / "out")
    workers = children(parent)
    until(lambda: len(Store(tmp_path / "out").records()) == 1)
    time.sleep(0.1)
    os.killpg(parent, signal.SIGINT)
    assert nest.wait() == 0
    assert outcome(tmp_path / "out") == {"ran": 1, "reused": 0, "failed": 0, "skipped": 0, "interrupted": True}
    assert not any(alive(worker) for worker in workers)
    repair(tmp_path)
    assert nest.run(some, tmp_path / "out") == {"ran": 1, "reused": 1, "failed": 0, "skipped": 0, "interrupted": False}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_cell_that_runs_alone_ends_its_only_worker(
    signum: int, grid: MakeGrid, nest: Nursery, tmp_path: Path
) -> None:
    some = grid(methods=["features", *odd(tmp_path, "sleep")])
    parent = nest.start(some, tmp_path / "out", 1)
    started = tmp_path / "sleep.started"
    worker = int(until(lambda: started.exists() and started.read_text()))
    assert worker != parent
    os.kill(parent, signum)
    assert nest.wait() == (0 if signum == signal.SIGINT else -signum)
    until(lambda: not alive(worker), 5)
    if signum == signal.SIGINT:
        assert outcome(tmp_path / "out") == {"ran": 0, "reused": 0, "failed": 0, "skipped": 0, "interrupted": True}
    assert Store(tmp_path / "out").records() == []
    repair(tmp_path)
    assert nest.run(some, tmp_path / "out", 1)["ran"] == 2
    assert len(by_status(Store(tmp_path / "out").records(), "ok")) == 2


def test_a_full_disk_in_a_worker_stops_the_grid(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    some = grid(methods=[*odd(tmp_path, "full"), "features", "ia3"])
    outcome = nest.run(some, tmp_path / "out")
    assert outcome["error"].startswith("DiskFull: ")
    store = Store(tmp_path / "out")
    assert litter(store) == []
    assert not by_status(store.records(), "failed")
    repair(tmp_path)
    assert nest.run(some, tmp_path / "out")["failed"] == 0
    assert len(by_status(store.records(), "ok")) == 3


def test_two_grids_at_once_share_the_work(grid: MakeGrid, nest: Nursery, tmp_path: Path) -> None:
    """Another process holds a cell: the grid waits for its record and reuses it."""
    store = Store(tmp_path / "out")
    some = grid(methods=[*odd(tmp_path, "sleep"), "features"])
    _, _ = sleeping(tmp_path, nest, some, tmp_path / "out")
    thread = threading.Timer(0.5, repair, [tmp_path])
    thread.start()
    outcome = run_grid(some.cells(), store)
    thread.join()
    assert nest.wait() == 0
    assert outcome.failed == 0
    assert {record.status for record in outcome.records} == {"ok"}
    taken = store.read(some.names()[0])
    assert taken is not None
    assert taken.environment.concurrent_cells == 2, "the other process's record was taken"


def test_what_breaks_outside_a_method_costs_its_cell_with_the_reason(
    grid: MakeGrid, nest: Nursery, tmp_path: Path
) -> None:
    """The harness itself, in a worker: the reason is recorded, and the worker continues."""
    outcome = nest.run(grid(methods=[*odd(tmp_path, "refused"), "features", "ia3"]), tmp_path / "out")
    assert (outcome["ran"], outcome["failed"]) == (3, 1)
    (failed,) = by_status(Store(tmp_path / "out").records(), "failed")
    assert failed.reason == "PermissionError: [Errno 13] Permission denied"


def test_what_a_dead_worker_had_finished_is_taken(grid: MakeGrid, tmp_path: Path) -> None:
    """It may die after writing its record and before sending it."""
    store = Store(tmp_path / "out")
    store.prepare()
    (cell,) = grid(methods=("features",)).cells()
    work = Work(cell, Identity.of(cell), attempts=("before",))
    with Store(tmp_path / "out").claim(work.key) as mine:
        assert mine
        assert record_failure(work, store, "it died", 2) is None, "another process holds the cell now"
    assert store.read(work.key) is None
    lost = record_failure(work, store, "it died", 2)
    assert lost is not None
    assert (lost.status, lost.reason, lost.attempts) == ("failed", "it died", ("before",))
    assert store.read(work.key) == lost
    for status in ("ok", "skipped"):
        finished = lost.model_copy(update={"status": status, "reason": None})
        store.write(finished)
        assert record_failure(work, store, "it died", 2) == finished
        assert store.read(work.key) == finished


def identity(key: str) -> Identity:
    return Identity(key, "label", {}, None, None)


def test_a_worker_that_has_died_takes_no_cell(grid: MakeGrid) -> None:
    ours, theirs = multiprocessing.Pipe()
    (cell,) = grid(methods=("features",)).cells()
    worker, work = Worker[Work](process=None, connection=ours), Work(cell, identity("key"))
    assert worker.send(work, "message")
    assert theirs.recv() == "message"
    theirs.close()
    other = Worker[Work](process=None, connection=ours)
    assert not other.send(work, "message")
    assert other.item is None
    ours.close()


def test_the_seeds_of_a_method_go_to_one_worker_while_there_is_other_work() -> None:
    def work(method: str, seed: int) -> Work:
        parsed = parse(method)
        return Work(Cell(parsed, "b", "t", parsed.recipe or Recipe(), seed=seed), identity(f"{method} {seed}"))

    ours, theirs = multiprocessing.Pipe()
    workers = [Worker[Work](process=None, connection=ours) for _ in range(2)]
    waiting = [work(method, seed) for seed in (0, 1) for method in ("full", "ia3", "features")]
    taken: list[list[str]] = [[], []]
    while waiting:
        for number, worker in enumerate(workers):
            if waiting:
                next_one = waiting.pop(next_cell(waiting, worker, workers))
                assert worker.send(next_one, None)
                taken[number].append(next_one.key)
    assert taken == [["full 0", "features 0", "full 1"], ["ia3 0", "ia3 1", "features 1"]]
    ours.close()
    theirs.close()


def refusing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Refuses to start more than `after` worker processes."""
    started = Pool._start

    def start(pool: Pool[Any]) -> Worker[Any]:
        if len(pool.workers) >= after:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return started(pool)

    monkeypatch.setattr(Pool, "_start", start)


def test_where_no_more_processes_can_be_started_fewer_do_the_work(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusing(monkeypatch, after=1)
    outcome = run_grid(grid(methods=("features", "ia3")).cells(), Store(tmp_path / "out"), Local(2))
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    assert "only 1 worker" in caplog.text


def test_without_any_worker_process_the_error_says_what_to_do(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, after=0)
    with pytest.raises(UserError, match="--workers 1"):
        run_grid(grid(methods=("features", "ia3")).cells(), Store(tmp_path / "out"), Local(2))
