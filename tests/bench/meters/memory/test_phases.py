"""The memory of the phases of a cell: against the allocator, with fake tensors, for every method, without traces."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._C._profiler import _EventType
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile, record_function

from tests.bench.meters.memory.test_tracker import perceptron
from tests.toys import attach, encode, fit_without_steps, fresh_copy, harness, pair_id, shipped
from tunefront.bench.meters.memory import peak
from tunefront.bench.meters.memory.peak import allocator_peak, peak_memory
from tunefront.bench.meters.memory.phases import BatchReplay, MemoryMeter, PhaseMemory, batch_phase, step_phases
from tunefront.bench.meters.memory.tracker import Ledger
from tunefront.bench.records import MEMORY_PHASES, OWNERS
from tunefront.bench.training.feature_cache import FeatureStore
from tunefront.bench.training.harness import MeasuringHarness
from tunefront.bench.training.instruments import Subject
from tunefront.bench.training.step import Step
from tunefront.methods.base import Batch, Method, Recipe, trained
from tunefront.methods.spelling import parse

TINY = ("bert", "gpt2", "t5")
CUDA = torch.device("cuda", 0)


def allocated(run: Callable[[], object]) -> dict[str, int]:
    """The peak growth of torch's CPU allocator within each `record_function` of a run, from the profiler's list of
    allocations."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    changes, blocks, waiting = [], {}, profiled.profiler.kineto_results.experimental_event_tree()
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == _EventType.Allocation:
            changes.append((event.start_time_ns, event.extra_fields.alloc_size))
        if event.name.startswith("phase "):
            blocks[event.name.removeprefix("phase ")] = (event.start_time_ns, event.end_time_ns)
    peaks, total = dict.fromkeys(blocks, 0), 0
    for time, change in sorted(changes, key=lambda change: change[0]):
        total += change
        for name, (start, end) in blocks.items():
            if start <= time <= end:
                peaks[name] = max(peaks[name], total)
    return peaks


def compared(model: nn.Module, loss: Callable[[], Tensor], inputs: list[Tensor]) -> tuple[dict[str, int], ...]:
    """The peaks of forward and backward above the memory before them: in the ledger and in the allocator."""

    def plain() -> None:
        with record_function("phase forward"):
            value = loss()
        with record_function("phase backward"):
            value.backward()

    plain()
    model.zero_grad()
    by_allocator = allocated(plain)
    model.zero_grad()
    with Ledger(model) as ledger:
        ledger.own("inputs", inputs)
        with ledger.phase("before"):
            pass
        with ledger.phase("forward"):
            value = loss()
        with ledger.phase("backward"):
            value.backward()
    totals = {phase: sum(owners.values()) for phase, owners in ledger.peaks.items()}
    before = totals.pop("before")
    return {phase: total - before for phase, total in totals.items()}, by_allocator


def test_the_ledger_counts_every_byte_of_the_allocator() -> None:
    model, batch = perceptron(frozen=False), torch.randn(30, 4)
    ours, theirs = compared(model, lambda: model(batch).sum(), [batch])
    assert ours == theirs


@pytest.mark.parametrize("name", TINY)
def test_on_transformers_the_ledger_counts_all_but_memory_inside_kernels(name: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name])
    backbone.model.train()
    batch = encode(backbone).batch(range(16))

    def loss() -> Tensor:
        torch.manual_seed(0)
        return backbone.loss(batch)

    ours, theirs = compared(backbone.model, loss, [*batch.inputs.values(), batch.labels, batch.rows])
    for phase in ("forward", "backward"):
        assert ours[phase] <= theirs[phase] + 64
        assert ours[phase] > 0.98 * theirs[phase]


def faked(backbone: Any) -> Any:
    """A copy of the backbone whose parameters and buffers are fake; no mode is active afterwards."""
    mode, model = FakeTensorMode(allow_non_fake_inputs=True), backbone.model
    fakes: dict[int, Tensor] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        fake = mode.from_tensor(tensor.detach(), static_shapes=True)
        fakes[id(tensor)] = nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake
    copied = copy.copy(backbone)
    copied.model = copy.deepcopy(model, fakes)  # the memo of copies
    if backbone.head is not None:
        copied.head = copied.model.head
    return copied


