"""The owners of memory at the peak of each phase of a cell, measured by replaying its largest batches."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from tunefront.bench.collector import without_collector
from tunefront.bench.meters.fake_weights import measured
from tunefront.bench.meters.flops.counted import undisturbed
from tunefront.bench.meters.memory.tracker import Ledger, Observer
from tunefront.bench.models.shapes import Shape
from tunefront.bench.records import MEMORY_PHASES
from tunefront.methods.base import Batch, Prefix
from tunefront.methods.torch_internals import FakeTensor, OwnParts, own_parts, preserving_versions, put_parts

Sizes = tuple[int, ...]
Flags = list[tuple[nn.Parameter, bool]]
Parts = list[tuple[nn.Module, OwnParts]]
Peaks = dict[str, dict[str, int]]
"""phase -> owner (or what the allocator counts) -> bytes."""


class Step(Protocol):
    """A training step in parts, as in the harness."""

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer

    def forward(self, batch: Batch) -> Tensor:
        """The loss, a scalar."""

    def update(self) -> None:
        """Updates the parameters and drops the gradients."""


class RowGradients(Protocol):
    """Sums of gradients over rows; adding a row is split into parts."""

    sums: dict[str, Tensor]

    def forward(self, batch: Batch) -> Tensor:
        """The loss of a row, a scalar."""

    def update(self) -> None:
        """Adds the gradients to the sums and drops them."""


@dataclass(frozen=True)
class PhaseMemory:
    """Peaks by owner and, on CUDA, those of the allocator: `allocated` and `reserved` bytes."""

    owners: Peaks = field(default_factory=dict)
    allocator: Peaks = field(default_factory=dict)

    def __or__(self, other: PhaseMemory) -> PhaseMemory:
        """The phases of both; of a common phase, the one with the larger peak."""
        return PhaseMemory(_larger(self.owners, other.owners), _larger(self.allocator, other.allocator))


@dataclass(frozen=True)
class BatchReplay:
    """A batch that ran, to replay for memory measurement: the sizes that its memory grows with, its constructor, the
    caches held alongside, by owner, and its shape."""

    sizes: Sizes
    batch: Callable[[], Batch]
    caches: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    shape: Shape = ()

    def begin(self, ledger: Ledger) -> Batch:
        """Makes the batch and enters it and the caches in the ledger."""
        batch = self.batch()
        for owner, tensors in self.caches.items():
            ledger.own(owner, tensors)
        ledger.own("inputs", [*batch.inputs.values(), batch.labels, batch.rows])
        return batch


def step_phases(ledger: Ledger, step: Step, replay: BatchReplay) -> None:
    """Measures the phases `forward`, `backward` and `optimizer` of a step with learning rate zero.

    The optimiser state exists before, as in every step but the first. Trained weights are restored at the end: an
    update of zero still turns negative zeros into positive ones. Their version counters do not change either, so that
    values computed from them and cached for scoring stay valid.
    """
    kept = [parameter.detach().to("cpu", copy=True) for parameter in step.parameters]
    for group in step.optimizer.param_groups:
        group["lr"] = 0.0
    unwritten = preserving_versions(tuple(step.parameters))
    try:
        with ledger, unwritten:
            batch = replay.begin(ledger)
            for parameter in step.parameters:
                parameter.grad = torch.zeros_like(parameter)
            step.optimizer.step()
            step.optimizer.zero_grad(set_to_none=True)
            with ledger.phase("forward"):
                loss = step.forward(batch)
            with ledger.phase("backward"):
                loss.backward()  # type: ignore[no-untyped-call]
            with ledger.phase("optimizer"):
                step.update()
    finally:
        with torch.no_grad(), unwritten:
            for parameter, value in zip(step.parameters, kept, strict=True):
                parameter.copy_(value)


def gradient_phases(ledger: Ledger, gradients: RowGradients, replay: BatchReplay) -> None:
    """Measures the phases `forward` and `backward` of a row whose gradients are added to existing sums."""
    with ledger:
        batch = replay.begin(ledger)
        ledger.own("gradients", gradients.sums.values())
        with ledger.phase("forward"):
            loss = gradients.forward(batch)
        with ledger.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
            gradients.update()


def batch_phase(ledger: Ledger, name: str, call: Callable[[Batch], Tensor], replay: BatchReplay) -> None:
    """Measures the phase of one batch without gradients, as in scoring and in computing features."""
    with torch.no_grad(), ledger:
        batch = replay.begin(ledger)
        with ledger.phase(name):
            call(batch).float().cpu()


def prefill_phase(ledger: Ledger, read: Callable[[], Sequence[Tensor]], kept: Sequence[Tensor]) -> None:
    """Measures the phase `prefill`, in which `read` gives the keys and values of a prefix. They and the `kept` ones of
    other prefixes are the KV cache."""
    with torch.no_grad(), ledger:
        ledger.own("kv_cache", kept)
        with ledger.phase("prefill"):
            ledger.own("kv_cache", read())


def keys_and_values(prefix: Prefix) -> list[Tensor]:
    """The cached keys and values of a prefix; empty for families without a cache."""
    return [part for layer in getattr(prefix, "layers", ()) for part in layer]


class MemoryMeter:
    """Measures the memory of the phases of a cell by replaying its largest batches.

    While the cell runs, `schedule_*` stores the largest batch of each kind, or a few if it is unclear which needs the
    most. `measure` replays them later, when no clock runs and no peak is measured, on the model with the modules that
    it had then. Weights, gradients and random state are restored. The phase `load` is measured here: the memory of the
    model now, after attaching. `observer` is called for every operator that runs in a measurement.
    """

    def __init__(
        self,
        model: nn.Module,
        autocast: Callable[[], AbstractContextManager[object]],
        observer: Observer | None = None,
    ):
        self._model, self._autocast, self._observer = model, autocast, observer
        self._device = next(model.parameters()).device
        self._forecasts = isinstance(next(model.parameters()), FakeTensor)  # its model never has values
        self._scheduled: dict[str, ParetoFront[tuple[Parts, Flags, Callable[[Ledger], None]]]] = {}
        ledger = Ledger(model, self._device)
        with ledger.phase("load"):
            pass
        self._measured = PhaseMemory(ledger.peaks, ledger.allocator)

    def schedule_step(self, step: Callable[[], Step], replays: Sequence[BatchReplay]) -> None:
        """Schedules the largest training steps that ran."""
        for replay in replays:
            self._schedule("step", replay.sizes, lambda ledger, replay=replay: self._step(ledger, step(), replay))  # type: ignore[misc]

    def schedule_batch(self, name: str, call: Callable[[Batch], Tensor], replays: Sequence[BatchReplay]) -> None:
        """Schedules the largest batches that were scored in phase `name`."""
        for replay in replays:
            self._schedule(name, replay.sizes, lambda ledger, replay=replay: self._batch(ledger, name, call, replay))  # type: ignore[misc]

    def schedule_reading(self, sizes: Sizes, read: Callable[[], Sequence[Tensor]], kept: Sequence[Tensor]) -> None:
        """Schedules `read`, which gives keys and values while others are `kept`; memory grows with `sizes`."""
        self._schedule("prefill", sizes, lambda ledger: self._reading(ledger, read, kept))

    def reading(self, read: Callable[[], Sequence[Tensor]]) -> PhaseMemory:
        """Measures the phase in which `read` gives keys and values, now."""
        with _no_collection(self._device):
            return self._run(self._flags(), lambda ledger: self._reading(ledger, read, []))

    def step(self, step: Step, replay: BatchReplay) -> PhaseMemory:
        """Measures the phases of a training step, now."""
        with _no_collection(self._device):
            return self._run(self._flags(), lambda ledger: self._step(ledger, step, replay))

    def gradients(self, gradients: Callable[[], RowGradients], replay: BatchReplay) -> PhaseMemory:
        """Measures the phases of a row whose gradients are summed, now."""

        def run(ledger: Ledger) -> None:
            self._model.train()
            gradient_phases(ledger, gradients(), replay)

        with _no_collection(self._device):
            return self._run(self._flags(), run)

    def batch(self, name: str, call: Callable[[Batch], Tensor], replay: BatchReplay) -> PhaseMemory:
        """Measures the phase `name` of a batch that ran, now."""
        with _no_collection(self._device):
            return self._run(self._flags(), lambda ledger: self._batch(ledger, name, call, replay))

    def add(self, memory: PhaseMemory) -> None:
        """Adds phases that were measured already, here or by an earlier cell."""
        self._measured |= memory

    def measure(self) -> PhaseMemory:
        """Replays the scheduled batches; returns the peaks of all phases."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()  # a phase does not need the blocks that training reserved
        with _no_collection(self._device):
            scheduled, self._scheduled = self._scheduled, {}
            for largest in scheduled.values():
                for parts, flags, run in largest.items():
                    with using_parts(parts):
                        self._measured |= self._run(flags, run)
        owners, allocator = self._measured.owners, self._measured.allocator
        return PhaseMemory(_in_order(owners), _in_order(allocator))

    def _schedule(self, kind: str, sizes: Sizes, run: Callable[[Ledger], None]) -> None:
        self._scheduled.setdefault(kind, ParetoFront()).add(sizes, (parts_of(self._model), self._flags(), run))

    def _flags(self) -> Flags:
        return [(parameter, parameter.requires_grad) for parameter in self._model.parameters()]

    def _step(self, ledger: Ledger, step: Step, replay: BatchReplay) -> None:
        self._model.train()
        step_phases(ledger, step, replay)

    def _batch(self, ledger: Ledger, name: str, call: Callable[[Batch], Tensor], replay: BatchReplay) -> None:
        self._model.eval()
        with self._autocast():
            batch_phase(ledger, name, call, replay)

    def _reading(self, ledger: Ledger, read: Callable[[], Sequence[Tensor]], kept: Sequence[Tensor]) -> None:
        self._model.eval()
        with self._autocast():
            prefill_phase(ledger, read, kept)

    def _run(self, flags: Flags, run: Callable[[Ledger], None]) -> PhaseMemory:
        """Runs with the `requires_grad` flags of that time; a method may have frozen more since."""

        def measure() -> PhaseMemory:
            ledger = Ledger(self._model, self._device, self._observer, reads_ones=self._forecasts)
            run(ledger)
            return PhaseMemory(ledger.peaks, ledger.allocator)

        with undisturbed(self._model), requiring_grad(flags):
            return measured(self._model, measure)


