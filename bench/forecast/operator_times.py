"""What operators a pass dispatches, and what each would take on this machine: found out by running it once, alone."""

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

from tunefront.bench.meters.flops.counted import flops_of
from tunefront.bench.meters.memory.fake_ops import signature
from tunefront.methods.torch_internals import UNSAFE_VIEW, schema_of, tree_flatten, tree_unflatten

MOST_BYTES, MOST_FLOPS = 16 * 2**20, 4 * 10**8
"""An operator on more than this is run on a part of its rows to see what it takes."""
MOST_HELD = 4 * MOST_BYTES
"""Nor is a part that would take more than this all the same: one row may be as large."""
REPEATS, ENOUGH_SECONDS = 3, 0.01


@dataclass(frozen=True)
class TensorSpec:
    """A tensor without values: its shape, strides and type."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> TensorSpec:
        """Of a real or a fake tensor."""
        return cls(tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that are read or written, an expanded dimension once."""
        kept = (size for size, step in zip(self.shape, self.stride, strict=True) if step)
        return math.prod(kept) * self.dtype.itemsize

    @property
    def rows(self) -> int:
        """The first dimension of more than one, 1 where there is none."""
        return next((size for size in self.shape if size > 1), 1)

    def part(self, share: float) -> TensorSpec:
        """With a share of its rows, at least one."""
        if self.rows == 1:
            return self
        place = self.shape.index(self.rows)
        return replace(self, shape=(*self.shape[:place], max(1, int(share * self.rows)), *self.shape[place + 1 :]))

    def filled(self, device: torch.device) -> Tensor:
        """A real tensor like it. Indices are zeros and masks ones: valid whatever they select."""
        size = 1 + sum((count - 1) * step for count, step in zip(self.shape, self.stride, strict=True) if count)
        flat = torch.zeros(size, dtype=self.dtype, device=device)
        if self.dtype.is_floating_point:
            flat.fill_(0.01)
        elif self.dtype == torch.bool:
            flat.fill_(True)
        return flat.as_strided(self.shape, self.stride)


@dataclass(frozen=True)
class Operation:
    """An operator on tensors of certain shapes: `tree` has `Blank`s in the place of tensors. `flops` are counted, 0 for
    all but matrix products and attention; `nbytes` are of its inputs and outputs; a `view` moves nothing."""

    function: Any  # Any: torch's operators have no type of their own
    leaves: tuple[Hashable, ...]
    tree: Any  # Any: torch's own type
    flops: int
    nbytes: int
    view: bool

    @property
    def large(self) -> bool:
        """Whether it would take too long, or too much memory, to be run as it is."""
        return self.nbytes > MOST_BYTES or self.flops > MOST_FLOPS or self.held > MOST_HELD

    @property
    def work(self) -> int:
        """What its seconds grow with: its FLOPs, or the bytes that it moves where it has none."""
        return self.flops or self.nbytes

    def parts(self) -> Iterator[Operation]:
        """The operator on fewer rows, few enough to be run: of all tensors in proportion, or of those that have as many
        rows as the largest one, as the next, and so on. Not all of them are valid. None of a product of plain matrices,
        whose speed is that of all of its rows."""
        blanks = [leaf for leaf in self.leaves if isinstance(leaf, TensorSpec)]
        if self.flops and any(len(blank.shape) < 3 for blank in blanks):
            return
        share = min(MOST_BYTES / max(1, self.nbytes, self.held), MOST_FLOPS / max(1, self.flops), 1.0)
        alike = dict.fromkeys(blank.rows for blank in sorted(blanks, key=lambda blank: -blank.nbytes))
        for cut in (set(alike), *({rows} for rows in alike if rows > 1)):
            part = replace(
                self,
                leaves=tuple(
                    leaf.part(share) if isinstance(leaf, TensorSpec) and leaf.rows in cut else leaf
                    for leaf in self.leaves
                ),
            )
            if self.nbytes * part.held <= MOST_HELD * max(1, self.held):  # its results in proportion
                yield part

    @property
    def held(self) -> int:
        """Bytes of its arguments alone."""
        return sum(leaf.nbytes for leaf in self.leaves if isinstance(leaf, TensorSpec))

    def arguments(self, device: torch.device) -> tuple[Any, Any]:  # Any: as the operator takes them
        """Real tensors in the places of blank ones."""
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
        """Notes an operator that ran. Most are the same in every block of a model: they are told apart cheaply."""
        key = func, signature(args), signature(tuple(kwargs.items()))
        if key not in self._known:
            self._known[key] = _operation(func, args, kwargs, out)
        self._counts.setdefault(phase, Counter())[key] += 1

    def taken(self) -> Phases:
        """What was counted since this was last asked."""
        counts, self._counts = self._counts, {}
        found: Phases = {phase: Counter() for phase in counts}
        for phase, counted in counts.items():
            for key, times in counted.items():
                found[phase][self._known[key]] += times
        return found


