"""A cell's record: memory by owner in every phase that ran, and seconds of each phase of a step."""

from __future__ import annotations

import pytest

from tunefront.bench.cells import Cell
from tunefront.bench.execution.run_cell import run_cell
from tunefront.bench.execution.step_timer import StepTimer
from tunefront.bench.meters.memory.phases import MemoryMeter
from tunefront.bench.records import Record
from tunefront.bench.settings import resolve_recipe
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.methods.spelling import parse


def cell(method: str, backbone: str, task: str) -> Cell:
    chosen = parse(method)
    return Cell(chosen, backbone, task, resolve_recipe(chosen, {"steps": 4}), shots=16, template=None)


def test_a_record_has_the_owners_of_memory_and_the_seconds_of_steps(backbones: dict[str, str], toy_folder: str) -> None:
    record, _ = run_cell(cell("houlsby:bottleneck=4", backbones["bert"], toy_folder))
    assert record.status == "ok", record.reason
    assert list(record.memory.phases) == ["load", "forward", "backward", "optimizer", "evaluation"]
    assert sum(record.memory.phases["load"].values()) >= 4 * record.parameters.total
    assert record.memory.phases["optimizer"]["gradients"] == 4 * record.parameters.trainable
    assert record.memory.cuda is None
    assert {name: spread.count for name, spread in record.seconds.steps.items()} == {
        **dict.fromkeys(("data", "forward", "backward", "optimizer"), 3),
        "evaluation": 1,
    }
    assert record.cpu_seconds.train > 0
    assert record.cpu_seconds.eval > 0
    assert record.cpu_seconds.prefix is None
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_the_same_cell_has_the_same_memory_again(backbones: dict[str, str], toy_folder: str) -> None:
    """Regardless of garbage from earlier cells, and for cached features as for computed ones."""
    for method in ("features", "full"):
        first, second = (run_cell(cell(method, backbones["bert"], toy_folder))[0] for _ in range(2))
        assert first.memory.phases == second.memory.phases
        assert first.scores.test == second.scores.test


def test_memory_is_measured_after_every_peak_was_taken(
    backbones: dict[str, str], toy_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never where single steps are timed."""
    happened, peak, measure = [], MeasuringHarness.peak, MemoryMeter.measure

    def noting_peak(trainer: MeasuringHarness) -> object:
        happened.append("peak")
        return peak(trainer)

    def noting_measure(meter: MemoryMeter) -> object:
        happened.append("measure")
        return measure(meter)

    monkeypatch.setattr(MeasuringHarness, "peak", noting_peak)
    monkeypatch.setattr(MemoryMeter, "measure", noting_measure)
    timed = cell("full", backbones["bert"], toy_folder)
    assert run_cell(timed)[0].status == "ok"
    assert happened == ["peak", "peak", "measure"]
    step_timer = StepTimer(timed)
    step_timer.train_step()
    step_timer.evaluate()
    assert len(happened) == 3
