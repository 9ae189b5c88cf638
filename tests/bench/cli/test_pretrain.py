"""`tunefront pretrain`: a mixture of tasks gives a file, and a run starts from the file."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.bench.cli.test_bad_prompts import GOLD, write_templates
from tests.bench.cli.test_progress import Clock
from tests.bench.data.sources.test_own_file import csv_file
from tests.conftest import make_toy
from tunefront.bench.cli.progress import TrainingDisplay
from tunefront.bench.models.checkpoints import header
from tunefront.bench.records import load_records

pytestmark = pytest.mark.usefixtures("reports")


@pytest.fixture
def tasks(tmp_path: Path) -> list[Path]:
    """Two tasks, the first with two templates."""
    folders = [make_toy(tmp_path / "first", seed=1), make_toy(tmp_path / "second", seed=2)]
    write_templates(
        folders[0],
        asks=("{{ text }}" + GOLD, "good ||| bad"),
        of_half=("{% if label %}Is it? {{ text }}" + GOLD + "{% endif %}", "yes ||| no"),
    )
    return folders


@pytest.fixture
def pretrain(call: Any, tasks: list[Path], language_models: dict[str, str]) -> Any:
    """Calls the command with four steps on a tiny T5 and both tasks, by default; returns click's result."""

    def run(*arguments: str, **changes: Any) -> Any:
        values_by_option = {
            "method": "ia3",
            "backbone": language_models["t5"],
            "task": [f"dir:{folder}" for folder in tasks],
            "out": "start.safetensors",
            "set": ["steps=4", "batch_size=4"],
        } | changes
        options = [
            part
            for name, values in values_by_option.items()
            for value in (values if isinstance(values, list) else [values])
            for part in (f"--{name}", value)
        ]
        return call("pretrain", *options, *arguments)

    return run


def test_a_run_starts_from_the_written_file(
    pretrain: Any, call: Any, tasks: list[Path], language_models: dict[str, str], tmp_path: Path
) -> None:
    result = pretrain("--seed", "7", "--cap", "40", out="my starts/start.safetensors")
    assert result.exit_code == 0, result.output
    path = tmp_path / "my starts" / "start.safetensors"
    says = header(str(path)).metadata
    assert [list(entry["templates"]) for entry in json.loads(says["mixture"])] == [["asks", "of half"], ["plain"]]
    assert (says["cap"], says["seed"]) == ("40", "7")
    recipe = json.loads(says["recipe"])
    assert (recipe["steps"], recipe["batch_size"], recipe["learning_rate"], recipe["warmup"]) == (4, 4, 3e-4, 0.06)
    cost, use = result.stdout.splitlines()
    assert cost.startswith("4 steps over ")
    assert use.startswith("my starts/start.safetensors: 640 parameters in 16 tensors; start from it with --method ")
    method = shlex.split(use.partition("--method ")[2].removesuffix("."))[0]
    small = (
        "--shots",
        "8",
        "--draws",
        "0",
        "--set",
        "learning_rate=1e-2",
        "--set",
        "steps=2",
        "--set",
        "eval_rows=8",
        "--seeds",
        "0",
        "--workers",
        "1",
    )
    ran = call("run", "--method", method, "--backbone", language_models["t5"], "--task", f"dir:{tasks[1]}", *small)
    assert ran.exit_code == 0, ran.output
    (record,) = load_records(tmp_path / "results")
    assert record.status == "ok"
    assert record.label.startswith("ia3:start=start@")
    assert record.method == 'ia3:start="my starts/start.safetensors"'


def test_a_method_that_reads_no_file_is_noted_before_it_trains(pretrain: Any) -> None:
    result = pretrain(method="lora")
    assert result.exit_code == 0, result.output
    note = "note: no field of lora names a file to start from, so no run can start from start.safetensors."
    assert note in result.stderr
    assert note not in pretrain().stderr


def test_a_single_template_can_be_selected(pretrain: Any, tasks: list[Path], tmp_path: Path) -> None:
    assert pretrain("--template", "asks", task=f"dir:{tasks[0]}").exit_code == 0
    (mixture,) = json.loads(header(str(tmp_path / "start.safetensors")).metadata["mixture"])
    assert list(mixture["templates"]) == ["asks"]
    assert "no template 'aks'; did you mean 'asks'?" in pretrain("--template", "aks", task=f"dir:{tasks[0]}").stderr


