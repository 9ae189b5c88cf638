"""The memory ledger: every byte that tensors hold, by owner, and who owned what at a phase's peak."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from tunefront.bench.meters.memory.fake_ops import Fakes, too_large
from tunefront.bench.meters.memory.peak import allocator_peak
from tunefront.bench.records import OWNERS
from tunefront.methods.torch_internals import (
    READ_VALUE,
    FakeTensor,
    TorchDispatchMode,
    in_backward,
    storage_key,
    tree_leaves,
)

_WEIGHTS = ("frozen_weights", "trained_weights")
_NO_TENSOR_WORK = ("prim", "profiler")
"""Namespaces of what is dispatched without working on tensors: asking a fake tensor for its device, profiler marks."""
_NEVER = sys.maxsize
_LIFT = torch.ops.aten.lift_fresh.default
"""What `torch.tensor` ends with: its argument is as new as its result."""
_DEVICE = torch.ops.prim.device.default


Observer = Callable[[str, Any, Any, Any, Any], None]
"""Hears the phase, the operator, its arguments (by place and by name) and what it returned."""


class _Holding(weakref.ref[torch.UntypedStorage]):
    """A storage that is followed without being kept: its bytes, its owner, and the events of its birth and death."""

    __slots__ = ("birth", "death", "key", "nbytes", "owner")

    key: int
    nbytes: int
    owner: str
    birth: int
    death: int


class Ledger(TorchDispatchMode):
    """Follows the storages of all tensors that operators see while it is active: `with Ledger(model) as ledger:`.

    A storage counts once with all its bytes, however many views it has, until it dies. It has one owner for the whole
    of its life, the last one found out, so that a gradient is a gradient from the moment the operator returns it:
    - parameters and buffers of `model` (made after attaching: later ones would be inputs) are trained weights where
      they require gradients, else frozen weights, and stay so;
    - `saved_activations` is what autograd saves for backward, and what gradient checkpointing computes again within
      backward, some of whose temporaries it cannot tell apart;
    - `gradients` are the `.grad` of trained parameters, `optimizer_state` the tensors in the state of any optimiser
      that has stepped;
    - `inputs` are tensors that were made before or outside of what operators do, from when one first reads them;
    - whoever makes caches and batches says so with `own`; all else is temporary: autocast's copies of weights too,
      unless they are saved for backward.

    It sees real and fake tensors alike, on any device, and not what a kernel allocates and frees within itself. Where
    the model's are fake, what would be a large real tensor (a mask over pairs of tokens) is made fake too. With
    fake tensors enter no FakeTensorMode inside of it; asked for their value (Adafactor compares norms) they say one.
    While it is active, autograd does not notice in-place changes of what it saved. Never under `inference_mode`, where
    operators are dispatched whole.

    `peaks` maps each phase to the bytes of each owner that holds any at the phase's peak; they sum to the peak.
    `operations` counts operators, views too, as they were dispatched. Where `device` is CUDA, `allocator` maps each
    phase to its allocator's own peaks, `allocated` and `reserved`. `observer` is told of every operator of a phase.
    """

    def __init__(self, model: nn.Module, device: torch.device | None = None, observer: Observer | None = None):
        super().__init__()  # type: ignore[no-untyped-call]
        self._observer = observer
        self.peaks: dict[str, dict[str, int]] = {}
        self.allocator: dict[str, dict[str, int]] = {}
        self._device = device
        self.operations = 0
        self._live: dict[int, _Holding] = {}
        self._log: list[_Holding] = []
        self._total = self._event = self._peak = self._peak_event = 0
        self._phase: str | None = None
        self._installed = ExitStack()
        self._fakes = Fakes.of(model)
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._register("trained_weights", self._trained)
        self._register("frozen_weights", [*model.parameters(), *model.buffers()])

    def own(self, owner: str, tensors: Iterable[Tensor]) -> None:
        """Makes `owner` (one of `OWNERS`, else ValueError) that of these tensors' storages; weights stay weights."""
        if owner not in OWNERS:
            raise ValueError(f"no owner {owner!r}; there are {', '.join(OWNERS)}")
        for tensor in tensors:
            holding = self._holding(tensor, owner)
            if holding is not None and holding.owner not in _WEIGHTS:
                holding.owner = owner

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Keeps the block's peak under `name`; of a phase that is entered again the larger. Phases do not nest."""
        if self._phase is not None:
            raise RuntimeError(f"phase {name!r} within phase {self._phase!r}")
        self._log = list(self._live.values())
        self._phase, self._peak, self._peak_event = name, self._total, self._event
        try:
            with allocator_peak(self._device) as allocator:
                yield
        finally:
            self._phase = None
            if allocator:
                known = self.allocator.get(name, {})
                self.allocator[name] = {kind: max(size, known.get(kind, 0)) for kind, size in allocator.items()}
            if self._peak > sum(self.peaks.get(name, {}).values()):
                self.peaks[name] = self._owners_at(self._peak_event)

    def __enter__(self) -> Ledger:
        with ExitStack() as installed:
            installed.enter_context(torch.autograd.graph.saved_tensors_hooks(self._saved, _itself))
            installed.callback(register_optimizer_step_post_hook(self._stepped).remove)
            for parameter in self._trained:
                handle = parameter.register_post_accumulate_grad_hook(self._accumulated)  # type: ignore[no-untyped-call]
                installed.callback(handle.remove)
            super().__enter__()  # type: ignore[no-untyped-call]
            self._installed = installed.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:  # Any: as torch's
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._installed.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # Any: as torch's
        kwargs = kwargs or {}
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # asked for by every operator
        if func.namespace in _NO_TENSOR_WORK:
            return func(*args, **kwargs)
        self.operations += 1
        if func is READ_VALUE and isinstance(args[0], FakeTensor):
            return torch.ones((), dtype=args[0].dtype).item()
        if func is not _LIFT:
            self._see(args, "inputs")
            if kwargs:
                self._see(tuple(kwargs.values()), "inputs")
        fakes = self._fakes if FakeTensor in types else None
        if fakes is None and self._fakes is not None and too_large(func, args):
            fakes, args = self._fakes, self._fakes.faked(args)
        out = func(*args, **kwargs) if fakes is None else fakes.run(func, types, args, kwargs)
        recomputed = torch.is_grad_enabled() and in_backward()
        self._see((out,), "saved_activations" if recomputed else "temporary")
        if self._observer is not None and self._phase is not None:
            self._observer(self._phase, func, args, kwargs, out)
        return out

    def _see(self, values: Sequence[object], owner: str) -> None:
        """Counts the storages of tensors that are new here."""
        for value in values:
            if isinstance(value, Tensor):
                self._holding(value, owner)
            elif isinstance(value, list | tuple):
                self._see(value, owner)

    def _holding(self, tensor: Tensor, owner: str) -> _Holding | None:
        """The tensor's storage, held by `owner` where it is new; None where it has none (sparse tensors)."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return None
        holding = self._live.get(storage_key(storage))
        if holding is None:
            return self._born(storage, owner)
        if holding.nbytes != storage.nbytes():  # resized, by `out=` most of the time
            self._died(holding)
            return self._born(storage, holding.owner)
        return holding

    def _born(self, storage: torch.UntypedStorage, owner: str) -> _Holding:
        holding = _Holding(storage, self._died)
        holding.key, holding.nbytes, holding.owner = storage_key(storage), storage.nbytes(), owner
        self._event += 1
        holding.birth, holding.death = self._event, _NEVER
        self._live[holding.key] = holding
        self._total += holding.nbytes
        if self._phase is not None:
            self._log.append(holding)
            if self._total > self._peak:
                self._peak, self._peak_event = self._total, self._event
        return holding

    def _died(self, holding: Any) -> None:  # Any: the callback's type is that of a plain reference
        if holding.death == _NEVER:  # else it was resized before
            self._event += 1
            holding.death = self._event
            del self._live[holding.key]
            self._total -= holding.nbytes

    def _owners_at(self, event: int) -> dict[str, int]:
        held: Counter[str] = Counter()
        for holding in self._log:
            if holding.birth <= event < holding.death:
                held[holding.owner] += holding.nbytes
        return {owner: held[owner] for owner in OWNERS if held[owner]}

    def _register(self, owner: str, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            self._holding(tensor, owner)

    def _saved(self, tensor: Tensor) -> Tensor:
        holding = self._holding(tensor, "saved_activations")
        if holding is not None and holding.owner == "temporary":
            holding.owner = "saved_activations"
        # A result that its own node saves would keep that node alive; `detach` is no operator of the model's.
        if tensor.grad_fn is None:
            return tensor
        self.operations -= 1
        return tensor.detach()

    def _accumulated(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self.own("gradients", [parameter.grad])

    def _stepped(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        values = tree_leaves(list(optimizer.state.values()))
        self.own("optimizer_state", [value for value in values if isinstance(value, Tensor)])


def _itself(tensor: Tensor) -> Tensor:
    return tensor
