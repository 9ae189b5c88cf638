"""Predictions against runs of the same cells: exact fields are equal, and memory nearly so."""

from __future__ import annotations

import json
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from tunefront.bench.cells import Cell
from tunefront.bench.errors import UserError
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.forecast.machine import Machine, machine
from tunefront.bench.forecast.predict import predict
from tunefront.bench.forecast.synthetic import SyntheticRows
from tunefront.bench.records import CpuSeconds
from tunefront.bench.settings import RunConfig, resolve_recipe
from tunefront.methods.spelling import parse

METHODS = ("full", "top_layers:n=1", "features", "houlsby:bottleneck=4", "ia3", "icl:k=3", "icl:k=0")
LATER = (
    *("knn:k=3", "fish:density=0.05", "cartridge:k=3", "said:dimension=256,variant=outer", "prompt_tuning:length=3"),
    *("said:dimension=256,variant=fastfood", "prefix_tuning:length=3,hidden=8", "lora:dropout=0.1", "scaling"),
    *("bitfit:missing=add", "pfeiffer:reduction=4", "compacter:reduction=4"),
    "parallel_adapter:bottleneck=8,sublayers=both",
)
BACKBONES = ("bert", "deberta-v2", "llama", "gpt2", "t5-gated", "bart")
PAIRS = [(spelled, backbone) for spelled in METHODS for backbone in BACKBONES] + [
    (spelled, backbone)
    for row, spelled in enumerate(LATER)
    for column, backbone in enumerate(BACKBONES)
    if (row + column) % 3 == 0  # every third: a pair takes seconds, and other tests check closed counts of all
]
EXACT = (
    *("key", "parameters", "storage", "prompt", "training.steps"),
    *("flops.train", "flops.inference_per_example", "flops.inference_per_example_without_reuse", "flops.prefix"),
    *("data.n_train", "data.n_test", "data.truncated_train", "data.train_ids"),
)


def cell(spelled: str, backbone: str, task: str, **recipe: Any) -> Cell:
    method = parse(spelled)
    changes = {"batch_size": 4, "steps": 3, **recipe}
    template = None if "bert" in Path(backbone).name else "plain"
    config = RunConfig(eval_batch_size=4, eval_rows=10)
    return Cell(method, backbone, task, resolve_recipe(method, changes), 8, template=template, config=config)


@pytest.mark.parametrize(("spelled", "backbone"), PAIRS)
def test_a_prediction_equals_the_measurement_of_a_run(
    spelled: str, backbone: str, folders: dict[str, str], toy_folder: str
) -> None:
    subject = cell(spelled, folders[backbone], toy_folder)
    planned, (measured, _) = predict(subject), run_cell(subject)
    if measured.status == "skipped":
        assert (planned.status, planned.reason) == ("skipped", measured.reason)
        return
    assert (planned.status, measured.status) == ("planned", "ok"), (planned.reason, measured.reason)
    for field in EXACT:
        assert attrgetter(field)(planned) == attrgetter(field)(measured), field
    assert planned.scores.test is None
    assert planned.seconds.train is None
    assert planned.cpu_seconds == CpuSeconds(), "the processor time of a prediction is not that of a run"
    assert planned.flops.phases is not None
    assert measured.flops.phases is not None
    for phase, flops in measured.flops.phases.items():
        assert planned.flops.phases[phase].analytic == flops.analytic == flops.counted
        assert planned.flops.phases[phase].counted is None
    assert planned.memory.phases is not None
    assert measured.memory.phases is not None
    assert planned.memory.phases.keys() == measured.memory.phases.keys()
    for phase, owners in measured.memory.phases.items():
        assert sum(planned.memory.phases[phase].values()) == pytest.approx(sum(owners.values()), rel=0.02), phase


def test_seconds_are_predicted_for_every_phase(backbones: dict[str, str], toy_folder: str) -> None:
    """The benchmark checks their accuracy; this test checks that they exist."""
    planned = predict(cell("ia3", backbones["bert"], toy_folder), machine=machine(1))
    assert planned.seconds.steps is not None
    assert set(planned.seconds.steps) == {"data", "forward", "backward", "optimizer", "evaluation"}
    assert all(spread.median > 0 for spread in planned.seconds.steps.values())
    assert planned.examples_per_second.eval is not None


