"""`tunefront mix` end to end on tiny tasks, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.bench.execution.streams import toy_tasks
from tunefront import load_records, mix, mixed_model
from tunefront.bench.cli.main import app


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["mix", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_members_are_trained_mixed_and_summarised(backbones: dict[str, str], tmp_path: Path) -> None:
    tasks = [part for task in toy_tasks(tmp_path / "data", 2) for part in ("--task", task)]
    options = [*tasks, "--backbone", backbones["bert"], "--method", "ia3", "--method", "lora", "--shots", "16"]
    options += ["--set", "steps=2", "--workers", "1", "--out", str(tmp_path / "out")]
    code, printed, errors = call(*options)
    assert code == 0, errors
    assert "rows per second" in printed
    assert (tmp_path / "out" / "report" / "report.html").exists()
    assert {len(record.mixed.members or ()) for record in load_records(tmp_path / "out")} == {4}
    code, printed, _ = call(*options)
    assert code == 0
    assert "all of them recorded before" in printed


@pytest.mark.parametrize(("method", "named"), [("full", "full"), ("top_layers:n=1", "top_layers"), ("ia4", "ia3")])
def test_a_mistake_is_2_and_nothing_is_written(
    method: str, named: str, backbones: dict[str, str], tmp_path: Path
) -> None:
    tasks = [part for task in toy_tasks(tmp_path / "data", 2) for part in ("--task", task)]
    options = ["--backbone", backbones["bert"], "--method", "lora", "--method", method, "--shots", "16"]
    code, _, errors = call(*tasks, *options, "--out", str(tmp_path / "out"))
    assert code == 2
    assert named in errors
    assert not list((tmp_path / "out").glob("records/*.json"))


def test_python_does_the_same(backbones: dict[str, str], tmp_path: Path) -> None:
    tasks = toy_tasks(tmp_path / "data", 2)
    selection = {"methods": ["ia3"], "backbones": [backbones["bert"]], "tasks": tasks, "shots": [16]}
    records = mix(**selection, settings={"steps": 2}, out=tmp_path / "out")  # type: ignore[arg-type]
    assert [record.mixed.changed_answers for record in records] == [0, 0]
    model = mixed_model(**selection, settings={"steps": 2})
    assert model.members == tuple(f"ia3@{task}" for task in tasks)
    with pytest.raises(TypeError):
        mix(task=tasks)
