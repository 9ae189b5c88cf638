"""The operators that a pass dispatches, and the time of each on this machine, measured by running it alone."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tunefront.bench.meters.fake_ops import signature
from tunefront.bench.meters.flops.counted import flops_of
from tunefront.methods.torch_internals import UNSAFE_VIEW, schema_of, tree_flatten, tree_unflatten

MOST_BYTES, MOST_FLOPS = 16 * 2**20, 4 * 10**8
"""A larger operator is timed on a part of its rows."""
MOST_ARGUMENT_BYTES = 4 * MOST_BYTES
"""A part with larger arguments is not run either: a single row may be that large."""
REPEATS, ENOUGH_SECONDS = 3, 0.01


@dataclass(frozen=True)
class TensorSpec:
    """The shape, strides and dtype of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> TensorSpec:
        """The spec of a real or fake tensor."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that are read or written; an expanded dimension counts once."""
        sizes = (size for size, step in zip(self.shape, self.stride, strict=True) if step)
        return math.prod(sizes) * self.dtype.itemsize

    @property
    def rows(self) -> int:
        """The size of the first dimension larger than 1, else 1."""
        return next((size for size in self.shape if size > 1), 1)

    def part(self, fraction: float) -> TensorSpec:
        """The spec with a fraction of the rows, at least one."""
        if self.rows == 1:
            return self
        axis = self.shape.index(self.rows)
        return replace(self, shape=(*self.shape[:axis], max(1, int(fraction * self.rows)), *self.shape[axis + 1 :]))

    def filled(self, device: torch.device) -> Tensor:
        """A real tensor with this spec. Indices are zeros and masks ones, which is always valid."""
        size = 1 + sum((count - 1) * step for count, step in zip(self.shape, self.stride, strict=True) if count)
        flat = torch.zeros(size, dtype=self.dtype, device=device)
        if self.dtype.is_floating_point:
            flat.fill_(0.01)
        elif self.dtype == torch.bool:
            flat.fill_(True)
        return flat.as_strided(self.shape, self.stride)


@dataclass(frozen=True)
class Operation:
    """An operator on tensors of given shapes. `leaves` and `tree` are its arguments, with a `TensorSpec` per tensor.
    `flops` are counted for matrix products and attention, else 0; `nbytes` are those of inputs and outputs; a `view`
    moves no data."""

    function: Any  # Any: torch's operators have no type of their own
    leaves: tuple[Hashable, ...]
    tree: Any  # Any: torch's own type
    flops: int
    nbytes: int
    view: bool

    @property
    def large(self) -> bool:
        """Whether running it whole would take too much time or memory."""
        return self.nbytes > MOST_BYTES or self.flops > MOST_FLOPS or self.argument_bytes > MOST_ARGUMENT_BYTES

    @property
    def work(self) -> int:
        """The quantity to which its seconds are proportional: its FLOPs, or the bytes that it moves if it has none."""
        return self.flops or self.nbytes

    def parts(self) -> Iterator[Operation]:
        """The operator on few enough rows to run: first all tensors are cut in proportion, then only those with the row
        count of the largest tensor, then of the next, and so on. Not all parts are valid. A product of plain matrices
        has none, because its speed depends on the number of rows."""
        specs = [leaf for leaf in self.leaves if isinstance(leaf, TensorSpec)]
        if self.flops and any(len(spec.shape) < 3 for spec in specs):
            return
        fraction = min(MOST_BYTES / max(1, self.nbytes, self.argument_bytes), MOST_FLOPS / max(1, self.flops), 1.0)
        row_counts = dict.fromkeys(spec.rows for spec in sorted(specs, key=lambda spec: -spec.nbytes))
        for cut in (set(row_counts), *({rows} for rows in row_counts if rows > 1)):
            part = replace(
                self,
                leaves=tuple(
                    leaf.part(fraction) if isinstance(leaf, TensorSpec) and leaf.rows in cut else leaf
                    for leaf in self.leaves
                ),
            )
            if self.nbytes * part.argument_bytes <= MOST_ARGUMENT_BYTES * max(
                1, self.argument_bytes
            ):  # results in proportion
                yield part

    @property
    def argument_bytes(self) -> int:
        """Bytes of the arguments."""
        return sum(leaf.nbytes for leaf in self.leaves if isinstance(leaf, TensorSpec))

    def arguments(self, device: torch.device) -> tuple[Any, Any]:  # Any: as the operator takes them
        """The arguments, with real tensors."""
        leaves = [leaf.filled(device) if isinstance(leaf, TensorSpec) else leaf for leaf in self.leaves]
        args, kwargs = tree_unflatten(leaves, self.tree)
        if "device" in kwargs:
            kwargs["device"] = device
        return args, kwargs


_LOOKUP = torch.ops.aten.embedding.default
Phases = dict[str, Counter[Operation]]


