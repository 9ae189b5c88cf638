"""The memory ledger: the bytes that tensors hold, by owner, and the owners at the peak of each phase."""

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

from tunefront.bench.meters.fake_ops import Fakes, too_large
from tunefront.bench.meters.memory.peak import allocator_peak
from tunefront.bench.records import OWNERS
from tunefront.methods.torch_internals import (
    DEVICE,
    READ_VALUE,
    FakeTensor,
    TorchDispatchMode,
    in_backward,
    storage_key,
    tree_leaves,
)

_WEIGHTS = ("frozen_weights", "trained_weights")
_NO_TENSOR_WORK = ("prim", "profiler")
"""Namespaces of dispatched calls that do no work on tensors: the device of a fake tensor, profiler marks."""
_NEVER = sys.maxsize
_LIFT = torch.ops.aten.lift_fresh.default
"""The last operator of `torch.tensor`: its argument is as new as its result."""


Observer = Callable[[str, Any, Any, Any, Any], None]
"""Called with the phase, the operator, its positional and keyword arguments, and its result."""


class _Holding(weakref.ref[torch.UntypedStorage]):
    """A weak reference to a storage: its bytes, its owner, and the events of its birth and death."""

    __slots__ = ("birth", "death", "key", "nbytes", "owner")

    key: int
    nbytes: int
    owner: str
    birth: int
    death: int


class Ledger(TorchDispatchMode):
    """Follows the storages of all tensors that operators read or return while it is active:
    `with Ledger(model) as ledger:`.

    A storage counts once with all its bytes, whatever its number of views, until it dies. It has one owner for its
    whole life, the last one found, so a gradient counts as a gradient from the moment the operator returns it:
    - parameters and buffers of `model` are trained weights if they require gradients, else frozen weights, and stay so
      (create the ledger after attaching: later ones would be inputs);
    - `saved_activations` are the tensors that autograd saves for backward, and those that gradient checkpointing
      recomputes in the backward pass, including some temporaries that cannot be distinguished;
    - `gradients` are the `.grad` of trained parameters, `optimizer_state` the tensors in the state of any optimiser
      that has stepped;
    - `inputs` are tensors made before or outside of operators, from the first operator that reads them;
    - callers declare caches and batches with `own`; everything else is temporary, including autocast's copies of
      weights unless they are saved for backward.

    It follows real and fake tensors on any device, but not the memory that a kernel allocates and frees internally. If
    the model is fake, large real tensors (a mask over pairs of tokens) become fake too. Enter no FakeTensorMode inside.
    The value of a fake tensor (Adafactor compares norms) is one if `reads_ones`; else torch refuses to read it. While
    the ledger is active, autograd does not detect in-place changes of saved tensors. It does not work under
    `inference_mode`, where operators are not decomposed.

    `peaks` maps each phase to the bytes by owner at its peak; they sum to the peak. `operations` counts the dispatched
    operators, including views. If `device` is CUDA, `allocator` maps each phase to the peaks of its allocator,
    `allocated` and `reserved`. `observer` is called for every operator of a phase.
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device | None = None,
        observer: Observer | None = None,
        reads_ones: bool = True,
    ):
        super().__init__()  # type: ignore[no-untyped-call]
        self._observer, self._reads_ones = observer, reads_ones
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
        """Sets the owner of the storages of these tensors; weights stay weights. ValueError if not in `OWNERS`."""
        if owner not in OWNERS:
            raise ValueError(f"no owner {owner!r}; choose one of {', '.join(OWNERS)}")
        for tensor in tensors:
            holding = self._holding(tensor, owner)
            if holding is not None and holding.owner not in _WEIGHTS:
                holding.owner = owner

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Stores the peak of the block under `name`, the larger of two if entered again. Phases do not nest."""
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
            installed.enter_context(torch.autograd.graph.saved_tensors_hooks(self._saved, _identity))
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
        if func is DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device  # every operator reads it
        if func.namespace in _NO_TENSOR_WORK:
            return func(*args, **kwargs)
        self.operations += 1
        if func is READ_VALUE and self._reads_ones and isinstance(args[0], FakeTensor):
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
        """Counts the storages of new tensors."""
        for value in values:
            if isinstance(value, Tensor):
                self._holding(value, owner)
            elif isinstance(value, list | tuple):
                self._see(value, owner)

    def _holding(self, tensor: Tensor, owner: str) -> _Holding | None:
        """The tensor's storage, with `owner` if it is new; None if it has none (sparse tensors)."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return None
        holding = self._live.get(storage_key(storage))
        if holding is None:
            return self._born(storage, owner)
        if holding.nbytes != storage.nbytes():  # resized, mostly by `out=`
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
        owned: Counter[str] = Counter()
        for holding in self._log:
            if holding.birth <= event < holding.death:
                owned[holding.owner] += holding.nbytes
        return {owner: owned[owner] for owner in OWNERS if owned[owner]}

    def _register(self, owner: str, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            self._holding(tensor, owner)

    def _saved(self, tensor: Tensor) -> Tensor:
        holding = self._holding(tensor, "saved_activations")
        if holding is not None and holding.owner == "temporary":
            holding.owner = "saved_activations"
        # A result saved by its own node would keep that node alive. `detach` is not an operator of the model.
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


def _identity(tensor: Tensor) -> Tensor:
    return tensor