def test_all_mistakes_are_reported_at_once_and_nothing_is_written(
    pretrain: Any, tasks: list[Path], tmp_path: Path
) -> None:
    write_templates(tasks[0], asks=("{{ txt }}" + GOLD, "good ||| bad"))
    result = pretrain(
        "--device", "tpu", method="ia2", set=["steps=0", "eval_rows=3", "learning_rat=1", "steps"], out="new/start"
    )
    assert result.exit_code == 2
    for message in (
        "no method 'ia2'; did you mean 'ia3'?",
        "steps must be at least 1, got 0",
        "does not use eval_rows; the run settings that it uses are device, threads, max_length, context_length.",
        "did you mean 'learning_rate'?",
        "got 'steps'",
        "no device 'tpu'",
        "there is no field 'txt'; did you mean 'text'?",
    ):
        assert message in result.stderr
    assert "7 errors:" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "dir:nowhere"}, "no folder 'nowhere'"),
        ({"backbone": "nowhere/at/all"}, "no model folder nowhere/at/all"),
        ({"method": "ia3:start=none.safetensors"}, "there is no file none.safetensors"),
        ({"method": "icl"}, "no trainable parameters"),
        ({"method": "features"}, "trains a head"),
        ({"out": "first"}, "first exists already; remove it"),
        ({"out": "first/train.jsonl/start"}, "cannot be written"),
    ],
)
def test_a_mistake_exits_2_with_a_paragraph(
    changes: dict[str, Any], message: str, pretrain: Any, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = pretrain(**changes)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr[result.stderr.index("error: ") :].count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_encoder_is_refused_since_its_tasks_have_heads(pretrain: Any, backbones: dict[str, str]) -> None:
    result = pretrain(backbone=backbones["bert"])
    assert result.exit_code == 2
    assert "is an encoder" in result.stderr


def test_regression_is_refused(pretrain: Any, tasks: list[Path]) -> None:
    meta = {"task_type": "regression", "input_fields": ["text"], "label_field": "label", "metrics": ["pearson"]}
    tasks[1].joinpath("meta.json").write_text(json.dumps(meta), encoding="utf-8")
    result = pretrain()
    assert result.exit_code == 2
    assert "is regression; a mixture takes classification and multiple choice" in result.stderr


def test_ctrl_c_exits_130_and_says_that_nothing_was_written(
    pretrain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingDisplay, "step", interrupted)
    result = pretrain(out="new/start")
    assert result.exit_code == 130
    assert "Stopped; nothing was written to new/start." in result.stderr
    assert not list((tmp_path / "new").iterdir())


def test_a_loss_that_explodes_exits_1_with_what_to_do(pretrain: Any, tmp_path: Path) -> None:
    result = pretrain(set=["steps=9", "learning_rate=1e38", "clip_norm=0", "optimizer=adamw"])
    assert result.exit_code == 1
    assert "failed: the loss is nan" in result.stderr
    assert "lower the learning rate" in result.stderr
    assert not (tmp_path / "start.safetensors").exists()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_in_a_log_steps_are_a_line_at_every_tenth(clock: Clock) -> None:
    log = io.StringIO()
    with TrainingDisplay(Console(file=log, width=80), clock) as shown:
        shown.preparing("loading x")
        clock.now += 50
        for done in range(1, 41):
            shown.step("train", done, 40)
            clock.now += 3
    lines = log.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0] == "[4/40] training · 9 s, about 1 min 21 s left"
    assert lines[-1] == "[40/40] training · 1 min 57 s"


def test_in_a_terminal_steps_are_a_bar_with_what_is_left(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    shown = TrainingDisplay(console, clock)

    def drawn() -> str:
        drawing = Console(file=io.StringIO(), width=80)
        drawing.print(shown.render())
        return drawing.file.getvalue().strip()  # type: ignore[attr-defined]

    shown.preparing("encoding x")
    clock.now += 5
    assert drawn() == "encoding x · 5 s"
    shown.step("train", 1, 40)
    assert drawn().endswith("training 1/40 · 0 s")
    clock.now += 30
    shown.step("train", 11, 40)
    assert drawn().endswith("training 11/40 · 30 s, about 1 min 19 s left")


def test_files_of_ones_own_are_mixed_with_other_tasks(pretrain: Any, tasks: list[Path], tmp_path: Path) -> None:
    csv_file(tmp_path)
    result = pretrain("--data", "tickets.csv", "--label", "sentiment", task=f"dir:{tasks[1]}")
    assert result.exit_code == 0, result.output
    mixed = json.loads(header(tmp_path / "start.safetensors").metadata["mixture"])
    assert [member["task"] for member in mixed] == [f"dir:{tasks[1]}", "file:tickets.csv?label=sentiment"]


@pytest.mark.parametrize("name", ["tickets.csv", "file:tickets.csv?label=sentiment"])
def test_a_file_is_a_task_of_a_mixture(pretrain: Any, name: str, tmp_path: Path) -> None:
    csv_file(tmp_path)
    assert pretrain(task=name).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        ((), "no task to train on"),
        (("--label", "sentiment"), "no task to train on"),
        (("--data", "tikets.csv"), "did you mean 'tickets.csv'"),
        (("--data", "tickets.csv", "--label", "sentimnt"), "did you mean 'sentiment'"),
    ],
)
def test_a_mistake_about_a_file_is_one_paragraph(pretrain: Any, arguments: Any, fact: str, tmp_path: Path) -> None:
    csv_file(tmp_path)
    result = pretrain(*arguments, task=[])
    assert result.exit_code == 2, result.output
    assert fact in result.stderr
    assert not (tmp_path / "start.safetensors").exists()