class Operations:
    """Counts the operators of each phase: an observer of `tunefront.bench.meters.memory.tracker.Ledger`."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[Hashable]] = {}
        self._known: dict[Hashable, Operation] = {}

    def __call__(self, phase: str, func: Any, args: Any, kwargs: Any, out: Any) -> None:  # Any: as torch dispatches
        """Adds an operator that ran. Most repeat in every block of a model, so the key is cheap."""
        key = func, signature(args), signature(tuple(kwargs.items()))
        if key not in self._known:
            self._known[key] = _operation(func, args, kwargs, out)
        self._counts.setdefault(phase, Counter())[key] += 1

    def drain(self) -> Phases:
        """Returns and resets the counts."""
        counts, self._counts = self._counts, {}
        phases: Phases = {phase: Counter() for phase in counts}
        for phase, counted in counts.items():
            for key, times in counted.items():
                phases[phase][self._known[key]] += times
        return phases


class OperatorTimer:
    """Times operators on this machine, with torch's current number of threads. Each distinct operator runs a few times
    on its own, a large one on part of its rows. For those that cannot run, the rates of large products and copies give
    an estimate."""

    def __init__(self, device: torch.device):
        self.device = device
        self._known: dict[Operation, float] = {}
        self._shared: MutableMapping[str, float] = {}
        self._lock: AbstractContextManager[object] = nullcontext()

    def use_shared_cache(self, known: MutableMapping[str, float], lock: AbstractContextManager[object]) -> None:
        """Shares times with other processes: all use the same time for an operator. Each holds the `lock` while it
        times, so that none slows down another's measurement."""
        self._shared, self._lock = known, lock

    def seconds(self, operation: Operation) -> float:
        """The median of a few runs of the operator alone; from rates if it cannot run."""
        if operation.view:
            return 0.0
        if operation not in self._known:
            with self._lock:
                self._known[operation] = self._memoise(repr(operation), lambda: self._measure(operation))
        return self._known[operation]

    def _memoise(self, name: str, measure: Callable[[], float]) -> float:
        key = f"{name} on {self.device}, {torch.get_num_threads()} threads"
        value = self._shared.get(key)
        if value is None:
            value = self._shared[key] = measure()
        return value

    def _measure(self, operation: Operation) -> float:
        parts = operation.parts() if operation.large else [operation]
        times = (self._try(part, operation.work) for part in parts)
        return next((seconds for seconds in times if seconds is not None), None) or self._by_rate(operation)

    def _try(self, part: Operation, work: int) -> float | None:
        """The seconds of `work`, extrapolated from running a part of it; None if the part cannot run: the numbers of
        rows may not match, and an operator that checks values may refuse zeros."""
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                args, kwargs = part.arguments(self.device)
                ran = _operation(part.function, args, kwargs, part.function(*args, **kwargs))
                seconds = self._timed(lambda: part.function(*args, **kwargs))
                return seconds * work / ran.work if ran.work else seconds
        except Exception:
            return None

    def _by_rate(self, operation: Operation) -> float:
        dtypes = [
            leaf.dtype for leaf in operation.leaves if isinstance(leaf, TensorSpec) and leaf.dtype.is_floating_point
        ]
        kind = ("product", dtypes[0]) if operation.flops and dtypes else ("copy", torch.float32)
        copies = kind[0] == "copy"
        rate = self._memoise(str(kind), self._copy_rate if copies else partial(self._product_rate, kind[1]))
        return operation.work / rate

    def _product_rate(self, dtype: torch.dtype) -> float:
        """FLOPs per second of a large matrix product."""
        side = 1024
        first, second = (torch.ones(side, side, dtype=dtype, device=self.device) for _ in range(2))
        first @ second
        return 2 * side**3 / self._timed(lambda: first @ second)

    def _copy_rate(self) -> float:
        """Bytes per second, read and written, of a sum too large for caches."""
        first = torch.ones(16 * 2**20, device=self.device)
        out = first + 1
        return 2 * first.nbytes / self._timed(lambda: torch.add(first, 1, out=out))

    def _timed(self, call: Callable[[], object]) -> float:
        """The median of a few runs of a warm call; a long call needs fewer."""
        laps: list[float] = []
        while len(laps) < REPEATS and sum(laps) < ENOUGH_SECONDS:
            self._wait()
            start = time.perf_counter()
            call()
            self._wait()
            laps.append(time.perf_counter() - start)
        return statistics.median(laps)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _is_view(function: Any) -> bool:  # Any: as Operation.function
    """Whether it returns memory of its input and writes nothing; the schema of `_unsafe_view` does not say so."""
    if function is UNSAFE_VIEW:
        return True
    returns = schema_of(function).returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _operation(func: Any, args: Any, kwargs: Any, out: Any) -> Operation:  # Any: as torch dispatches
    flat, tree = tree_flatten((args, kwargs))
    leaves = tuple(TensorSpec.of(x) if isinstance(x, Tensor) else x for x in flat)
    outputs = [TensorSpec.of(x) for x in tree_flatten(out)[0] if isinstance(x, Tensor)]
    nbytes = sum(spec.nbytes for spec in (*leaves, *outputs) if isinstance(spec, TensorSpec))
    if func is _LOOKUP:  # reads only the returned rows of the table
        nbytes += sum(spec.nbytes for spec in outputs) - leaves[0].nbytes
    hashable = tuple(leaf if isinstance(leaf, Hashable) else repr(leaf) for leaf in leaves)
    return Operation(func, hashable, tree, flops_of(func, args, kwargs, out), nbytes, _is_view(func))