class Steady(Machine):
    """A machine on which a phase takes the same time for every batch."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def seconds(self, phase: str, operations: object) -> float:
        self.phases.append(phase)
        return {"forward": 256.0, "backward": 512.0, "optimizer": 128.0}.get(phase, 64.0)


def test_seconds_of_a_run_are_those_of_its_steps(backbones: dict[str, str], toy_folder: str) -> None:
    steady = Steady()
    planned = predict(cell("ia3", backbones["bert"], toy_folder), machine=steady)
    assert planned.seconds.steps is not None
    assert planned.seconds.train is not None
    assert {"forward", "backward", "optimizer"} <= set(steady.phases)
    medians = {phase: planned.seconds.steps[phase].median for phase in ("forward", "backward", "optimizer")}
    assert medians == {"forward": 256.0, "backward": 512.0, "optimizer": 128.0}
    making_batches = planned.seconds.train - 3 * sum(medians.values())
    assert 0 < making_batches < 64  # real time of three tiny batches, nearly nothing compared to the steps


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_optimizers_and_dtypes_are_predicted(
    optimizer: str, dtype: str, backbones: dict[str, str], toy_folder: str
) -> None:
    subject = cell("houlsby:bottleneck=4", backbones["bert"], toy_folder, optimizer=optimizer, dtype=dtype)
    planned, (measured, _) = predict(subject), run_cell(subject)
    assert planned.memory.phases is not None
    assert measured.memory.phases is not None
    assert planned.flops.train == measured.flops.train
    for phase, owners in measured.memory.phases.items():
        assert sum(planned.memory.phases[phase].values()) == pytest.approx(sum(owners.values()), rel=0.02), phase


def synthetic(spelled: str, backbone: str, lengths: SyntheticRows) -> Cell:
    method = parse(spelled)
    config = RunConfig(max_length=lengths.tokens, eval_batch_size=4)
    recipe = resolve_recipe(method, {"batch_size": 4, "steps": 2})
    return Cell(method, backbone, lengths.name, recipe, lengths.train_rows, config=config)


@pytest.mark.parametrize("backbone", ["bert", "gpt2", "t5-gated"])
@pytest.mark.parametrize(
    "spelled",
    ["full", "houlsby", "ia3", "features", "icl", "knn", "cartridge:k=6", "prompt_tuning", "prefix_tuning"],
)
def test_synthetic_rows_have_the_requested_lengths(spelled: str, backbone: str, folders: dict[str, str]) -> None:
    lengths = SyntheticRows(tokens=20, choices=3, answer_tokens=2, train_rows=6, test_rows=5)
    config = str(Path(folders[backbone]) / "config.json")
    planned = predict(synthetic(spelled, config, lengths), lengths)
    if planned.status == "skipped":
        assert spelled in ("icl", "ia3", "cartridge:k=6")
        return
    assert planned.data.n_train == 6
    assert planned.data.n_test == 5
    assert planned.data.truncated_train == planned.data.truncated_test == 0
    if spelled == "icl":
        assert planned.prompt.prefix_tokens == 6 * (20 + 2 - (backbone == "t5-gated") * 2)
        assert planned.prompt.demonstrations_per_row == 6
        assert planned.storage.demonstration_bytes is None, "synthetic texts have no meaningful bytes"
    if backbone == "bert":
        assert planned.parameters.head == (3 * (32 + 1) if planned.parameters.trainable else 0)


def test_rows_too_long_for_the_model_are_an_error(backbones: dict[str, str]) -> None:
    lengths = SyntheticRows(tokens=500)
    config = str(Path(backbones["bert"]) / "config.json")
    with pytest.raises(UserError, match=r"500 tokens .*config.json.* 80 positions"):
        predict(synthetic("full", config, lengths), lengths)


@pytest.mark.parametrize(("name", "tokens", "length"), [("bert", 60, 50), ("llama", 200, 128)])
def test_a_lead_that_leaves_no_room_for_rows_skips_the_method(
    name: str, tokens: int, length: int, folders: dict[str, str]
) -> None:
    lengths = SyntheticRows(tokens=length)
    config = str(Path(folders[name]) / "config.json")
    planned = predict(synthetic(f"prompt_tuning:length={tokens}", config, lengths), lengths)
    assert planned.status == "skipped"
    assert f"{tokens} tokens before every text" in str(planned.reason)
    assert f"rows of {length} tokens; give a smaller --length" in str(planned.reason)


def test_the_error_of_a_model_that_fails_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    sizes = {
        "d_model": 32,
        "num_layers": 1,
        "num_heads": 2,
        "d_kv": 16,
        "d_ff": 64,
        "relative_attention_num_buckets": 1,
    }
    path.write_text(json.dumps({"model_type": "t5", **sizes}), encoding="utf-8")
    lengths = SyntheticRows(tokens=16, train_rows=4, test_rows=4)
    with pytest.raises(UserError, match=r"config\.json .*\(ZeroDivisionError: .*\); correct"):
        predict(synthetic("full", str(path), lengths), lengths)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("\n no such shape\nmore")])
def test_a_failing_model_is_a_user_error_only_for_a_configuration_file(
    error: Exception, backbones: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr("tunefront.bench.forecast.predict.run_cell.fit", fails)
    lengths = SyntheticRows(tokens=16, train_rows=4, test_rows=4)
    with pytest.raises(UserError, match=rf"\({type(error).__name__}(: no such shape)?\); correct its fields"):
        predict(synthetic("full", str(Path(backbones["bert"]) / "config.json"), lengths), lengths)
    with pytest.raises(type(error)) as caught:
        predict(synthetic("full", "bert-base", lengths), lengths)
    assert caught.value is error


def test_the_key_of_a_plan_changes_with_its_costs(backbones: dict[str, str], language_models: Any) -> None:
    config, other = (str(Path(folder) / "config.json") for folder in (backbones["bert"], backbones["roberta"]))
    keys = {
        predict(synthetic(spelled, folder, lengths), lengths).key
        for spelled in ("full", "houlsby:bottleneck=4")
        for folder in (config, other)
        for lengths in (SyntheticRows(tokens=16), SyntheticRows(tokens=18))
    }
    assert len(keys) == 8


@pytest.mark.parametrize("backbone", ["gpt2", "t5-v1.1-small", "llama-3.1-8b"])
def test_long_rows_are_predicted_without_computing_over_pairs_of_tokens(backbone: str) -> None:
    """A mask for 32 of the longest rows would take tens of gigabytes; none is made."""
    import resource

    from tunefront import plan

    length = {"gpt2": 1000}.get(backbone, 16_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (record,) = plan(methods=["full"], backbones=[backbone], length=length, settings={"steps": 1})
    assert record.peak_memory_bytes is not None
    assert record.peak_memory_bytes > 32 * length * length
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2 * 10**9
