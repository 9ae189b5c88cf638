"""The tensors of a pretrained model, given to one cell after another, each time as they were."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

ALIGNED = 64
"""Bytes: torch's own tensors begin at a multiple of so many, on which the order of sums may depend."""
_POPULATE_READ = 22
"""MADV_POPULATE_READ of Linux 5.14 and later, which Python has no name for."""


class Restorable(Protocol):
    """Tensors that are handed out again and again; what was written into them is gone the next time."""

    def restored(self) -> Sequence[Tensor]:
        """The tensors with the values that they began with, in the same memory each time."""


def restorable(tensors: Sequence[Tensor], device: torch.device) -> Restorable:
    """Tensors on the device with the values of these, kept in as little memory as the system allows."""
    if device.type == "cpu" and hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # where the system forbids it
            return Mapped(tensors)
    return Copied(tensors, device)


class Copied:
    """The values are kept, and copied for each cell."""

    def __init__(self, tensors: Sequence[Tensor], device: torch.device):
        self._kept = [tensor.detach() for tensor in tensors]
        self._given = [torch.empty_like(tensor, device=device) for tensor in self._kept]

    def restored(self) -> Sequence[Tensor]:
        """The values are copied in."""
        for given, kept in zip(self._given, self._kept, strict=True):
            given.copy_(kept)
        return self._given


class Mapped:
    """The values are kept once, in memory that has no address; tensors are a private mapping of it.

    A page becomes the cell's own when the cell writes into it: what trains a few weights, or none, needs no second
    copy of the others. To restore is to drop those pages.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        laid_out = [torch.empty_like(tensor, device="meta") for tensor in tensors]
        sizes = [-(-tensor.nbytes // ALIGNED) * ALIGNED for tensor in laid_out]
        file = os.memfd_create("tunefront")
        try:
            os.ftruncate(file, max(1, sum(sizes)))
            for place, tensor in zip(_places(sizes), tensors, strict=True):
                _write(file, place, tensor)
            self._pages = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
        finally:
            os.close(file)  # the mapping keeps what it maps
        self._given = [_at(self._pages, place, like) for place, like in zip(_places(sizes), laid_out, strict=True)]

    def restored(self) -> Sequence[Tensor]:
        """Pages that were written are dropped; they have the values again when they are next read."""
        self._pages.madvise(mmap.MADV_DONTNEED)
        with contextlib.suppress(OSError):  # else they come one by one, on the clock of the cell
            self._pages.madvise(_POPULATE_READ)
        return self._given


def make_writable(tensors: Iterable[Tensor]) -> None:
    """Writes each tensor once, bit for bit what it is, so that its pages are the cell's own from now on.

    The first write to a page of `Mapped` costs some ten times a later one. It belongs on no clock: what trains every
    weight would pay for how this suite keeps weights.
    """
    for tensor in tensors:
        tensor.data.mul_(1)  # through `data`, which counts no change of the tensor


def _places(sizes: Sequence[int]) -> Iterator[int]:
    return accumulate(sizes[:-1], initial=0)


def _write(file: int, place: int, tensor: Tensor) -> None:
    """The bytes of a tensor as a tensor of torch's own holds them."""
    dense = torch.empty_like(tensor, device="cpu").copy_(tensor.detach())
    numbers = dense.as_strided((dense.numel(),), (1,))
    left: memoryview = numbers.view(torch.uint8).numpy().data
    while left:
        written = os.pwrite(file, left, place)
        left, place = left[written:], place + written


def _at(pages: mmap.mmap, place: int, like: Tensor) -> Tensor:
    """A tensor in the pages, with a storage of its own."""
    if not like.numel():
        return torch.empty_like(like, device="cpu")
    flat = torch.frombuffer(pages, dtype=like.dtype, count=like.numel(), offset=place)
    return torch.empty(0, dtype=like.dtype).set_(flat.untyped_storage(), 0, like.shape, like.stride())