def parts_of(model: nn.Module) -> Parts:
    """The own parts (parameters, buffers, children) of each module now."""
    return [(module, own_parts(module).copy()) for module in model.modules()]


@contextmanager
def using_parts(parts: Parts) -> Iterator[None]:
    """Within the block, modules have the given parts: a method may have replaced some since."""
    now = [(module, own_parts(module)) for module, _ in parts]
    try:
        for module, own in parts:
            put_parts(module, own)
        yield
    finally:
        for module, before in now:
            put_parts(module, before)


@contextmanager
def requiring_grad(flags: Flags) -> Iterator[None]:
    """Within the block, parameters require gradients according to the flags."""
    now = [(parameter, parameter.requires_grad) for parameter, _ in flags]
    try:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        yield
    finally:
        for parameter, flag in now:
            parameter.requires_grad_(flag)


@contextmanager
def _no_collection(device: torch.device) -> Iterator[None]:
    """Disables garbage collection in the block, because the time at which cycles die depends on earlier cells. On CUDA,
    collects first, since the allocator would count garbage; a ledger sees only tensors that operators touch."""
    if device.type == "cuda":
        gc.collect()
    with without_collector():
        yield


def _larger(first: Peaks, second: Peaks) -> Peaks:
    peaks = dict(first)
    for phase, owners in second.items():
        if sum(owners.values()) > sum(peaks.get(phase, {}).values()):
            peaks[phase] = owners
    return peaks


