"""`tunefront stream` end to end on tiny tasks, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.bench.execution.streams import toy_tasks
from tunefront import load_records, stream
from tunefront.bench.cli.main import app
from tunefront.bench.errors import UserError


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["stream", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_stream_runs_is_summarised_and_goes_on(backbones: dict[str, str], tmp_path: Path) -> None:
    tasks = [part for task in toy_tasks(tmp_path / "data", 2) for part in ("--task", task)]
    options = [*tasks, "--backbone", backbones["bert"], "--method", "ia3", "--shots", "16", "--set", "steps=2"]
    out = str(tmp_path / "out")
    code, printed, _ = call(*options, "--orders", "0,1", "--workers", "1", "--out", out)
    assert code == 0
    assert "to the bit" in printed
    assert (tmp_path / "out" / "report" / "report.html").exists()
    records = load_records(out)
    assert {record.stream.way for record in records} == {None, "separate", "sequential", "multitask", "replay"}
    assert {record.label for record in records} == {"full", "ia3"}
    code, printed, _ = call(*options, "--orders", "0,1", "--workers", "1", "--out", out)
    assert code == 0
    assert "all of them recorded before" in printed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--way", "separate"], "separate"),
        (["--replay", "2"], "2"),
        (["--orders", "first"], "first"),
        (["--one-model", "ful"], "full"),
        (["--method", "icl"], "icl"),
        (["--one-model", "features"], "features"),
    ],
)
def test_a_mistake_is_2_and_nothing_is_written(
    arguments: list[str], named: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    tasks = [part for task in toy_tasks(tmp_path / "data", 2) for part in ("--task", task)]
    code, _, errors = call(*tasks, "--backbone", backbones["bert"], *arguments, "--out", str(tmp_path / "out"))
    assert code == 2
    assert named in errors
    assert not list((tmp_path / "out").glob("records/*.json"))


def test_one_task_is_a_mistake(backbones: dict[str, str], tmp_path: Path) -> None:
    (task,) = toy_tasks(tmp_path / "data", 1)
    code, _, errors = call("--task", task, "--backbone", backbones["bert"], "--out", str(tmp_path / "out"))
    assert code == 2
    assert "two tasks" in errors


def test_python_does_the_same(backbones: dict[str, str], tmp_path: Path) -> None:
    tasks = toy_tasks(tmp_path / "data", 2)
    records = stream(
        methods=["ia3"],
        one_model=["none"],
        orders=[0],
        backbones=[backbones["bert"]],
        tasks=tasks,
        shots=[16],
        settings={"steps": 2},
        out=tmp_path / "out",
    )
    assert [record.stream.way for record in records] == [None, None, "separate"]
    with pytest.raises(UserError, match="two tasks"):
        stream(methods=["ia3"], backbones=[backbones["bert"]], tasks=tasks[:1], out=tmp_path / "other")
    with pytest.raises(TypeError):
        stream(task=tasks)
