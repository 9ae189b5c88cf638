"""`python -m tests.gpu` on toys without a GPU: the whole way, the budget, and what counts as a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gpu import memory
from tests.gpu.__main__ import SECTIONS, main
from tests.gpu.material import SHAPES
from tests.gpu.results import Outcome, Results
from tunefront.bench.records import Memory, Record, Seconds

MACHINE = {"device": "cpu", "device_name": None}


def run(out: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the file."""
    status = main(["--device", "cpu", "--tiny", "--out", str(out), *more])
    return status, json.loads(out.read_text(encoding="utf-8"))


def test_the_whole_way_runs_on_toys(tmp_path: Path) -> None:
    status, found = run(tmp_path / "gpu.json")
    assert (status, found["failures"]) == (0, [])
    steps = {name: [step for step in found["steps"] if step["section"] == name] for name, _, _ in SECTIONS}
    assert all(step["seconds"] is not None for step in found["steps"])
    assert len(steps["memory"]) == len(memory.TINY_CASES)
    for step in steps["memory"]:
        assert step["figures"]["peak_planned_over_run"] == pytest.approx(1, abs=memory.PLANNED_BYTES)
        assert step["left_out"], "the allocator's peaks cannot be had here"
        assert step["record"]["environment"]["device"] == "cpu"
    ours, prompts = steps["prompts"][:2], steps["prompts"][2:]
    assert all(step["record"]["prompt"]["shortened_test"] == 0 for step in ours)
    assert all(step["figures"]["reuse_gives_at_most"] > 2 for step in ours)
    assert all(step["left_out"] or "largest_difference_float32" in step["figures"] for step in prompts)
    for step in steps["tfew"]:
        recipe = step["record"]["recipe"]
        assert (recipe["optimizer"], recipe["unlikelihood_weight"], recipe["batch_size"]) == ("adafactor", 1.0, 8)
        assert 0 < step["figures"]["train_utilisation"] <= 1


def test_a_budget_that_is_used_leaves_steps_out_in_words(tmp_path: Path) -> None:
    clock = iter(range(0, 1000, 10))
    results = Results(tmp_path / "gpu.json", MACHINE, budget=50, now=lambda: float(next(clock)))
    ran: list[str] = []

    def step(name: str) -> tuple[str, Any]:
        return name, lambda: ran.append(name) or Outcome({"figure": 1.0})

    results.run("first", iter([step("a"), step("b"), step("c")]), share=0.5)
    results.run("second", iter([step("d")]), share=1.0)
    assert ran == ["a", "d"]
    written = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["steps"]
    assert [entry["seconds"] is None for entry in written] == [False, True, True, False]
    assert [len(entry["left_out"]) for entry in written] == [0, 1, 1, 0]


def test_an_error_is_a_failure_and_the_next_step_runs(tmp_path: Path) -> None:
    results = Results(tmp_path / "gpu.json", MACHINE, budget=1000)

    def fails() -> Outcome:
        raise RuntimeError("out of memory")

    results.run("memory", iter([("a", fails), ("b", Outcome)]), share=1.0)
    assert len(results.failures) == 1
    assert "out of memory" in results.failures[0]
    assert len(results.entries) == 2


def test_a_failure_gives_exit_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = lambda material: iter([("a", lambda: Outcome(failures=["too much"]))])  # noqa: E731
    monkeypatch.setattr("tests.gpu.__main__.SECTIONS", (("memory", steps, 1.0),))
    status, found = run(tmp_path / "gpu.json")
    assert (status, len(found["failures"])) == (1, 1)


def record(owners: int, allocated: int, train: float = 1.0) -> Record:
    """A record of a phase on CUDA."""
    phases, cuda = {"forward": {"frozen_weights": owners}}, {"forward": {"allocated": allocated, "reserved": 2000}}
    return Record(
        key="a",
        status="ok",
        method="ia3",
        label="ia3",
        backbone="b",
        task="t",
        memory=Memory(phases=phases, cuda=cuda),
        seconds=Seconds(train=train, eval=1.0),
    )


@pytest.mark.parametrize(("allocated", "failures"), [(1000, 0), (1040, 0), (960, 0), (1100, 1), (900, 1)])
def test_owners_far_from_the_allocator_are_a_failure(allocated: int, failures: int) -> None:
    outcome = Outcome()
    memory.against_allocator(outcome, record(1000, allocated))
    assert len(outcome.failures) == failures


@pytest.mark.parametrize(
    ("owners", "train", "failures"), [(1000, 1.0, 0), (1030, 1.9, 0), (1100, 1.0, 1), (900, 9.0, 2)]
)
def test_a_plan_far_from_the_run_is_a_failure(owners: int, train: float, failures: int) -> None:
    outcome = Outcome()
    memory.against_plan(outcome, record(1000, 1000), record(owners, 1000, train), timed=True)
    assert len(outcome.failures) == failures


def test_shapes_have_the_published_numbers_of_parameters() -> None:
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    numbers = {}
    for name, make in (("bert-large", AutoModel), ("t5-large", AutoModel), ("llama-1b", AutoModelForCausalLM)):
        shape = SHAPES[name]
        config = AutoConfig.for_model(shape.like.removesuffix("-gated"), **shape.config)
        with torch.device("meta"):
            numbers[name] = sum(parameter.numel() for parameter in make.from_config(config).parameters())
    # T5 v1.1's 783,150,080 with its untied output layer, which AutoModel leaves out.
    assert numbers == {"bert-large": 335_141_888, "t5-large": 783_150_080 - 32_128 * 1024, "llama-1b": 1_235_814_400}


def test_without_cuda_the_script_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "gpu.json")])
    assert stopped.value.code == 2
    assert "--device cpu --tiny" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [("--device", "gpu0"), ("--device", "cpu", "--minutes", "0")])
def test_wrong_arguments_end_before_anything_runs(wrong: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--tiny", "--out", str(tmp_path / "gpu.json"), *wrong])
    assert stopped.value.code == 2
    assert not list(tmp_path.iterdir())
