"""The command: exit codes, messages, output streams and imports."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.bench.world import World
from tunefront.bench.errors import DiskFull, UserError
from tunefront.bench.records import Scores, load_records

pytestmark = pytest.mark.usefixtures("reports")

SMALL = ("run", "--method", "ia3", "--backbone", "tiny", "--task", "docstrings/kind", "--seeds", "0")


def test_a_run_writes_records_a_summary_and_a_report_and_exits_0(call: Any, world: World, tmp_path: Path) -> None:
    result = call(*SMALL)
    assert result.exit_code == 0, result.output
    assert "SUMMARY of 1" in result.stdout
    assert "report: results/report/report.html" in result.stdout
    assert len(load_records(tmp_path / "results")) == 1


def test_a_second_run_takes_the_records_and_says_so(call: Any, world: World) -> None:
    call(*SMALL)
    result = call(*SMALL)
    assert result.exit_code == 0
    assert "1 ok; 1 of them recorded before" in result.stdout
    assert "0 to run" in result.stderr


def test_without_a_suite_options_replace_lists_of_quick(call: Any, world: World) -> None:
    call("run", "--method", "ia3", "--method", "full", "--seeds", "5", "--set", "epochs=1", "--workers", "3")
    (grid_call,) = world.calls
    assert {cell.method.name for cell in grid_call["cells"]} == {"ia3", "full"}
    assert {cell.seed for cell in grid_call["cells"]} == {5}
    assert {cell.recipe.epochs for cell in grid_call["cells"]} == {1.0}
    assert {cell.backbone for cell in grid_call["cells"]} == {"minilm", "smollm2"}
    assert (grid_call["workers"], grid_call["fork"]) == (3, True)


def test_several_shots_draws_and_seeds_are_given_with_commas(call: Any, world: World) -> None:
    call(*SMALL, "--shots", "16,all", "--shots", "64", "--draws", "0,1", "--seeds", "0, 2")
    cells = world.calls[0]["cells"]
    assert {cell.shots for cell in cells} == {16, 64, None}
    assert {cell.draw_seed for cell in cells} == {0, 1}
    assert {cell.seed for cell in cells} == {0, 2}


def test_a_failed_cell_exits_1_with_its_reason(call: Any, world: World) -> None:
    world.answers = {"ia3": "failed"}
    result = call(*SMALL)
    assert result.exit_code == 1
    assert (result.stdout + result.stderr).count("ia3:start=none is failed [here]") == 1
    assert "ia3:start=none is failed [here]" in result.stderr


def test_a_skipped_cell_exits_0(call: Any, world: World) -> None:
    world.answers = {"ia3": "skipped"}
    result = call(*SMALL)
    assert result.exit_code == 0
    assert "1 skipped" in result.stdout


@pytest.mark.parametrize("raised", [False, True])
def test_ctrl_c_exits_130_and_prints_the_command_that_goes_on(call: Any, world: World, raised: bool) -> None:
    world.raises = KeyboardInterrupt() if raised else None
    world.interrupt_after = 0
    result = call(*SMALL, "--set", "learning_rate=1e-3")
    assert result.exit_code == 130
    assert "tunefront run --method ia3 --backbone tiny --task docstrings/kind --seeds 0" in result.stderr
    assert "SUMMARY" not in result.stdout


def test_a_full_disk_exits_1_with_one_paragraph(call: Any, world: World) -> None:
    world.raises = DiskFull("no room is left for results/records/x.json [full]")
    result = call(*SMALL)
    assert result.exit_code == 1
    assert "[full]" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unexpected_error_is_called_a_bug_and_shows_its_traceback_only_with_debug(call: Any, world: World) -> None:
    world.raises = RuntimeError("boom [/red]")
    result = call(*SMALL)
    assert result.exit_code == 1
    assert "bug in tunefront" in result.stderr
    assert "boom [/red]" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in call(*SMALL, "--debug").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "houlsbi"), "did you mean 'houlsby'?"),
        (("--method", "houlsby:bottleneck=0"), "bottleneck must be at least 1, got 0 in houlsby:bottleneck=0"),
        (("--method", "houlsby:bottlneck=8"), "did you mean 'bottleneck'?"),
        (("--method", "nowhere.py:Mine"), "there is no file"),
        (("--task", "docstrings/libary"), "did you mean 'docstrings/library'?"),
        (("--backbone", "minilmm"), "did you mean 'minilm'?"),
        (("qick",), "did you mean 'quick'?"),
        (("--set", "learning_rat=1"), "did you mean 'learning_rate'?"),
        (("--set", "learning_rate"), "needs key=value"),
        (("--set", "learning_rate=fast"), "learning_rate must be float, got 'fast'"),
        (("--set", "epochs=0"), "epochs must be above 0"),
        (("--shots", "some"), "shots must be whole numbers from 1, or 'all'"),
        (("--seeds", "0,x"), "seeds must be whole numbers from 0, got 'x'"),
        (("--engine", "rya"), "did you mean 'ray'?"),
        (("--engine", "ray:nowhere"), "HOST:PORT"),
        (("--engine", "local:1"), "no address"),
        (("--device", "tpu"), "no device 'tpu'"),
        (("--workers", "0"), "--workers"),
        (("--bakbone", "minilm"), "--backbone"),
    ],
)
def test_a_mistake_exits_2_with_a_paragraph_and_runs_nothing(
    call: Any, world: World, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = call("run", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not world.calls
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", [("run",), ("ablate", "spans"), ("stream",), ("mix",)])
def test_every_command_that_runs_cells_has_the_engines(call: Any, world: World, command: tuple[str, ...]) -> None:
    result = call(*command, "--engine", "rya")
    assert result.exit_code == 2
    assert "did you mean 'ray'?" in result.stderr
    assert not world.calls


def test_cuda_that_is_not_there_exits_2(call: Any, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = call(*SMALL, "--device", "cuda")
    assert result.exit_code == 2
    assert "sees no CUDA device" in result.stderr


def test_three_mistakes_of_a_suite_are_all_reported(call: Any, world: World, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'methods = ["houlsby:bottleneck=0"]\nbackbones = ["tiny"]\ntasks = ["docstrings/knd"]\nsedes = [0]\n'
    )
    result = call("run", "mine.toml")
    assert result.exit_code == 2
    for message in ("3 errors", "bottleneck must be at least 1", "'docstrings/kind'?", "did you mean 'seeds'?"):
        assert message in result.stderr


def test_an_output_folder_that_cannot_be_written_exits_2_before_anything_runs(
    call: Any, world: World, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    result = call(*SMALL, "--out", "taken/results")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert not world.calls


def test_a_corrupted_record_is_named_set_aside_and_run_again(call: Any, world: World, tmp_path: Path) -> None:
    call(*SMALL)
    (path,) = (tmp_path / "results" / "records").glob("*.json")
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
    result = call(*SMALL)
    assert result.exit_code == 0
    assert f"{path.name}" in result.stderr.replace("\n", "")
    assert path.with_name(path.name + ".corrupt").exists()
    assert len(load_records(tmp_path / "results")) == 1


def test_records_that_are_lost_while_cells_run_are_counted(
    call: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_grid(*arguments: Any, **named: Any) -> Any:
        outcome = world.run_grid(*arguments, **named)
        shutil.rmtree(tmp_path / "results" / "records")
        return outcome

    monkeypatch.setattr(sys.modules["tunefront.bench.execution.grid"], "run_grid", run_grid)
    result = call(*SMALL)
    assert result.exit_code == 1
    assert "only 0 of 1 records" in result.stderr


def test_missing_predictions_are_reported_and_the_score_stays(call: Any, world: World, tmp_path: Path) -> None:
    call(*SMALL)
    (path,) = (tmp_path / "results" / "predictions").iterdir()
    path.write_bytes(b"\0" * 100)
    result = call(*SMALL)
    assert result.exit_code == 0
    assert "1 of them recorded before" in result.stdout
    assert result.stderr.count("predictions") == 2
    assert f"{path.stem}.json" in result.stderr.replace("\n", "")


def test_an_overlap_of_train_and_test_is_warned_of_once(call: Any, world: World) -> None:
    world.overlap = ("task x: 2 rows are in both train and test [0, 1]",)
    result = call("run", "--seeds", "0,1")
    assert result.stderr.count("2 rows are in both train and test [0, 1]") == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("cannot plot these records together"), "no report was written: cannot plot these records together"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (MemoryError(), "no report was written: the machine has no memory left"),
    ],
    ids=["records", "disk", "memory"],
)
def test_a_report_that_cannot_be_drawn_does_not_spoil_a_run(
    error: Exception, words: str, call: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> list[Path]:
        raise error

    monkeypatch.setattr(sys.modules["tunefront.reports"], "write", refuses)
    result = call(*SMALL)
    assert result.exit_code == 0
    assert words in result.stderr
    assert "bug in tunefront" not in result.stderr


def test_report_draws_from_stored_records_alone(call: Any, world: World, tmp_path: Path) -> None:
    call(*SMALL)
    result = call("report", "results", "--out", "drawn", "--format", "md", "--where", "dtype=float32")
    assert result.exit_code == 0
    assert "drawn/report.md" in result.stdout
    assert (tmp_path / "drawn" / "report.md").read_text(encoding="utf-8") == "1 ['dtype=float32']"
    assert call("report", "results", "--where", "dtype=odd").exit_code == 2


def test_plans_next_to_the_records_go_into_the_report(call: Any, world: World, tmp_path: Path) -> None:
    call(*SMALL)
    (record,) = load_records(tmp_path / "results")
    (tmp_path / "results" / "plans").mkdir()
    planned = record.model_copy(update={"status": "planned", "scores": Scores()})
    (tmp_path / "results" / "plans" / f"{record.key}.json").write_text(planned.model_dump_json(), encoding="utf-8")
    assert call("report", "results", "--format", "md").exit_code == 0
    assert (tmp_path / "results" / "report" / "report.md").read_text(encoding="utf-8") == "1 None, 1 planned"
    assert call(*SMALL).exit_code == 0
    assert (tmp_path / "results" / "report" / "report.html").read_text(encoding="utf-8") == "1 None, 1 planned"


def test_a_file_url_is_a_folder_and_another_url_is_reported_on_here(call: Any, world: World, tmp_path: Path) -> None:
    ran = call(*SMALL, "--out", f"file://{tmp_path}/elsewhere")
    assert ran.exit_code == 0
    assert (tmp_path / "elsewhere" / "report" / "report.html").is_file()
    assert len(list((tmp_path / "elsewhere" / "records").iterdir())) == 1
    assert call("report", f"file://{tmp_path}/elsewhere/", "--format", "md").exit_code == 0
    assert (tmp_path / "elsewhere" / "report" / "report.md").is_file()
    assert call(*SMALL, "--out", "memory://cli").exit_code == 0
    assert call("report", "memory://cli", "--format", "md").exit_code == 0
    assert (tmp_path / "tunefront-report" / "report.md").is_file()
    assert {path.name for path in tmp_path.iterdir()} >= {"elsewhere", "tunefront-report"}
    assert not [path for path in tmp_path.iterdir() if ":" in path.name]


def test_a_url_that_cannot_be_reached_exits_2(call: Any, world: World) -> None:
    for result in (call(*SMALL, "--out", "nowhere://a"), call("report", "nowhere://a")):
        assert result.exit_code == 2
        assert "nowhere://a cannot be" in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("verb", ["report", "stale"])
def test_a_folder_without_records_exits_2(call: Any, world: World, tmp_path: Path, verb: str) -> None:
    assert "nowhere does not exist" in call(verb, "nowhere").stderr
    result = call(verb, str(tmp_path))
    assert result.exit_code == 2
    assert "has no records" in result.stderr


def test_list_names_methods_with_fields_and_recipes(call: Any, world: World) -> None:
    entries = {entry["name"]: entry for entry in json.loads(call("list", "methods", "--json").stdout)}
    assert entries["houlsby"]["fields"] == {"bottleneck": 64, "std": 0.001, "norms": True}
    assert entries["houlsby"]["recipe"] == {"learning_rate": 3e-4}
    assert entries["houlsby"]["about"].endswith("(Houlsby et al., 2019, arXiv:1902.00751).")
    shown = call("list", "methods").stdout
    assert "bottleneck=64, std=0.001, norms=true" in shown
    assert "recipe: learning_rate=0.0003" in shown


@pytest.mark.parametrize(("what", "name"), [("tasks", "docstrings/kind"), ("backbones", "minilm"), ("suites", "quick")])
def test_list_names_what_there_is(call: Any, world: World, what: str, name: str) -> None:
    assert name in [entry["name"] for entry in json.loads(call("list", what, "--json").stdout)]
    assert name in call("list", what).stdout


@pytest.mark.parametrize(("what", "about"), [("backbones", "minilm, a model"), ("suites", "houlsby2019")])
def test_list_says_what_each_is(call: Any, world: World, what: str, about: str) -> None:
    assert about in call("list", what).stdout
    assert all(entry["about"] for entry in json.loads(call("list", what, "--json").stdout))


def test_list_names_every_setting_in_a_terminal_of_80_columns(
    call: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    entries = {entry["name"]: entry for entry in json.loads(call("list", "settings", "--json").stdout)}
    assert entries["steps"]["default"] is None
    assert (entries["dtype"]["table"], entries["dtype"]["takes"]) == ("recipe", "float32, bfloat16")
    assert entries["threads"]["table"] == "settings"
    shown = call("list", "settings").stdout
    first = [line[1:].split(" ")[0] for line in shown.splitlines()]
    assert [name for name in first if name in ("[recipe]", "[settings]", *entries)] == [
        "[recipe]",
        *(name for name in entries if entries[name]["table"] == "recipe"),
        "[settings]",
        *(name for name in entries if entries[name]["table"] == "settings"),
    ]
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plan", "--help"], ["pretrain", "--help"]])
def test_help_imports_neither_torch_nor_transformers(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tunefront.bench.cli.main import app\n"
        f"assert CliRunner().invoke(app, {arguments}).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_python_m_tunefront_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tunefront", "list", "suites"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "quick" in done.stdout


def test_a_suite_that_repeats_a_paper_is_compared_with_it_and_says_what_differs(
    call: Any, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = types.ModuleType("tunefront.bench.papers.conformance.check")
    said = ("dtype is float32, not bfloat16",)
    vars(check)["compare"] = lambda cells: tuple(replace(cell, deviations=said) for cell in cells)
    monkeypatch.setitem(sys.modules, check.__name__, check)
    text = 'paper = "tfew2022"\nmethods = ["ia3"]\nbackbones = ["tiny"]\ntasks = ["docstrings/kind"]\n'
    tmp_path.joinpath("mine.toml").write_text(text, encoding="utf-8")
    result = call("run", "mine.toml")
    assert result.exit_code == 0, result.output
    (grid_call,) = world.calls
    assert {(cell.paper, cell.deviations) for cell in grid_call["cells"]} == {("tfew2022", said)}
    assert "Liu et al. 2022 (T-Few): a difference between this run and the paper's code" in result.stderr
    assert "every method: dtype is float32, not bfloat16." in result.stderr
    call(*SMALL)
    assert {cell.deviations for cell in world.calls[-1]["cells"]} == {None}
    tmp_path.joinpath("mine.toml").write_text(text.replace("2022", "2020"), encoding="utf-8")
    result = call("run", "mine.toml")
    assert result.exit_code == 2
    assert "no paper 'tfew2020'; did you mean 'tfew2022'?" in result.stderr