class OperatorTimer:
    """How fast this machine runs operators, with the threads that torch has now: each distinct one is run a few times
    on its own, of one on much data a part of its rows. What cannot be run follows from the rates of large products and
    copies."""

    def __init__(self, device: torch.device):
        self.device = device
        self._known: dict[Operation, float] = {}
        self._shared: MutableMapping[str, float] = {}
        self._alone: AbstractContextManager[object] = nullcontext()

    def share(self, known: MutableMapping[str, float], alone: AbstractContextManager[object]) -> None:
        """Shares with other processes what is found out, `alone` held while something is tried: the same operator takes
        the same in all of them, and none slows another's."""
        self._shared, self._alone = known, alone

    def seconds(self, operation: Operation) -> float:
        """The median of a few runs of the operator alone; from rates where it is too large to be tried."""
        if operation.view:
            return 0.0
        if operation not in self._known:
            with self._alone:
                self._known[operation] = self._once(repr(operation), lambda: self._found(operation))
        return self._known[operation]

    def _once(self, what: str, find: Callable[[], float]) -> float:
        what = f"{what} on {self.device}, {torch.get_num_threads()} threads"
        found = self._shared.get(what)
        if found is None:
            found = self._shared[what] = find()
        return found

    def _found(self, operation: Operation) -> float:
        tries = operation.parts() if operation.large else [operation]
        found = (self._tried(part, operation.work) for part in tries)
        return next((seconds for seconds in found if seconds is not None), None) or self._by_rate(operation)

    def _tried(self, part: Operation, work: int) -> float | None:
        """What so much work takes, by running a part of it; None where it cannot be run: fewer rows may not fit each
        other, zeros may be no valid input of an operator that checks its values."""
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
        rate = self._once(str(kind), self._copy_rate if copies else partial(self._product_rate, kind[1]))
        return operation.work / rate

    def _product_rate(self, dtype: torch.dtype) -> float:
        """FLOPs a second of a large matrix product."""
        side = 1024
        first, second = (torch.ones(side, side, dtype=dtype, device=self.device) for _ in range(2))
        first @ second
        return 2 * side**3 / self._timed(lambda: first @ second)

    def _copy_rate(self) -> float:
        """Bytes a second, read and written, of a sum too large for caches."""
        first = torch.ones(16 * 2**20, device=self.device)
        out = first + 1
        return 2 * first.nbytes / self._timed(lambda: torch.add(first, 1, out=out))

    def _timed(self, call: Callable[[], object]) -> float:
        """The median of a few runs of what ran before; of a long one fewer tell as much."""
        found: list[float] = []
        while len(found) < REPEATS and sum(found) < ENOUGH_SECONDS:
            self._wait()
            start = time.perf_counter()
            call()
            self._wait()
            found.append(time.perf_counter() - start)
        return statistics.median(found)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _is_view(function: Any) -> bool:  # Any: as Operation.function
    """Whether it returns its input's memory and writes nothing; what the schema of one does not say."""
    if function is UNSAFE_VIEW:
        return True
    returns = schema_of(function).returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _operation(func: Any, args: Any, kwargs: Any, out: Any) -> Operation:  # Any: as torch dispatches
    seen, tree = tree_flatten((args, kwargs))
    leaves = tuple(TensorSpec.of(x) if isinstance(x, Tensor) else x for x in seen)
    outputs = [TensorSpec.of(x) for x in tree_flatten(out)[0] if isinstance(x, Tensor)]
    nbytes = sum(blank.nbytes for blank in (*leaves, *outputs) if isinstance(blank, TensorSpec))
    if func is _LOOKUP:  # of the whole table only what is returned is read
        nbytes += sum(blank.nbytes for blank in outputs) - leaves[0].nbytes
    hashable = tuple(leaf if isinstance(leaf, Hashable) else repr(leaf) for leaf in leaves)
    return Operation(func, hashable, tree, flops_of(func, args, kwargs, out), nbytes, _is_view(func))