def phases(backbone: Any, method: Method, optimizer: str) -> Ledger:
    """The ledger of a step and a scored batch of a method."""
    rows, ledger = encode(backbone), Ledger(backbone.model)
    trainer = harness(backbone, method, optimizer=optimizer)
    replay = BatchReplay((0,), lambda: rows.batch(range(16)))
    with ledger.phase("load"):
        pass
    torch.manual_seed(0)
    if trained(backbone.model):
        backbone.model.train()
        step_phases(ledger, Step(backbone.trainable(), backbone.loss, trainer.recipe, trainer.subject.autocast), replay)
    backbone.model.eval()
    batch_phase(ledger, "evaluation", backbone.score, replay)
    return ledger


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("method", shipped(), ids=pair_id)
def test_owners_sum_to_the_peak_with_real_and_fake_tensors(method: Method, name: str, folders: dict[str, str]) -> None:
    backbone = fresh_copy(folders[name])
    attach(method, backbone)
    fit_without_steps(method, backbone, encode(backbone))
    real = phases(backbone, method, "adamw")
    assert {owner for owners in real.peaks.values() for owner in owners} <= set(OWNERS)
    fake = phases(faked(backbone), method, "adamw")
    assert fake.peaks == real.peaks
    # Without foreach kernels, clipping needs one operator per tensor, and a few products are batched.
    assert real.operations <= fake.operations <= 1.1 * real.operations
    weight_bytes = sum(tensor.nbytes for tensor in [*backbone.model.parameters(), *backbone.model.buffers()])
    assert sum(real.peaks["load"].values()) == weight_bytes
    for owners in real.peaks.values():
        assert owners.get("frozen_weights", 0) + owners.get("trained_weights", 0) == weight_bytes
    if trained(backbone.model):
        learned = sum(parameter.nbytes for parameter in trained(backbone.model).values())
        count = len(trained(backbone.model))
        assert real.peaks["optimizer"]["trained_weights"] == real.peaks["optimizer"]["gradients"] == learned
        assert real.peaks["optimizer"]["optimizer_state"] == 2 * learned + 4 * count
        assert real.peaks["forward"]["optimizer_state"] == 2 * learned + 4 * count
        assert real.peaks["backward"]["saved_activations"] > 0
    assert "saved_activations" not in real.peaks["evaluation"]


def step_of(model: nn.Module, recipe: Recipe) -> tuple[Step, BatchReplay]:
    def loss(batch: Batch) -> Tensor:
        return nn.functional.dropout(model(batch.inputs["rows"]), 0.5).square().mean()

    batch = Batch({"rows": torch.randn(3, 4)}, torch.zeros(3), torch.arange(3))
    subject = Subject(model, recipe, 0, ("toy",))
    return Step(trained(model), loss, recipe, subject.autocast), BatchReplay((1,), lambda: batch)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_measuring_a_step_has_no_side_effects(optimizer: str) -> None:
    """Weights, gradients and random state stay bit-identical; negative zeros stay negative."""
    model = perceptron(frozen=True)
    with torch.no_grad():
        model[2].weight[0] = -0.0
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [parameter.grad for parameter in model.parameters()]
    values = [gradient.clone() for gradient in gradients]
    meter = MemoryMeter(model, lambda: torch.autocast("cpu", enabled=False))
    step, replay = step_of(model, Recipe(optimizer=optimizer, learning_rate=0.5, weight_decay=0.5))
    meter.schedule_step(lambda: step, [replay])
    model[2].bias.requires_grad_(False)  # a later change by the method does not affect the replay
    model.eval()
    state = torch.random.get_rng_state()
    owners = meter.measure().owners
    assert owners["optimizer"]["gradients"] == owners["optimizer"]["trained_weights"] == 9 * 2 * 4
    assert list(owners) == ["load", "forward", "backward", "optimizer"]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not model.training
    assert not model[2].bias.requires_grad
    for name, tensor in model.state_dict().items():
        assert tensor.view(torch.uint8).equal(weights[name].view(torch.uint8)), name
    for parameter, gradient, value in zip(model.parameters(), gradients, values, strict=True):
        assert parameter.grad is gradient
        assert torch.equal(gradient, value)


def test_the_largest_scheduled_batch_is_measured() -> None:
    model = nn.Linear(4, 4)
    meter = MemoryMeter(model, lambda: torch.autocast("cpu", enabled=False))
    for rows in (2, 5, 3):
        batch = Batch({"rows": torch.randn(rows, 4)}, torch.zeros(rows), torch.arange(rows))
        meter.schedule_batch(
            "evaluation", lambda batch: model(batch.inputs["rows"]), [BatchReplay((rows,), lambda b=batch: b)]
        )
    owners = meter.measure().owners
    assert owners["evaluation"] == {
        "trained_weights": 80,
        "inputs": 5 * (4 * 4 + 4 + 8),
        "temporary": 5 * 4 * 4,
    }


def test_a_union_keeps_the_larger_peak_of_a_common_phase() -> None:
    first = PhaseMemory({"features": {"inputs": 5}, "load": {"inputs": 3}}, {"features": {"allocated": 9}})
    second = PhaseMemory({"features": {"temporary": 7}, "query": {"inputs": 1}})
    assert first | second == PhaseMemory(
        {"features": {"temporary": 7}, "load": {"inputs": 3}, "query": {"inputs": 1}}, {"features": {"allocated": 9}}
    )