def _in_order(peaks: Peaks) -> Peaks:
    return {phase: peaks[phase] for phase in MEMORY_PHASES if phase in peaks}


Item = TypeVar("Item")

MOST_REPLAYS = 4
"""Most batches to replay per kind: those that are large in all sizes rather than in one."""


class ParetoFront(Generic[Item]):
    """The Pareto front of items by size: for each item, no other is at least as large in every size.

    The memory of a batch grows with several sizes (tokens, pairs of tokens in attention, states with logits), by
    amounts that depend on the model. The batch that needs the most memory is on this front.
    """

    def __init__(self) -> None:
        self._front: list[tuple[tuple[int, ...], Item]] = []

    def add(self, sizes: tuple[int, ...], item: Item) -> None:
        """Adds an item; sizes of different lengths are not compared."""
        if any(_within(sizes, known) for known, _ in self._front):
            return
        self._front = [(known, kept) for known, kept in self._front if not _within(known, sizes)]
        self._front.append((sizes, item))

    def items(self) -> list[Item]:
        """At most `MOST_REPLAYS` of the items, the largest first."""
        maxima: dict[tuple[int, int], int] = {}
        for sizes, _ in self._front:
            for index, size in enumerate(sizes):
                maxima[len(sizes), index] = max(size, maxima.get((len(sizes), index), 1))

        def mean_fraction(sizes: tuple[int, ...]) -> float:
            return sum(size / maxima[len(sizes), index] for index, size in enumerate(sizes)) / max(1, len(sizes))

        return [item for _, item in sorted(self._front, key=lambda entry: -mean_fraction(entry[0]))[:MOST_REPLAYS]]


def _within(sizes: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(sizes) == len(other) and all(size <= limit for size, limit in zip(sizes, other, strict=True))
