"""`tunefront submit`: an array script that runs every missing cell once, whatever a user typed."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.scripts import cluster
from tests import ROOT
from tests.bench.execution.grids import deterministic
from tests.bench.world import World
from tunefront import run
from tunefront.bench.cli.slurm import Needs, duration, read_options, script
from tunefront.bench.errors import UserError
from tunefront.bench.forecast import forecast
from tunefront.bench.records import store
from tunefront.bench.records.store import Store

Make = Callable[..., Path]
STUB = """#!/bin/bash
# Runs the tasks of an array in turn, each in the folder that the script names, as sbatch does.
script="${@: -1}"
folder=$(sed -n 's/^#SBATCH --chdir=//p' "$script")
jobs=$(sed -n 's/^#SBATCH --array=1-//p' "$script")
for task in $(seq 1 "$jobs"); do
  (cd "$folder" && SLURM_ARRAY_TASK_ID=$task bash "$script" > "$folder/task_$task.log" 2>&1) || exit 1
done
echo "Submitted batch job 42"
"""
SOME = ("submit", "--method", "ia3", "--method", "full", "--backbone", "tiny", "--task", "docstrings/kind")
SOME = (*SOME, "--seeds", "0,1,2", "--jobs", "2")


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Puts a program `sbatch` with this text first on PATH, or none with None."""

    def made(text: str | None = "#!/bin/sh\necho Submitted batch job 42\n") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "sbatch"
        if text is not None:
            program.write_text(text)
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return program

    return made


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch, world: World) -> dict[str, float]:
    """Instead of predictions: the seconds of each method by name, else 10; its FLOPs are a billion per second."""
    seconds: dict[str, float] = {}

    def predictions(cells: Any, workers: int, on_status: Any, timed: bool = True) -> list[Any]:
        made = []
        for cell in cells:
            record = world.record(cell)
            taken = seconds.get(cell.method.name, 10.0)
            spent = record.seconds.model_copy(update={"train": taken if timed else None})
            flops = record.flops.model_copy(update={"train": int(1e9 * taken)})
            phases = {"forward": {"inputs": 3 * 2**30}}
            memory = record.memory.model_copy(update={"phases": phases})
            made.append((cell, record.model_copy(update={"seconds": spent, "memory": memory, "flops": flops})))
        return made

    monkeypatch.setattr(forecast, "predictions", predictions)
    return seconds


def written(folder: Path) -> tuple[str, dict[str, Any]]:
    """The script and the packing file of the only array in a results folder."""
    (jobs,) = folder.joinpath("jobs").iterdir()
    return jobs.joinpath("array.sh").read_text(), json.loads(jobs.joinpath("packing.json").read_text())


