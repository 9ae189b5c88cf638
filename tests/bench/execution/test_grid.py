"""A grid: nothing is run twice, lost, doubled or half written."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from tests.bench.execution.grids import Grid, by_status, deterministic, litter, odd, repair, until
from tunefront.bench.cells import Cell
from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.execution.engines import Silent
from tunefront.bench.execution.engines.local import Local
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity
from tunefront.bench.models.pretrained import Pretrained
from tunefront.bench.models.session import Session
from tunefront.bench.records import Mixed, Prompt, Record, Searched, Stream, leaves
from tunefront.bench.records.store import Store
from tunefront.methods.sites import SITES

MakeGrid = Callable[..., Grid]


class Noting(Session):
    """Records the requested backbones, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.requested: list[str] = []

    def pretrained(self, name: str, device: str = "cpu") -> Pretrained:
        self.requested.append(name)
        return super().pretrained(name, device)


class Events(Silent):
    """Records the events of a run."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def planned(self, total: int, reused: int) -> None:
        self.events.append(("planned", total, reused))

    def started(self, cell: Cell) -> None:
        self.events.append(("started", cell.method.name))

    def finished(self, cell: Cell, record: Record) -> None:
        self.events.append(("finished", cell.method.name, record.status))


def contents(store: Store) -> dict[str, tuple[int, bytes]]:
    assert store.folder is not None
    files = [path for path in store.folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_cells_of_a_backbone_run_together_and_records_stay_in_order(
    grid: MakeGrid, backbones: dict[str, str], tmp_path: Path
) -> None:
    """Only one backbone is kept at a time: alternating cells would read both again and again."""
    cells = [
        replace(cell, backbone=backbones[name])
        for cell in grid(methods=("features", "ia3")).cells()
        for name in ("bert", "distilbert")
    ]
    session = Noting()
    records = run_grid(cells, Store(tmp_path / "out"), Local(session=session)).records
    assert session.requested == [backbones[name] for name in ("bert", "bert", "distilbert", "distilbert")]
    assert [record.backbone for record in records] == [cell.backbone for cell in cells]


def test_a_record_written_under_another_name_is_returned_under_the_requested_one(
    grid: MakeGrid, tmp_path: Path
) -> None:
    store, some = Store(tmp_path / "out"), grid(methods=("features",))
    (first,) = run_grid(some.cells(), store).records
    before = contents(store)
    name, place = some.task.removeprefix("dir:"), f"{some.backbone}/../{Path(some.backbone).name}"
    again = run_grid(Grid(place, f"dir:{name}/../{Path(name).name}", ("features",)).cells(), store)
    assert (again.ran, again.reused) == (0, 1)
    (record,) = again.records
    assert (record.task, record.backbone) == (f"dir:{name}/../{Path(name).name}", place)
    assert record.model_copy(update={"task": first.task, "backbone": first.backbone}) == first
    assert contents(store) == before


def test_recorded_cells_are_reused_and_not_run_again(grid: MakeGrid, tmp_path: Path) -> None:
    store, some = Store(tmp_path / "out"), grid(methods=("features", "ia3"))
    first = run_grid(some.cells(), store)
    assert (first.ran, first.reused, first.failed, first.skipped, first.interrupted) == (2, 0, 0, 0, False)
    before = contents(store)
    display = Events()
    second = run_grid(some.cells(), store, progress=display)
    assert (second.ran, second.reused) == (0, 2)
    assert display.events == [("planned", 2, 2)]
    assert contents(store) == before
    assert second.records == first.records
    assert [record.key for record in first.records] == some.names()
    assert litter(store) == []
    more = run_grid(grid(methods=("ia3", "full", "features")).cells(), store)
    assert (more.ran, more.reused) == (1, 2)
    assert [record.label for record in more.records] == ["ia3", "full", "features"]


def test_a_cell_given_twice_runs_once(grid: MakeGrid, tmp_path: Path) -> None:
    cells = grid(methods=("features",)).cells()
    outcome = run_grid(cells * 3, Store(tmp_path / "out"))
    assert outcome.ran == len(outcome.records) == 1


def test_an_existing_record_gets_the_differences_from_the_suites_paper(grid: MakeGrid, tmp_path: Path) -> None:
    store, (cell,) = Store(tmp_path / "out"), grid(methods=("features",)).cells()
    (first,) = run_grid([cell], store).records
    assert (first.paper, first.deviations) == (None, None)
    requested = replace(cell, paper="tfew2022", deviations=("dtype is float32, not bfloat16",))
    outcome = run_grid([requested], store)
    assert (outcome.ran, outcome.reused) == (0, 1)
    (record,) = outcome.records
    assert (record.paper, record.deviations) == (requested.paper, requested.deviations)
    assert [record] == store.records()
    before = contents(store)
    run_grid([cell], store)  # a suite without a paper removes nothing
    run_grid([requested], store)
    assert contents(store) == before
    (rerun,) = run_grid([replace(requested, seed=1)], store).records
    assert rerun.deviations == requested.deviations


def test_a_record_is_complete(grid: MakeGrid, tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    (record,) = run_grid(grid(methods=("houlsby:bottleneck=4",)).cells(), store).records
    may_be_null = {
        "reason",
        "model.stored_weights",
        "method_file",
        "template",
        "shots",
        "method_sources",
        "paper",
        "deviations",
    }
    may_be_null |= {"data.draw_source", "data.selection_split", "data.n_selection"}
    may_be_null |= {
        *(f"prompt.{name}" for name in Prompt.model_fields),  # nothing is shown
        *("spans", *(f"stream.{name}" for name in Stream.model_fields)),  # part of no protocol
        *(f"mixed.{name}" for name in Mixed.model_fields),
        *(f"search.{name}" for name in Searched.model_fields),
        *("flops.inference_per_example_without_reuse", "flops.prefix", "flops.calibration"),
        *("seconds.prefix", "cpu_seconds.prefix", "latency_seconds.first", "latency_seconds.merged"),
        *("storage.checkpoint_sha256", "storage.demonstration_bytes", "scores.selection"),
        *("environment.host", "environment.device_name", "environment.git_commit", "memory.cuda"),
    }
    may_be_null |= {name for name in leaves() if "allocated" in name or "resident" in name}
    assert {name for name in leaves() if attrgetter(name)(record) is None} <= may_be_null
    assert (record.data.n_train, record.data.n_test, record.training.steps) == (96, 40, 3)
    assert record.parameters.trainable == 4 * (2 * 4 * 32 + 32 + 4) + 2 * 32 * 5 + 66
    assert record.parameters.total == record.parameters.backbone + record.parameters.inserted + record.parameters.head
    predictions = store.predictions(record.key)
    assert list(predictions.columns) == ["id", "label", "prediction", "score_0", "score_1"]
    right = (predictions["prediction"] == predictions["label"]).mean()
    assert record.scores.test["accuracy"] == right
    assert ((predictions["score_1"] > predictions["score_0"]) == predictions["prediction"].astype(bool)).all()
    assert record.flops.train > record.flops.inference_per_example > 0


def test_a_failed_cell_is_tried_again_and_keeps_its_earlier_reasons(grid: MakeGrid, tmp_path: Path) -> None:
    store, some = Store(tmp_path / "out"), grid(methods=[*odd(tmp_path, "fail"), "features"])
    first = run_grid(some.cells(), store)
    assert (first.failed, first.ran) == (1, 2)
    failed = first.records[0]
    assert (failed.status, failed.reason, failed.attempts) == ("failed", "RuntimeError: it went wrong", ())
    assert failed.scores.test is None
    second = run_grid(some.cells(), store)
    assert (second.failed, second.ran, second.reused) == (1, 1, 1)
    assert second.records[0].attempts == ("RuntimeError: it went wrong",)
    repair(tmp_path)
    third = run_grid(some.cells(), store)
    assert (third.failed, third.ran, third.reused) == (0, 1, 1)
    assert third.records[0].status == "ok"
    assert third.records[0].attempts == ("RuntimeError: it went wrong",) * 2
    assert third.records[0].method_file == "odd.py"
    assert run_grid(some.cells(), store).ran == 0


def test_a_skipped_cell_is_recorded_with_its_reason_and_not_run_again(grid: MakeGrid, tmp_path: Path) -> None:
    store, some = Store(tmp_path / "out"), grid(methods=[*odd(tmp_path, "unsupported"), "top_layers:n=9"])
    first = run_grid(some.cells(), store)
    assert [record.status for record in first.records] == ["skipped", "skipped"]
    assert first.records[0].reason == "odd needs an even backbone"
    assert first.records[1].reason == "top_layers:n=9 needs 9 blocks; the backbone has 2"
    assert first.skipped == 2
    second = run_grid(some.cells(), store)
    assert (second.ran, second.skipped) == (0, 2)


@pytest.mark.parametrize("damage", ["half", "empty"])
def test_a_corrupted_record_is_named_set_aside_and_run_again(
    damage: str, grid: MakeGrid, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, some = Store(tmp_path / "out"), grid(methods=("features", "ia3"))
    run_grid(some.cells(), store)
    before = deterministic(store)
    path = tmp_path / "out" / "records" / f"{some.names()[0]}.json"
    whole = path.read_bytes()
    broken = {"half": whole[: len(whole) // 2], "empty": b""}[damage]
    path.write_bytes(broken)
    with caplog.at_level(logging.WARNING, "tunefront"):
        outcome = run_grid(some.cells(), store)
    assert str(path) in caplog.text
    assert (outcome.ran, outcome.reused) == (1, 1)
    assert path.with_name(path.name + ".corrupt").read_bytes() == broken
    assert deterministic(store) == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_whole_record_that_stands_in_the_place_of_a_cell_stops_the_grid(
    workers: int, grid: MakeGrid, tmp_path: Path
) -> None:
    store, some = Store(tmp_path / "out"), grid(methods=("features", "ia3"))
    run_grid(some.cells(), store)
    path, other = (tmp_path / "out" / "records" / f"{name}.json" for name in some.names())
    path.write_bytes(other.read_bytes())
    before = contents(store)
    with pytest.raises(UserError, match=path.name):
        run_grid(some.cells(), store, Local(workers))
    assert contents(store) == before


def test_a_store_in_memory_is_filled_by_this_process_alone(grid: MakeGrid, tmp_path: Path) -> None:
    store = Store(f"memory://{tmp_path.name}")
    some = grid(methods=[*odd(tmp_path, "unsupported"), "features", "ia3"])
    outcome = run_grid(some.cells(), store, Local(2))
    assert [record.status for record in outcome.records] == ["skipped", "ok", "ok"]
    assert {record.key for record in store.records()} == set(some.names())
    assert {record.environment.concurrent_cells for record in outcome.records} == {1}


def fill_disk(monkeypatch: pytest.MonkeyPatch, step: str, after: int) -> None:
    """The disk is full from the given file on: when it is opened for writing, or renamed."""
    left = [after]

    def room() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    replace, fsync = os.replace, os.fsync
    if step == "replace":
        monkeypatch.setattr(os, "replace", lambda *paths: (room(), replace(*paths)))
    else:
        monkeypatch.setattr(os, "fsync", lambda file: (room(), fsync(file)))


@pytest.mark.parametrize("step", ["replace", "write"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_full_disk_leaves_whole_records_and_nothing_half_written(
    step: str, after: int, grid: MakeGrid, tmp_path: Path
) -> None:
    """Two files per cell: predictions, then the record."""
    store, some = Store(tmp_path / "out"), grid(methods=("ia3", "full"))
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, step, after)
        with pytest.raises(DiskFull, match="repeat the command"):
            run_grid(some.cells(), store)
    assert litter(store) == []
    assert len(store.records()) == after // 2
    outcome = run_grid(some.cells(), store)
    assert (outcome.reused, outcome.ran, outcome.failed) == (after // 2, 2 - after // 2, 0)


def test_no_room_for_a_lock_is_a_full_disk(grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "out")
    opened = os.open

    def full(path: object, flags: int, *rest: object, **named: object) -> int:
        if str(path).endswith(".lock"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(DiskFull):
        run_grid(grid(methods=("features",)).cells(), store)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_run_on_with_a_warning(
    number: int, grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import fcntl

    def none(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    outcome = run_grid(grid(methods=("features", "ia3")).cells(), Store(tmp_path / "out"))
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    assert caplog.text.count("no file locks") == 1


def test_a_lock_of_another_user_names_its_file(grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunefront.bench.files import explain_os_error

    store, opened = Store(tmp_path / "out"), os.open
    store.prepare()

    def theirs(path: object, flags: int, *rest: object, **named: object) -> int:
        if str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, flags, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", theirs)
    with pytest.raises(OSError, match="Permission denied") as error:
        run_grid(grid(methods=("features",)).cells(), store)
    assert ".lock" in explain_os_error(error.value)


def test_an_interrupted_grid_keeps_finished_cells_and_continues_later(grid: MakeGrid, tmp_path: Path) -> None:
    class Impatient(Silent):
        def finished(self, cell: Cell, record: Record) -> None:
            raise KeyboardInterrupt

    class Sooner(Silent):
        def step(self, cell: Cell, phase: str, done: int, total: int) -> None:
            raise KeyboardInterrupt

    store, some = Store(tmp_path / "out"), grid(methods=("features", "ia3", "full"))
    first = run_grid(some.cells(), store, progress=Impatient())
    assert first.interrupted
    assert [record.label for record in first.records] == ["features"]
    middle = run_grid(some.cells(), store, progress=Sooner())
    assert middle.interrupted
    assert (middle.ran, middle.reused) == (0, 1)
    last = run_grid(some.cells(), store)
    assert (last.ran, last.reused, last.interrupted) == (2, 1, False)
    assert litter(store) == []


HOLD = """
import sys, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["release", "kill"])
def test_a_claimed_cell_is_waited_for_and_the_claim_dies_with_its_process(
    end: str, grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunefront.bench.execution.engines.inprocess.BUSY_SECONDS", 0.05)
    store, some = Store(tmp_path / "out"), grid(methods=("features", "ia3"))
    store.prepare()
    lock = tmp_path / "out" / "locks" / f"{some.names()[0]}.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"  # type: ignore[union-attr]
    display = Events()

    def let_go() -> None:
        until(lambda: ("finished", "ia3", "ok") in display.events)
        time.sleep(0.2)
        display.events.append("released")
        holder.kill() if end == "kill" else holder.stdin.close()  # type: ignore[union-attr]

    thread = threading.Thread(target=let_go)
    thread.start()
    outcome = run_grid(some.cells(), store, progress=display)
    thread.join()
    holder.communicate() if end == "kill" else holder.wait()
    holder.stdout.close()  # type: ignore[union-attr]
    holder.stdin.close()  # type: ignore[union-attr]
    assert [record.status for record in outcome.records] == ["ok", "ok"]
    finished = [event for event in display.events if event == "released" or event[0] == "finished"]
    assert finished == [("finished", "ia3", "ok"), "released", ("finished", "features", "ok")]


def test_a_record_that_another_process_wrote_meanwhile_is_taken(grid: MakeGrid, tmp_path: Path) -> None:
    """Another machine may finish the cell between reading the store and claiming the cell."""
    mine, other, some = Store(tmp_path / "mine"), Store(tmp_path / "other"), grid(methods=("features",))
    (theirs,) = run_grid(some.cells(), other).records

    class Meanwhile(Silent):
        def started(self, cell: Cell) -> None:
            mine.write(theirs, other.predictions(theirs.key))

    (record,) = run_grid(some.cells(), mine, progress=Meanwhile()).records
    assert record == theirs, "seconds and all: it was not run again"


def test_the_seed_and_every_setting_that_changes_numbers_change_the_key(grid: MakeGrid) -> None:
    from dataclasses import replace

    from tunefront.bench.execution.identity import Identity
    from tunefront.bench.settings import RunConfig

    (cell,) = grid(methods=("houlsby:bottleneck=4",)).cells()
    others = [
        replace(cell, seed=1),
        replace(cell, shots=8),
        replace(cell, draw_seed=1),
        replace(cell, recipe=replace(cell.recipe, steps=4)),
        replace(cell, config=RunConfig(eval_batch_size=16, threads=2)),
        replace(cell, config=RunConfig(eval_batch_size=16, max_length=9)),
        replace(cell, method=replace(cell.method, bottleneck=5)),
    ]
    keys = [Identity.of(each).key for each in (cell, *others)]
    assert len(set(keys)) == len(keys)
    assert Identity.of(replace(cell)).key == keys[0]


def test_the_identity_of_a_cell_is_computed_once(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunefront.bench.execution import identity

    compute, seen = identity.ingredients, list[str]()

    def counted(cell: Cell, shared: identity.Shared) -> dict[str, Any]:
        seen.append(cell.spelled)
        return compute(cell, shared)

    monkeypatch.setattr(identity, "ingredients", counted)
    records = run_grid(grid(methods=("features", "ia3")).cells(), Store(tmp_path / "out")).records
    assert seen == [record.method for record in records]


def test_a_failure_outside_a_method_is_that_cells_alone(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunefront.bench.execution import run_cell

    measured = run_cell.checkpoint_bytes

    def broken(*_: object) -> int:
        monkeypatch.setattr(run_cell, "checkpoint_bytes", measured)
        raise MemoryError("no memory")

    monkeypatch.setattr(run_cell, "checkpoint_bytes", broken)
    outcome = run_grid(grid(methods=("features", "ia3")).cells(), Store(tmp_path / "out"))
    assert [record.status for record in outcome.records] == ["failed", "ok"]
    assert outcome.records[0].reason == "MemoryError: no memory"
    assert by_status(outcome.records, "ok")[0].label == "ia3"


def test_a_store_that_cannot_be_opened_raises_the_systems_error(grid: MakeGrid, tmp_path: Path) -> None:
    """A store that cannot be written is a mistake of the call, before anything runs."""
    from tunefront.bench.errors import UserError

    tmp_path.joinpath("out").write_text("a file", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        run_grid(grid(methods=("features",)).cells(), Store(tmp_path / "out"))


def test_other_sites_and_other_harness_code_make_another_key(grid: MakeGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = grid().cells()[0]
    before = Identity.of(cell).key
    with monkeypatch.context() as changed:
        changed.setitem(SITES, "bert", replace(SITES["bert"], sublayer_output=SITES["bert"].attention_output))
        assert Identity.of(cell).key != before
    assert Identity.of(cell).key == before
    monkeypatch.setattr("tunefront.bench.execution.identity.harness_fingerprint", lambda: "other code")
    assert Identity.of(cell).key != before


def test_what_cells_share_is_computed_once(grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunefront.bench.execution import identity

    read, compute = list[str](), identity.source_fingerprint

    def counted(method: Any) -> str:
        read.append(method.name)
        return compute(method)

    monkeypatch.setattr(identity, "source_fingerprint", counted)
    shared = identity.Shared()
    cells = grid(methods=("features", "ia3"), seeds=3).cells()
    keys = {identity.Identity.of(cell, shared).key for cell in cells}
    assert (len(keys), sorted(read)) == (6, ["features", "ia3"])


def test_nothing_waits_for_a_held_cell_while_others_are_free(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands on one suite meet again and again."""
    some, store, left = grid(methods=("features", "ia3", "full")), Store(tmp_path / "out"), ExitStack()
    store.prepare()
    assert left.enter_context(store.claim(some.names()[0]))
    recorded: list[int] = []

    def sleep(seconds: float) -> None:
        recorded.append(len(store.records()))
        left.close()

    monkeypatch.setattr("tunefront.bench.execution.engines.inprocess.time.sleep", sleep)
    assert run_grid(some.cells(), store).ran == 3
    assert recorded == [2]
