"""A cache for operators on fake tensors (without values), so that repeated ones run faster than in torch."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tunefront.methods.torch_internals import (
    GROUPED_PRODUCT,
    FakeTensor,
    FakeTensorMode,
    register_op_impl,
    schema_of,
    storage_key,
    tree_leaves,
    tree_map_only,
)

MOST_REAL = 2**24
"""Most elements of a real tensor while the model is fake."""


class Result(NamedTuple):
    """What an operator returns: a tensor with memory of its own, or one in the memory of argument `base`, from element
    `offset` on."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    offset: int = 0
    base: int | None = None


class Fakes:
    """Runs operators on the fake tensors of a mode.

    The blocks of a model have equal shapes, so most operators repeat. The result of an operator that writes nothing is
    cached by shape. torch has a cache too, but it compares more than is needed. Calling the mode itself saves two
    rounds of dispatching, in which torch looks for it.
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
            results = [self._make(result, args) for result in known]
            return results[0] if len(results) == 1 else tuple(results)
        out = self._mode.__torch_dispatch__(func, types, args, kwargs)
        if key not in self._known:
            self._known[key] = _described(func, args, kwargs, out)
        return out

    def faked(self, args: Any) -> Any:  # Any: as torch dispatches
        """The arguments with fake tensors in place of real ones: if all arguments are real, torch really computes some
        operators."""
        return tree_map_only(
            Tensor, lambda real: self._make(Result(real.shape, real.stride(), real.dtype, real.device)), args
        )

    def _make(self, result: Result, args: Any = ()) -> Tensor:  # Any: as torch dispatches
        shape, stride, dtype, device, offset, base = result
        if base is None:
            meta = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
        else:
            memory = args[base].untyped_storage()
            meta = torch.empty(0, dtype=dtype, device="meta").set_(memory, offset, shape, stride)
        return FakeTensor(self._mode, meta, device)


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
    """A key of the arguments of an operator; tensors count by class, shape, strides, offset, dtype and device."""
    return tuple(
        (value.__class__, value.shape, value.stride(), value.storage_offset(), value.dtype, _device(value))
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
    """The results; None if they cannot be cached. Memory shows which of them are views: the schema of `_unsafe_view`
    does not."""
    if any(argument.alias_info is not None and argument.alias_info.is_write for argument in schema_of(func).arguments):
        return None
    bases: dict[int, int | None] = dict.fromkeys(
        storage_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
    )
    bases.update((storage_key(arg), place) for place, arg in enumerate(args) if isinstance(arg, Tensor))
    results = out if isinstance(out, tuple) else (out,)
    described = [_result(result, bases) if isinstance(result, FakeTensor) else None for result in results]
    known = [result for result in described if result is not None]
    return tuple(known) if len(known) == len(results) else None


def _result(tensor: FakeTensor, bases: Mapping[int, int | None]) -> Result | None:
    """The result, by the place of the argument with its memory, if any; None if it has a value, a part of its memory,
    or that of an argument in a list."""
    memory, offset = tensor.untyped_storage(), int(tensor.storage_offset())
    result = Result(tensor.shape, tensor.stride(), tensor.dtype, tensor.fake_device, offset)
    key = storage_key(memory)
    if tensor.constant is not None:
        return None
    if key in bases:
        return None if bases[key] is None else result._replace(base=bases[key])
    whole = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta").untyped_storage()
    return result if offset == 0 and memory.nbytes() == whole.nbytes() else None


@register_op_impl(GROUPED_PRODUCT.default)
def _grouped_product(
    mode: FakeTensorMode,
    func: object,
    left: FakeTensor,
    right: FakeTensor,
    ends: FakeTensor | None = None,
    bias: object = None,
    out_dtype: torch.dtype | None = None,
) -> FakeTensor:
    """The products of many experts. torch's own rule takes bfloat16 alone, as its GPU kernel does; on CPU there is one
    for float32 too."""
    if left.dim() == right.dim() == 2:
        groups = 1 if ends is None else ends.shape[0]
        shape = (groups, left.shape[0], right.shape[1])
    else:
        rows = left.shape[:-1] if right.dim() == 3 else left.shape[1:-1]
        shape = (*rows, right.shape[-1])
    meta = torch.empty(shape, dtype=out_dtype or left.dtype, device="meta")
    return FakeTensor(mode, meta, left.fake_device)