def directives(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH ")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_the_jobs_of_an_array_together_are_the_undivided_run(
    call: Any,
    sbatch: Make,
    backbones: dict[str, str],
    toy_folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sbatch(STUB)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    asked = {"--method": ["ia3", "full", "features"], "--backbone": [backbones["bert"]], "--task": [toy_folder]}
    asked |= {"--seeds": ["0,1"], "--set": ["steps=3", "batch_size=8"]}
    typed = [text for name, values in asked.items() for value in values for text in (name, value)]
    arguments = {"methods": asked["--method"], "backbones": asked["--backbone"], "tasks": [toy_folder], "seeds": [0, 1]}
    run("quick", **arguments, settings={"steps": 3, "batch_size": 8}, out=tmp_path / "whole")
    result = call("submit", "quick", *typed, "--jobs", "2", "--out", "some results")
    assert result.exit_code == 0, result.output
    assert "Submitted batch job 42" in result.stdout
    whole, together = (Store(tmp_path / name) for name in ("whole", "some results"))
    assert len(deterministic(whole)) == 6
    assert deterministic(together) == deterministic(whole)
    _, packing = written(tmp_path / "some results")
    assert sorted(itertools.chain(*packing["jobs"])) == sorted(record.key for record in whole.records())
    assert all(len(job) >= 1 for job in packing["jobs"])
    again = call("submit", "quick", *typed, "--jobs", "2", "--out", "some results")
    assert again.exit_code == 0
    assert "all are recorded" in again.stdout
    assert "Submitted" not in again.stdout


def test_a_dry_run_prints_the_script_and_writes_nothing(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make, tmp_path: Path
) -> None:
    sbatch("#!/bin/sh\ntouch called\n")
    before = sorted(tmp_path.rglob("*"))
    result = call(*SOME, "--dry-run", "--slurm", "partition=gpu", "--slurm", "account=x")
    assert result.exit_code == 0, result.output
    assert sorted(tmp_path.rglob("*")) == before
    assert subprocess.run(["bash", "-n"], input=result.stdout, text=True).returncode == 0
    asked = directives(result.stdout)
    assert (asked["array"], asked["partition"], asked["account"]) == ("1-2", "gpu", "x")
    assert asked["chdir"] == str(tmp_path)
    assert not world.calls


def test_cells_are_packed_by_predicted_seconds(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make, tmp_path: Path
) -> None:
    sbatch()
    predicted |= {"ia3": 100.0, "full": 300.0}
    call(*SOME)
    text, packing = written(tmp_path / "results")
    by_key = {world.record(cell).key: cell for known in world.calls for cell in known["cells"]}
    assert not by_key
    sizes = sorted(len(job) for job in packing["jobs"])
    assert sizes == [2, 4]  # two long ones, and one with all short ones
    assert directives(text)["time"] == "00:41:00"  # three times 600 s, and 600 s, and 10 s for each of 2 or 4 cells


def test_cells_are_packed_by_flops_where_no_seconds_are_predicted(
    call: Any,
    world: World,
    predicted: dict[str, float],
    sbatch: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    sbatch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    predicted |= {"ia3": 100.0, "full": 300.0}
    assert call(*SOME, "--device", "cuda").exit_code == 0
    text, packing = written(tmp_path / "results")
    assert sorted(len(job) for job in packing["jobs"]) == [2, 4]
    assert "time" not in directives(text)


def test_cells_are_packed_by_number_where_nothing_is_predicted(
    call: Any, world: World, sbatch: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise UserError("it cannot be predicted here.")

    sbatch()
    monkeypatch.setattr(forecast, "predictions", fails)
    result = call(*SOME)
    assert result.exit_code == 0
    assert "it cannot be predicted here" in result.stdout
    text, packing = written(tmp_path / "results")
    assert [len(job) for job in packing["jobs"]] == [3, 3]
    assert not {"time", "mem"} & directives(text).keys()


def test_only_cells_without_a_record_are_packed_and_failed_ones_again(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make, tmp_path: Path
) -> None:
    sbatch()
    world.answers = {"full": "failed"}
    call("run", *SOME[1:7], "--task", "docstrings/kind", "--seeds", "0,1")
    call(*SOME, "--jobs", "8")
    text, packing = written(tmp_path / "results")
    assert sum(map(len, packing["jobs"])) == 4  # two failed ones, and those of seed 2
    assert directives(text)["array"] == "1-4"


def test_what_is_requested_follows_from_the_cells_and_can_be_replaced(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make, tmp_path: Path
) -> None:
    sbatch()
    three = (*SOME, "--set", "threads=2", "--workers", "3", "--dry-run")
    asked = directives(call(*three).stdout)
    assert asked["cpus-per-task"] == "6"
    assert asked["mem"] == f"{int(1024 * (3 * 3 * 1.5 + 3 * 2))}M"
    replaced = ("cpus-per-task=16", "mem-per-cpu=2G", "time=1-00:00:00", "exclusive")
    asked = directives(call(*three, *(text for option in replaced for text in ("--slurm", option))).stdout)
    assert (asked["cpus-per-task"], asked["mem-per-cpu"], asked["time"]) == ("16", "2G", "1-00:00:00")
    assert "mem" not in asked
    assert asked["exclusive"] == ""
    asked = directives(call(*three, "--slurm", "cpus-per-gpu=4", "--slurm", "gpus-per-socket=1").stdout)
    assert "cpus-per-task" not in asked  # sbatch takes one of the two


def test_a_device_of_the_nodes_need_not_be_here(
    call: Any, world: World, predicted: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = call(*SOME, "--device", "cuda", "--dry-run")
    assert result.exit_code == 0, result.output
    asked = directives(result.stdout)
    assert asked["gres"] == "gpu:1"
    assert "time" not in asked
    assert "not predicted" in result.stdout
    assert ".." not in result.stdout  # the reason is a sentence already
    assert "gres" not in directives(call(*SOME, "--device", "cuda", "--dry-run", "--slurm", "gpus=2").stdout)
    assert call(*SOME, "--device", "tpu", "--dry-run").exit_code == 2


def test_a_job_has_one_accelerator_unless_more_are_asked_for(
    call: Any, world: World, predicted: dict[str, float]
) -> None:
    result = call(*SOME, "--device", "cuda:1", "--dry-run")
    assert result.exit_code == 2
    assert "cuda:0" in result.stderr
    asked = directives(call(*SOME, "--device", "cuda:1", "--dry-run", "--slurm", "gpus=2").stdout)
    assert asked["gpus"] == "2"
    assert directives(call(*SOME, "--device", "cuda:0", "--dry-run").stdout)["gres"] == "gpu:1"


@pytest.mark.parametrize("typed", ["a b", "$(touch gone)", "it's", 'a"b', "a;b", "`x`", "#a", "%j", "*", "é"])
def test_whatever_is_typed_is_quoted(
    call: Any, world: World, predicted: dict[str, float], tmp_path: Path, typed: str
) -> None:
    result = call(*SOME, "--dry-run", "--out", f"out {typed}", "--slurm", f"comment={typed}", "--sites=")
    assert result.exit_code == 2  # blank
    result = call(*SOME, "--dry-run", "--out", f"out {typed}", "--slurm", f"comment={typed}")
    assert result.exit_code == 0, result.output
    (last,) = [line for line in result.stdout.splitlines() if line.startswith("exec ")]
    arguments = shlex.split(last)
    assert arguments[arguments.index("--out") + 1] == f"out {typed}"
    assert arguments[-1] == "$SLURM_ARRAY_TASK_ID/2"
    comment = directives(result.stdout)["comment"]
    assert shlex.split(comment.replace("\\\\", "\\")) == [typed]
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    "option",
    [
        *("", " ", "=", "=x", "partition=", "a\nb", "comment=a\nb", "comment=a\0b", "comment=a\r#SBATCH --wrap=x"),
        *("-p gpu", "p u=1", "array=1-3", "wrap=ls", "chdir=/", "output=x", "partition\u2028=x"),
        *("arr=1-3", "--outp=x", "ch=/", "wra=ls"),  # sbatch completes the start of a name
        "comment=" + "x" * 5_000,
    ],
)
def test_a_wrong_option_of_slurm_exits_2_in_one_paragraph(call: Any, world: World, option: str, tmp_path: Path) -> None:
    result = call(*SOME, "--slurm", option)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "--slurm" in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_backslash_is_quoted_but_not_in_the_path_of_a_log(
    call: Any, world: World, predicted: dict[str, float], tmp_path: Path
) -> None:
    """In --output a backslash turns off %A and %a, and is left out: all jobs would write one file elsewhere."""
    result = call(*SOME, "--dry-run", "--slurm", "comment=a\\b")
    assert shlex.split(directives(result.stdout)["comment"].replace("\\\\", "\\")) == ["a\\b"]
    result = call(*SOME, "--out", "a\\b")
    assert result.exit_code == 2
    assert "--out" in result.stderr
    assert not (tmp_path / "a\\b").exists()


def test_an_argument_that_no_script_can_hold_is_refused(
    call: Any, world: World, predicted: dict[str, float], tmp_path: Path
) -> None:
    suite = tmp_path / os.fsdecode(b"caf\xe9.toml")
    suite.write_text('methods = ["ia3"]\nbackbones = ["tiny"]\ntasks = ["docstrings/kind"]\n')
    for more in ([], ["--dry-run"]):
        result = call("submit", suite.name, "--jobs", "1", *more)
        assert result.exit_code == 2
        assert "UTF-8" in result.stderr
        assert not result.stdout
    assert not (tmp_path / "results").exists()


def test_a_script_that_sbatch_did_not_start_runs_nothing(tmp_path: Path) -> None:
    needs = Needs(cores=1, seconds=None, memory_bytes=None)
    text = script(["touch", "ran"], needs, 2, {}, "quick", tmp_path, tmp_path, [])
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_ARRAY_TASK_ID"}
    done = subprocess.run(
        ["bash", "-c", text.replace("--shard", "--")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "sbatch" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_asked_for_counts_more_than_the_variables_of_sbatch(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make
) -> None:
    """Variables such as SBATCH_PARTITION replace what a script says, but not what stands in the call of sbatch."""
    sbatch('#!/bin/sh\nprintf "<%s>" "$@"\n')
    result = call(*SOME, "--slurm", "partition=gpu", "--slurm", "exclusive", "--slurm", "comment=a b")
    assert "<--partition=gpu><--exclusive><--comment=a b><" in result.stdout


def test_what_sbatch_says_beside_the_number_of_the_job_is_shown(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make
) -> None:
    program = sbatch("#!/bin/sh\necho 'sbatch: the account has 3 hours left' >&2\necho Submitted batch job 42\n")
    result = call(*SOME)
    assert result.exit_code == 0
    assert "the account has 3 hours left" in result.stdout
    assert "Submitted batch job 42" in result.stdout
    program.write_text("#!/bin/sh\n")
    assert all(call(*SOME).stdout.splitlines())


def test_an_interruption_does_not_claim_what_only_sbatch_knows(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make
) -> None:
    sbatch("#!/bin/sh\nkill -INT $PPID\nsleep 0.2\necho Submitted batch job 42\n")
    result = call(*SOME)
    assert result.exit_code == 130
    assert "squeue" in result.stderr


def test_an_array_that_is_too_large_can_be_corrected(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make
) -> None:
    sbatch("#!/bin/sh\necho 'Batch job submission failed: Invalid job array specification' >&2\nexit 1\n")
    assert "--jobs" in call(*SOME).stderr


def test_without_sbatch_the_script_is_kept_and_named(
    call: Any, world: World, predicted: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = call(*SOME)
    assert result.exit_code == 2
    (path,) = (tmp_path / "results" / "jobs").glob("*/array.sh")
    assert str(path) in result.stderr
    assert "Traceback" not in result.stderr


def test_what_sbatch_refuses_is_said_and_the_script_is_kept(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make, tmp_path: Path
) -> None:
    sbatch("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    result = call(*SOME, "--slurm", "partition=gpu")
    assert result.exit_code == 2
    assert "invalid partition specified: gpu" in result.stderr
    (path,) = (tmp_path / "results" / "jobs").glob("*/array.sh")
    assert str(path) in result.stderr


def test_cells_that_depend_on_scores_and_places_that_jobs_do_not_see_are_refused(
    call: Any, world: World, predicted: dict[str, float]
) -> None:
    pytest.importorskip("optuna")
    assert "optuna" in call(*SOME, "--trials", "3", "--sampler", "optuna").stderr
    result = call(*SOME, "--out", "memory://x")
    assert result.exit_code == 2
    assert "memory" in result.stderr
    for jobs in ("0", "-1", "x", "1000000000"):
        assert call(*SOME[:-1], jobs).exit_code == 2
    assert call(*SOME[:-2]).exit_code == 2


def test_a_url_gets_the_packing_file_and_this_folder_the_script(
    call: Any, world: World, predicted: dict[str, float], sbatch: Make, tmp_path: Path
) -> None:
    sbatch()
    url = f"simplecache::file://{tmp_path}/bucket"
    result = call(*SOME, "--out", url)
    assert result.exit_code == 0, result.output
    (packing,) = (tmp_path / "bucket" / "jobs").glob("*/packing.json")
    (path,) = (tmp_path / "tunefront-jobs").glob("*/array.sh")
    assert packing.parent.name == path.parent.name
    arguments = shlex.split(path.read_text().splitlines()[-1])
    assert arguments[arguments.index("--packed") + 1] == f"{url}/jobs/{path.parent.name}/packing.json"


def test_records_at_a_url_are_looked_for_together(
    call: Any,
    world: World,
    predicted: dict[str, float],
    sbatch: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One by one, thousands of cells would be as many requests, one after another."""
    asked: list[int] = []
    read = store.read_contents

    def counted(remote: Any, folder: str, names: Any) -> Any:
        asked.append(len(names))
        return read(remote, folder, names)

    monkeypatch.setattr(store, "read_contents", counted)
    assert call(*SOME, "--out", f"simplecache::file://{tmp_path}/bucket", "--dry-run").exit_code == 0
    assert asked == [6]


@pytest.mark.parametrize("option", [["--plan"], ["--no-plan"], []])
def test_jobs_predict_their_costs_as_a_run_does(
    call: Any, world: World, predicted: dict[str, float], option: list[str]
) -> None:
    (last,) = [line for line in call(*SOME, "--dry-run", *option).stdout.splitlines() if line.startswith("exec ")]
    assert [word for word in shlex.split(last) if word.endswith("plan")] == option


def test_a_folder_that_no_line_can_hold_is_refused(tmp_path: Path) -> None:
    needs = Needs(cores=1, seconds=None, memory_bytes=None)
    for folder in (tmp_path / "a\nb", tmp_path / ("x" * 3_000)):
        with pytest.raises(UserError, match="folder"):
            script(["tunefront"], needs, 1, {}, "quick", tmp_path, folder, [])


def test_the_script_of_the_page_has_the_form_of_today(call: Any, world: World, predicted: dict[str, float]) -> None:
    shown, now = cluster.SCRIPT.read_text(encoding="utf-8"), call(*cluster.CALL).stdout
    assert list(directives(shown)) == list(directives(now)), "run `python -m docs.scripts.cluster`"
    words = [[word for word in text.splitlines()[-1].split() if word.startswith("--")] for text in (shown, now)]
    assert words[0] == words[1]


@pytest.mark.parametrize(("seconds", "text"), [(1, "00:01:00"), (3_600, "01:00:00"), (86_400 * 3 + 1, "3-00:01:00")])
def test_durations_are_rounded_up(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_later_option_replaces_an_earlier_one() -> None:
    assert read_options(["qos=a", "--qos=b"]) == {"qos": "b"}
