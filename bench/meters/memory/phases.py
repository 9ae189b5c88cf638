"""Who holds memory at the peak of each phase of a cell, found by doing the largest of its work once more."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from tunefront.bench.meters.flops.counted import undisturbed
from tunefront.bench.meters.memory.tracker import Ledger, Observer
from tunefront.bench.models.shapes import Shape
from tunefront.bench.records import MEMORY_PHASES
from tunefront.methods.base import Batch, Prefix
from tunefront.methods.torch_internals import OwnParts, own_parts, preserving_versions, put_parts

Sizes = tuple[int, ...]
Flags = list[tuple[nn.Parameter, bool]]
Parts = list[tuple[nn.Module, OwnParts]]
Peaks = dict[str, dict[str, int]]
"""phase -> owner (or what the allocator counts) -> bytes."""


class Step(Protocol):
    """A training step whose parts can be taken one by one, as the harness takes it."""

    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer

    def forward(self, batch: Batch) -> Tensor:
        """The loss, a scalar."""

    def update(self) -> None:
        """Moves the parameters and drops the gradients."""


class RowGradients(Protocol):
    """The gradients of a row and what they are added to, whose parts can be taken one by one."""

    sums: dict[str, Tensor]

    def forward(self, batch: Batch) -> Tensor:
        """The loss of the row, a scalar."""

    def update(self) -> None:
        """Adds the gradients up and drops them."""


@dataclass(frozen=True)
class PhaseMemory:
    """Peaks by owner and, on CUDA, the allocator's own: `allocated` and `reserved` bytes."""

    owners: Peaks = field(default_factory=dict)
    allocator: Peaks = field(default_factory=dict)

    def __or__(self, other: PhaseMemory) -> PhaseMemory:
        """The phases of both, of one that both have the one with the larger peak."""
        return PhaseMemory(_larger(self.owners, other.owners), _larger(self.allocator, other.allocator))


@dataclass(frozen=True)
class BatchReplay:
    """A batch that ran: what its memory grows with, how it is made once more, the caches that were held beside it, by
    owner, and its shape."""

    sizes: Sizes
    batch: Callable[[], Batch]
    held: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    shape: Shape = ()

    def begin(self, ledger: Ledger) -> Batch:
        """The batch, it and what is held entered in the ledger."""
        batch = self.batch()
        for owner, tensors in self.held.items():
            ledger.own(owner, tensors)
        ledger.own("inputs", [*batch.inputs.values(), batch.labels, batch.rows])
        return batch


def step_phases(ledger: Ledger, step: Step, work: BatchReplay) -> None:
    """The phases `forward`, `backward` and `optimizer` of a step at a learning rate of zero.

    As in every step but the first, the optimiser's state is there before. Trained weights are put back afterwards: an
    update of zero still turns a negative zero into a positive one. They count as never written to, so that what was
    made of them and is kept for scoring stays of use.
    """
    kept = [parameter.detach().to("cpu", copy=True) for parameter in step.parameters]
    for group in step.optimizer.param_groups:
        group["lr"] = 0.0
    unwritten = preserving_versions(tuple(step.parameters))
    try:
        with ledger, unwritten:
            batch = work.begin(ledger)
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


