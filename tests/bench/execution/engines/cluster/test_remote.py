"""A node that lacks what a cell reads takes it from the driver; one that would give other numbers says so."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.execution.grids import Grid, deterministic
from tunefront.bench.cells import Cell
from tunefront.bench.data import sources
from tunefront.bench.execution.engines import Work
from tunefront.bench.execution.engines.cluster.belongings import Belonging, Found, belongings, contents
from tunefront.bench.execution.engines.cluster.received import Received
from tunefront.bench.execution.engines.cluster.remote import Order, RemoteRunner
from tunefront.bench.execution.engines.worker import CellMessage
from tunefront.bench.execution.grid import run_grid
from tunefront.bench.execution.identity import Identity
from tunefront.bench.execution.stale import FINGERPRINTS
from tunefront.bench.models import locate
from tunefront.bench.models.session import Session
from tunefront.bench.records.store import Store

MakeGrid = Callable[..., Grid]


@pytest.fixture(autouse=True)
def _nothing_provided(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sources, "_provided", {})
    monkeypatch.setattr(locate, "_provided", {})
    yield
    locate.locate.cache_clear()
    locate.fingerprint.cache_clear()


def order(cell: Cell) -> Order:
    """The order of a cell, as a driver makes it."""
    work = Work(cell, Identity.of(cell))
    return Order(CellMessage.of(cell), work.identity, (), belongings(work), 1)


def answer(runner: RemoteRunner, one: Order) -> tuple[Any, ...]:
    """What a node answers to an order."""
    kind, content = runner.run(pickle.dumps(one), lambda phase, done, total: None)
    return kind, *pickle.loads(content)


def send(received: Received, wanted: tuple[Belonging, ...]) -> None:
    """What the driver does with what a node needs."""
    for belonging in wanted:
        for name, chunk in contents(belonging):
            received.add(belonging.fingerprint, name, chunk)
        received.finish(belonging.fingerprint)


def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process has none of the files that a name means."""
    monkeypatch.setattr("tunefront.bench.execution.engines.cluster.belongings._here", lambda belonging: None)


def moved(path: Path) -> None:
    """Nobody finds a file or folder any more."""
    path.rename(path.with_name(f"{path.name}.moved"))


def copied(backbones: dict[str, str], toy_folder: str, tmp_path: Path) -> tuple[Path, Path]:
    """A backbone and a task that may be moved."""
    shutil.copytree(backbones["bert"], tmp_path / "model")
    shutil.copytree(toy_folder.removeprefix("dir:"), tmp_path / "toy")
    return tmp_path / "model", tmp_path / "toy"


def test_weights_and_rows_come_from_the_driver(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, toy = copied(backbones, toy_folder, tmp_path)
    (cell,) = Grid(str(model), f"dir:{toy}", ("full",)).cells()
    here = Store(tmp_path / "here")
    run_grid([cell], here)
    one, received = order(cell), Received(tmp_path / "received")
    runner = RemoteRunner(None, Session(), Found(received))
    elsewhere(monkeypatch)
    kind, wanted = answer(runner, one)
    assert (kind, {each.kind for each in wanted}) == ("needs", {"backbone", "task"})
    send(received, wanted)
    moved(model)
    moved(toy)
    kind, record, predictions, checkpoint = answer(runner, one)
    assert (kind, record.status, checkpoint) == ("finished", "ok", None)
    there = Store(tmp_path / "there")
    there.prepare()
    there.write(record, predictions)
    assert deterministic(there) == deterministic(here)
    assert (record.backbone, record.task, record.method) == (str(model), f"dir:{toy}", cell.spelled)


def test_a_method_file_comes_from_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not imported here: a process has one class of a name."""
    (tmp_path / "mine.py").write_text("# a method", encoding="utf-8")
    wanted = (Belonging("method", str(tmp_path / "mine.py"), hashlib.sha256(b"# a method").hexdigest()),)
    received = Received(tmp_path / "received")
    assert Found(received).missing(wanted) == ()
    elsewhere(monkeypatch)
    found = Found(received)
    assert found.missing(wanted) == wanted
    send(received, wanted)
    assert found.missing(wanted) == ()
    path = Path(found.method_file(wanted) or "")
    assert (path.name, path.read_text(encoding="utf-8")) == ("mine.py", "# a method")
    assert path.is_relative_to(tmp_path / "received")


def test_a_file_that_a_method_reads_comes_from_the_driver(
    backbones: dict[str, str], toy_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Store(tmp_path / "first")
    (kept,) = (replace(cell, keep=True) for cell in Grid(backbones["bert"], toy_folder, ("ia3",)).cells())
    (record,) = run_grid([kept], first).records
    start = tmp_path / "start.safetensors"
    start.write_bytes(first.checkpoint(record) or b"")
    (cell,) = Grid(backbones["bert"], toy_folder, (f"ia3:start={start}",)).cells()
    here = Store(tmp_path / "here")
    run_grid([cell], here)
    one, received = order(cell), Received(tmp_path / "received")
    runner = RemoteRunner(None, Session(), Found(received))
    elsewhere(monkeypatch)
    send(received, answer(runner, one)[1])
    moved(start)
    kind, made, predictions, _ = answer(runner, one)
    there = Store(tmp_path / "there")
    there.prepare()
    there.write(made, predictions)
    assert kind == "finished"
    assert deterministic(there) == deterministic(here)
    assert made.method == cell.spelled


def test_what_was_received_and_damaged_is_taken_again(
    grid: MakeGrid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, received = order(grid(methods=("features",)).cells()[0]), Received(tmp_path / "received")
    elsewhere(monkeypatch)
    (_, wanted) = answer(RemoteRunner(None, Session(), Found(received)), one)
    send(received, wanted)
    for belonging in wanted:
        folder = received.of(belonging.fingerprint)
        next(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".jsonl")).write_bytes(b"")
    assert answer(RemoteRunner(None, Session(), Found(received)), one) == ("needs", wanted)
    send(received, wanted)
    assert answer(RemoteRunner(None, Session(), Found(received)), one)[0] == "finished"


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_nothing_is_written_outside_the_folder_of_what_arrives(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not inside"):
        Received(tmp_path / "received").add("0" * 64, name, b"x")
    assert not list(tmp_path.rglob("out"))


def test_a_node_with_other_code_or_packages_runs_nothing(grid: MakeGrid, tmp_path: Path) -> None:
    (cell,) = grid(methods=("features",)).cells()
    one = order(cell)
    parts = one.identity.ingredients
    old = {
        "versions": {**parts["versions"], "torch": "2.0.0"},
        "fingerprints": {**parts["fingerprints"], "harness": "0"},
    }
    other = replace(one.identity, key="0" * 64, ingredients={**parts, **old})
    kind, text = answer(RemoteRunner(str(tmp_path / "out")), replace(one, identity=other))
    assert kind == "differs"
    assert "torch" in text
    assert "2.0.0" in text
    assert FINGERPRINTS["harness"] in text
    assert FINGERPRINTS["task"] not in text
    assert not (tmp_path / "out").exists()
