"""Operators on tensors without values, run faster than torch runs them the second time."""

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
"""Elements that a real tensor may have while others are fake."""
Made = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device]


class Fakes:
    """Runs operators on the fake tensors of a mode.

    Blocks of a model are alike: most operators see shapes that they saw before. What one returned that changes nothing
    and whose results share no memory is then made again without asking torch, which would compare more than decides.
    Going to the mode itself spares two rounds of dispatching, in which torch looks for it.
    """

    def __init__(self, mode: FakeTensorMode):
        self._mode: Any = mode
        self._known: dict[Hashable, tuple[Made, ...] | None] = {}

    @classmethod
    def of(cls, model: nn.Module) -> Fakes | None:
        """Those of a model whose parameters are fake; None of a real one."""
        mode = next((one.fake_mode for one in model.parameters() if isinstance(one, FakeTensor)), None)
        return None if mode is None else cls(mode)

    def run(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:  # Any: as torch dispatches
        """What the operator returns; torch's own errors."""
        key = func, signature(args), signature(tuple(kwargs.items())), torch.get_default_dtype()
        known = self._known.get(key)
        if known is not None:
            made = [self._made(*one) for one in known]
            return made[0] if len(made) == 1 else tuple(made)
        out = self._mode.__torch_dispatch__(func, types, args, kwargs)
        if key not in self._known:
            self._known[key] = _as_made(func, args, kwargs, out)
        return out

    def faked(self, args: Any) -> Any:  # Any: as torch dispatches
        """The arguments with fake tensors in the place of real ones: of real ones alone torch computes some operators
        for real."""
        return tree_map_only(Tensor, lambda one: self._made(one.shape, one.stride(), one.dtype, one.device), args)

    def _made(self, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        return FakeTensor(self._mode, torch.empty_strided(shape, stride, dtype=dtype, device="meta"), device)


def too_large(func: Any, args: Any) -> bool:  # Any: as torch dispatches
    """Whether an operator on real tensors would make another of more than `MOST_REAL` elements: masks and distances
    between all pairs of tokens, which a plan has no need to compute."""
    if any(one.alias_info is not None and one.alias_info.is_write for one in schema_of(func).arguments):
        return False
    shapes = [one.shape for one in args if isinstance(one, Tensor)]
    sizes = [tuple(one) for one in args if isinstance(one, list | tuple) and all(type(size) is int for size in one)]
    listed = [one.numel() for each in args if isinstance(each, list | tuple) for one in each if isinstance(one, Tensor)]
    with suppress(RuntimeError):  # shapes that are not broadcast: products of matrices, say
        shapes = [torch.broadcast_shapes(*shapes)] if shapes else []  # type: ignore[no-untyped-call]
    made = [math.prod(shape) for shape in (shapes or sizes)]
    return max([*made, sum(listed), 0]) > MOST_REAL


def signature(values: Iterable[object]) -> tuple[Hashable, ...]:
    """Arguments as far as they decide about an operator: of a tensor its shape, strides, type and device."""
    return tuple(
        (value.shape, value.stride(), value.dtype, _device(value))
        if isinstance(value, Tensor)
        else signature(value)
        if isinstance(value, list | tuple)
        else (value.__class__, value)  # 1 is 1.0, and makes an integer of what 1.0 makes a fraction
        if isinstance(value, Hashable)
        else repr(value)
        for value in values
    )


def _device(tensor: Tensor) -> torch.device:
    """A fake tensor answers for `device` by way of the dispatcher."""
    return tensor.fake_device if isinstance(tensor, FakeTensor) else tensor.device


def _as_made(func: Any, args: Any, kwargs: Any, out: Any) -> tuple[Made, ...] | None:  # Any: as torch dispatches
    """How the results are made again; None where they cannot be. What an operator's schema says of shared memory is not
    enough: it says nothing of `_unsafe_view`."""
    schema = schema_of(func)
    if any(one.alias_info is not None for one in (*schema.arguments, *schema.returns)):
        return None
    taken = {storage_key(one) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
    results = out if isinstance(out, tuple) else (out,)
    if not all(isinstance(one, FakeTensor) and one.constant is None and _alone(one, taken) for one in results):
        return None
    return tuple((one.shape, one.stride(), one.dtype, one.fake_device) for one in results)


def _alone(tensor: Tensor, taken: Container[int]) -> bool:
    """Whether it has memory of its own and all of it, as a tensor made anew has."""
    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    storage = tensor.untyped_storage()
    whole = tensor.storage_offset() == 0 and storage.nbytes() == made.untyped_storage().nbytes()
    return whole and storage_key(storage) not in taken