def gradient_phases(ledger: Ledger, gradients: RowGradients, work: BatchReplay) -> None:
    """The phases `forward` and `backward` of a row whose gradients are added to sums, which were there before."""
    with ledger:
        batch = work.begin(ledger)
        ledger.own("gradients", gradients.sums.values())
        with ledger.phase("forward"):
            loss = gradients.forward(batch)
        with ledger.phase("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
            gradients.update()


def batch_phase(ledger: Ledger, name: str, call: Callable[[Batch], Tensor], work: BatchReplay) -> None:
    """The phase of one batch without gradients, as scoring and computing features take it."""
    with torch.no_grad(), ledger:
        batch = work.begin(ledger)
        with ledger.phase(name):
            call(batch).float().cpu()


def prefill_phase(ledger: Ledger, read: Callable[[], Sequence[Tensor]], kept: Sequence[Tensor]) -> None:
    """The phase `prefill`: reading what rows follow, whose keys and values are the KV cache from the start; others are
    `kept` beside them."""
    with torch.no_grad(), ledger:
        ledger.own("kv_cache", kept)
        with ledger.phase("prefill"):
            ledger.own("kv_cache", read())


def keys_and_values(prefix: Prefix) -> list[Tensor]:
    """All that a prefix keeps of having been read; nothing where a family cannot keep any."""
    return [part for layer in getattr(prefix, "layers", ()) for part in layer]


class MemoryMeter:
    """The memory of a cell's phases. What is to be measured is noted while the cell runs, the largest of each kind (or
    a few, where it is not known beforehand which takes most), and done once more by `measure` when no clock runs and no
    peak is taken, by the model as it was made then; weights, gradients and random state stay as they are. `load` is
    measured at once: what the model holds as it is now, after attaching. `observer` hears of every operator that
    measuring runs."""

    def __init__(
        self,
        model: nn.Module,
        autocast: Callable[[], AbstractContextManager[object]],
        observer: Observer | None = None,
    ):
        self._model, self._autocast, self._observer = model, autocast, observer
        self._device = next(model.parameters()).device
        self._noted: dict[str, ParetoFront[tuple[Parts, Flags, Callable[[Ledger], None]]]] = {}
        ledger = Ledger(model, self._device)
        with ledger.phase("load"):
            pass
        self._found = PhaseMemory(ledger.peaks, ledger.allocator)

    def note_step(self, step: Callable[[], Step], works: Sequence[BatchReplay]) -> None:
        """Training steps that ran, the largest of them."""
        for work in works:
            self._note("step", work.sizes, lambda ledger, work=work: self._step(ledger, step(), work))  # type: ignore[misc]

    def note_batch(self, name: str, call: Callable[[Batch], Tensor], works: Sequence[BatchReplay]) -> None:
        """Batches that were scored, in phase `name`, the largest of them."""
        for work in works:
            self._note(name, work.sizes, lambda ledger, work=work: self._batch(ledger, name, call, work))  # type: ignore[misc]

    def note_reading(self, sizes: Sizes, read: Callable[[], Sequence[Tensor]], kept: Sequence[Tensor]) -> None:
        """That `read` gave keys and values while others were `kept`; `sizes` are what memory grows with."""
        self._note("prefill", sizes, lambda ledger: self._reading(ledger, read, kept))

    def reading(self, read: Callable[[], Sequence[Tensor]]) -> PhaseMemory:
        """The phase in which `read` gives keys and values, measured at once."""
        with _no_collection(self._device):
            return self._run(self._flags(), lambda ledger: self._reading(ledger, read, []))

    def step(self, step: Step, work: BatchReplay) -> PhaseMemory:
        """The phases of a training step, measured at once."""
        with _no_collection(self._device):
            return self._run(self._flags(), lambda ledger: self._step(ledger, step, work))

    def gradients(self, gradients: Callable[[], RowGradients], work: BatchReplay) -> PhaseMemory:
        """The phases of a row whose gradients are added up, measured at once."""

        def run(ledger: Ledger) -> None:
            self._model.train()
            gradient_phases(ledger, gradients(), work)

        with _no_collection(self._device):
            return self._run(self._flags(), run)

    def batch(self, name: str, call: Callable[[Batch], Tensor], work: BatchReplay) -> PhaseMemory:
        """The phase `name` of a batch that ran, measured at once."""
        with _no_collection(self._device):
            return self._run(self._flags(), lambda ledger: self._batch(ledger, name, call, work))

    def add(self, memory: PhaseMemory) -> None:
        """Enters phases that were measured at once, or by an earlier cell."""
        self._found |= memory

    def measure(self) -> PhaseMemory:
        """Does what was noted once more; the peaks of all phases."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()  # what training reserved is not what a phase needs
        with _no_collection(self._device):
            noted, self._noted = self._noted, {}
            for largest in noted.values():
                for parts, flags, run in largest.items():
                    with made_of(parts):
                        self._found |= self._run(flags, run)
        owners, allocator = self._found.owners, self._found.allocator
        return PhaseMemory(_in_order(owners), _in_order(allocator))

    def _note(self, kind: str, sizes: Sizes, run: Callable[[Ledger], None]) -> None:
        self._noted.setdefault(kind, ParetoFront()).add(sizes, (parts_of(self._model), self._flags(), run))

    def _flags(self) -> Flags:
        return [(parameter, parameter.requires_grad) for parameter in self._model.parameters()]

    def _step(self, ledger: Ledger, step: Step, work: BatchReplay) -> None:
        self._model.train()
        step_phases(ledger, step, work)

    def _batch(self, ledger: Ledger, name: str, call: Callable[[Batch], Tensor], work: BatchReplay) -> None:
        self._model.eval()
        with self._autocast():
            batch_phase(ledger, name, call, work)

    def _reading(self, ledger: Ledger, read: Callable[[], Sequence[Tensor]], kept: Sequence[Tensor]) -> None:
        self._model.eval()
        with self._autocast():
            prefill_phase(ledger, read, kept)

    def _run(self, flags: Flags, run: Callable[[Ledger], None]) -> PhaseMemory:
        """Runs with gradients required as they were then; a method may have frozen more since."""
        with undisturbed(self._model), flagged(flags):
            ledger = Ledger(self._model, self._device, self._observer)
            run(ledger)
        return PhaseMemory(ledger.peaks, ledger.allocator)


def parts_of(model: nn.Module) -> Parts:
    """What each module of the model is made of now."""
    return [(module, own_parts(module).copy()) for module in model.modules()]


@contextmanager
def made_of(parts: Parts) -> Iterator[None]:
    """Within, modules are made of what they were made of then: a method may have put other parts in since."""
    now = [(module, own_parts(module)) for module, _ in parts]
    try:
        for module, then in parts:
            put_parts(module, then)
        yield
    finally:
        for module, before in now:
            put_parts(module, before)


@contextmanager
def flagged(flags: Flags) -> Iterator[None]:
    """Within, parameters require gradients as the flags say."""
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
    """No garbage is collected within: when cycles die would depend on earlier cells. None is left from before where an
    allocator would count it; a ledger sees only what operators touch."""
    enabled = gc.isenabled()
    if device.type == "cuda":
        gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _larger(one: Peaks, other: Peaks) -> Peaks:
    found = dict(one)
    for phase, held in other.items():
        if sum(held.values()) > sum(found.get(phase, {}).values()):
            found[phase] = held
    return found


def _in_order(peaks: Peaks) -> Peaks:
    return {phase: peaks[phase] for phase in MEMORY_PHASES if phase in peaks}


Item = TypeVar("Item")

MOST = 4
"""So many are measured at most: those that are large in everything rather than in one thing."""


class ParetoFront(Generic[Item]):
    """Items of which no other is as large in every one of its sizes.

    What a batch takes grows with each of several sizes (tokens, pairs of tokens that attention looks at, states that
    logits are computed of), and how much with each depends on the model: the batch that takes most is one of these.
    """

    def __init__(self) -> None:
        self._front: list[tuple[tuple[int, ...], Item]] = []

    def add(self, sizes: tuple[int, ...], item: Item) -> None:
        """Notes an item; sizes of another length are not compared."""
        if any(_within(sizes, known) for known, _ in self._front):
            return
        self._front = [(known, kept) for known, kept in self._front if not _within(known, sizes)]
        self._front.append((sizes, item))

    def items(self) -> list[Item]:
        """At most `MOST` of them, the largest first."""
        most: dict[tuple[int, int], int] = {}
        for sizes, _ in self._front:
            for place, size in enumerate(sizes):
                most[len(sizes), place] = max(size, most.get((len(sizes), place), 1))

        def share(sizes: tuple[int, ...]) -> float:
            return sum(size / most[len(sizes), place] for place, size in enumerate(sizes)) / max(1, len(sizes))

        return [item for _, item in sorted(self._front, key=lambda one: -share(one[0]))[:MOST]]


def _within(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return len(one) == len(other) and all(size <= as_large for size, as_large in zip(one, other, strict=True))
