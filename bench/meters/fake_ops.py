"""A cache for operators on fake tensors (without values), so that repeated ones run faster than in torch."""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from tunefront.methods.torch_internals import (
    FakeTensor,
    FakeTensorMode,
    schema_of,
    storage_key,
    tree_leaves,
    tree_map_only,
)

MOST_REAL = 2**24
"""Most elements of a real tensor while the model is fake."""
Result = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device]


class Fakes:
    """Runs operators on the fake tensors of a mode.

    The blocks of a model have equal shapes, so most operators repeat. The result of an operator that writes nothing and
    shares no memory with its inputs is cached by shape. torch has a cache too, but it compares more than is needed.
    Calling the mode itself saves two rounds of dispatching, in which torch looks for it.
    """

    def __init__(self, mode: FakeTensorMode):
        self._mode: Any = mode
        self._known: dict[Hashable, tuple[Result, ...] | None] = {}

    @classmethod
    def of(cls, model: nn.Module) -> Fakes | None:
        """The operators of a model whose parameters are fake; None for a real model."""
        mode = next(
            (parameter.fake_mode for parameter in model.parameters() if isinstance(parameter, FakeTensor)), None
        )
        return None if mode is None else cls(mode)

    @classmethod
    def among(cls, args: Any, kwargs: Any) -> Fakes | None:  # Any: as torch dispatches
        """The operators of the first fake tensor among the arguments; None if all are real."""
        leaves = tree_leaves((args, kwargs))
        mode = next((leaf.fake_mode for leaf in leaves if isinstance(leaf, FakeTensor)), None)
        return None if mode is None else cls(mode)

    def run(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:  # Any: as torch dispatches
        """The result of the operator. Errors: those of torch."""
        key = func, signature(args), signature(tuple(kwargs.items())), torch.get_default_dtype()
        known = self._known.get(key)
        if known is not None:
            results = [self._make(*result) for result in known]
            return results[0] if len(results) == 1 else tuple(results)
        out = self._mode.__torch_dispatch__(func, types, args, kwargs)
        if key not in self._known:
            self._known[key] = _described(func, args, kwargs, out)
        return out

    def faked(self, args: Any) -> Any:  # Any: as torch dispatches
        """The arguments with fake tensors in place of real ones: if all arguments are real, torch really computes some
        operators."""
        return tree_map_only(Tensor, lambda real: self._make(real.shape, real.stride(), real.dtype, real.device), args)

    def _make(self, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        return FakeTensor(self._mode, torch.empty_strided(shape, stride, dtype=dtype, device="meta"), device)


def too_large(func: Any, args: Any) -> bool:  # Any: as torch dispatches
    """Whether an operator on real tensors would make a tensor of more than `MOST_REAL` elements: masks and distances
    between all pairs of tokens, which a forecast need not compute."""
    if any(argument.alias_info is not None and argument.alias_info.is_write for argument in schema_of(func).arguments):
        return False
    shapes = [arg.shape for arg in args if isinstance(arg, Tensor)]
    lists = [arg for arg in args if isinstance(arg, list | tuple)]
    sizes = [tuple(values) for values in lists if all(type(size) is int for size in values)]
    listed = [tensor.numel() for values in lists for tensor in values if isinstance(tensor, Tensor)]
    with suppress(RuntimeError):  # shapes that do not broadcast, such as those of a matrix product
        shapes = [torch.broadcast_shapes(*shapes)] if shapes else []  # type: ignore[no-untyped-call]
    elements = [math.prod(shape) for shape in (shapes or sizes)]
    return max([*elements, sum(listed), 0]) > MOST_REAL


def signature(values: Iterable[object]) -> tuple[Hashable, ...]:
    """A key of the arguments of an operator; tensors count by shape, strides, dtype and device."""
    return tuple(
        (value.shape, value.stride(), value.dtype, _device(value))
        if isinstance(value, Tensor)
        else signature(value)
        if isinstance(value, list | tuple)
        else (value.__class__, value)  # 1 == 1.0, but they give results of different dtypes
        if isinstance(value, Hashable)
        else repr(value)
        for value in values
    )


def _device(tensor: Tensor) -> torch.device:
    """The device; `FakeTensor.device` itself would go through the dispatcher."""
    return tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device


def _described(func: Any, args: Any, kwargs: Any, out: Any) -> tuple[Result, ...] | None:  # Any: as torch dispatches
    """The results as shapes, strides, dtypes and devices; None if they cannot be cached. The schema alone does not
    reveal all shared memory: that of `_unsafe_view` mentions none."""
    schema = schema_of(func)
    if any(value.alias_info is not None for value in (*schema.arguments, *schema.returns)):
        return None
    inputs = {storage_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
    results = out if isinstance(out, tuple) else (out,)
    if not all(
        isinstance(result, FakeTensor) and result.constant is None and _owns_storage(result, inputs)
        for result in results
    ):
        return None
    return tuple((result.shape, result.stride(), result.dtype, result.fake_device) for result in results)


def _owns_storage(tensor: Tensor, inputs: Container[int]) -> bool:
    """True if the tensor owns its whole storage and aliases no input."""
    fresh = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    storage = tensor.untyped_storage()
    whole = tensor.storage_offset() == 0 and storage.nbytes() == fresh.untyped_storage().nbytes()
    return whole and storage_key(storage) not in inputs