def fitted(method: str, backbone: Any, **settings: Any) -> tuple[MeasuringHarness, Tensor]:
    chosen = parse(method)
    chosen.attach(backbone)
    trainer = harness(backbone, chosen, **settings)
    scorer = chosen.fit(backbone, encode(backbone), trainer)
    return trainer, trainer.score(scorer, encode(backbone, split="test")).values


@pytest.mark.parametrize(
    ("method", "name", "expected"),
    [
        ("full", "bert", ("load", "forward", "backward", "optimizer", "evaluation")),
        ("features", "t5", ("load", "features", "forward", "backward", "optimizer", "evaluation")),
        ("icl:k=4", "gpt2", ("load", "prefill", "query")),
        ("icl:k=4", "t5", ("load", "query")),
        ("icl:k=0", "gpt2", ("load", "evaluation")),
    ],
)
def test_exactly_the_phases_that_ran_are_measured(
    method: str, name: str, expected: tuple[str, ...], folders: dict[str, str]
) -> None:
    trainer, _ = fitted(method, fresh_copy(folders[name]), steps=3)
    owners = trainer.memory.measure().owners
    assert tuple(owners) == tuple(phase for phase in MEMORY_PHASES if phase in expected)


def test_keys_and_values_are_the_kv_cache_in_prefill_and_in_queries(folders: dict[str, str]) -> None:
    trainer, _ = fitted("icl:k=4,ensemble=2", fresh_copy(folders["gpt2"]))
    owners = trainer.memory.measure().owners
    assert trainer.prompts.cache_bytes
    assert owners["query"]["kv_cache"] == owners["prefill"]["kv_cache"] == trainer.prompts.cache_bytes


def test_stored_features_have_the_memory_of_computed_ones(folders: dict[str, str], tmp_path: Path) -> None:
    store, memories = FeatureStore(tmp_path), []
    for _ in range(2):
        trainer, _ = fitted("features", fresh_copy(folders["bert"]), steps=2, features=store)
        memories.append(trainer.memory.measure())
    assert memories[0] == memories[1]
    assert memories[0].owners["features"]["temporary"] > 0
    assert memories[0].owners["forward"]["features_cache"] == 64 * 32 * 4


def test_features_stored_before_there_was_a_ledger_are_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folders: dict[str, str]
) -> None:
    store = FeatureStore(tmp_path)
    fitted("features", fresh_copy(folders["bert"]), steps=1, features=store)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"memory\\"', b'\\"memorx\\"'))
    assert path.read_bytes() != content
    assert store.read(path.stem) is None


@pytest.mark.parametrize("method", ["full", "features", "houlsby:bottleneck=4"])
def test_measuring_changes_no_later_score(method: str, folders: dict[str, str]) -> None:
    scores = []
    for measured in (False, True, False):
        trainer, values = fitted(method, fresh_copy(folders["bert"]), steps=3)
        scores.append(values)
        if measured:
            trainer.memory.measure()
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[1], scores[2])


class Allocator:
    """A stand-in for the CUDA allocator of `torch.cuda`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.allocated = self.peak = 0
        for name in ("memory_allocated", "max_memory_allocated", "max_memory_reserved", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(peak, "_release", lambda: None)

    def take(self, size: int) -> None:
        self.allocated += size
        self.peak = max(self.peak, self.allocated)

    def memory_allocated(self, device: torch.device) -> int:
        return self.allocated

    def max_memory_allocated(self, device: torch.device) -> int:
        return self.peak

    def max_memory_reserved(self, device: torch.device) -> int:
        return 2 * self.peak

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.peak = self.allocated


def test_on_cuda_each_phase_has_the_allocators_own_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = Allocator(monkeypatch)
    ledger = Ledger(nn.Module(), CUDA)
    for name, size in (("forward", 100), ("backward", 10), ("forward", 30), ("backward", 50)):
        with ledger.phase(name):
            allocator.take(size)
            allocator.take(-size)
    assert ledger.allocator == {
        "forward": {"allocated": 100, "reserved": 200},
        "backward": {"allocated": 50, "reserved": 100},
    }
    cpu = Ledger(nn.Module(), torch.device("cpu"))
    with cpu.phase("forward"):
        pass
    assert cpu.allocator == {}


def test_a_phase_keeps_its_cuda_peak_if_an_inner_phase_resets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = Allocator(monkeypatch)
    with peak_memory(CUDA) as whole:
        allocator.take(100)
        allocator.take(-100)
        with allocator_peak(CUDA) as inner:
            allocator.take(20)
        allocator.take(-20)
    assert (inner["allocated"], whole.peak_allocated_bytes, whole.start_allocated_bytes) == (20, 100, 0)
    with peak_memory(CUDA) as after:
        allocator.take(7)
    assert after.peak_allocated_bytes == 7
