"""The tensors of a pretrained model, restored to their values for one cell after another."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

ALIGNMENT = 64
"""Alignment in bytes: torch's own tensors start at such multiples, on which the order of sums may depend."""
_POPULATE_READ = 22
"""MADV_POPULATE_READ of Linux 5.14 and later, which Python has no name for."""


class Restorable(Protocol):
    """Tensors that are reused; changes to them are dropped on every `restore`."""

    def restore(self) -> Sequence[Tensor]:
        """The tensors with their original values, always in the same memory."""


def restorable(tensors: Sequence[Tensor], device: torch.device) -> Restorable:
    """Tensors on the device with these values, in as little memory as the system allows."""
    if device.type == "cpu" and hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # the system may forbid it
            return Mapped(tensors)
    return Copied(tensors, device)


class Copied:
    """Keeps the values and copies them for each cell."""

    def __init__(self, tensors: Sequence[Tensor], device: torch.device):
        self._kept = [tensor.detach() for tensor in tensors]
        self._tensors = [torch.empty_like(tensor, device=device) for tensor in self._kept]

    def restore(self) -> Sequence[Tensor]:
        """Copies the values in."""
        for tensor, kept in zip(self._tensors, self._kept, strict=True):
            tensor.copy_(kept)
        return self._tensors


class Mapped:
    """Keeps the values once, in a memory file; the tensors are a private mapping of it.

    A page is copied when a cell writes into it: a cell that trains few weights, or none, needs no second copy of the
    others. Restoring drops those pages.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        laid_out = [torch.empty_like(tensor, device="meta") for tensor in tensors]
        sizes = [-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in laid_out]
        file = os.memfd_create("tunefront")
        try:
            os.ftruncate(file, max(1, sum(sizes)))
            for place, tensor in zip(_offsets(sizes), tensors, strict=True):
                _write(file, place, tensor)
            self._pages = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
        finally:
            os.close(file)  # the mapping keeps the memory
        self._tensors = [_view(self._pages, place, like) for place, like in zip(_offsets(sizes), laid_out, strict=True)]

    def restore(self) -> Sequence[Tensor]:
        """Drops pages that were written; the next read gets the original values."""
        self._pages.madvise(mmap.MADV_DONTNEED)
        with contextlib.suppress(OSError):  # without it pages load one by one, on the cell's clock
            self._pages.madvise(_POPULATE_READ)
        return self._tensors


def make_writable(tensors: Iterable[Tensor]) -> None:
    """Writes each tensor once, with its own values, so that its pages are the cell's own from now on.

    The first write to a page of `Mapped` costs about ten times a later one. It belongs on no clock: a method that
    trains every weight would pay for how this suite stores weights.
    """
    for tensor in tensors:
        tensor.data.mul_(1)  # through `data`, so that the version counter stays


def _offsets(sizes: Sequence[int]) -> Iterator[int]:
    return accumulate(sizes[:-1], initial=0)


def _write(file: int, place: int, tensor: Tensor) -> None:
    """Writes the bytes of a tensor in the layout of a new torch tensor."""
    dense = torch.empty_like(tensor, device="cpu").copy_(tensor.detach())
    numbers = dense.as_strided((dense.numel(),), (1,))
    left: memoryview = numbers.view(torch.uint8).numpy().data
    while left:
        written = os.pwrite(file, left, place)
        left, place = left[written:], place + written


def _view(pages: mmap.mmap, place: int, like: Tensor) -> Tensor:
    """A tensor in the pages, with its own storage object."""
    if not like.numel():
        return torch.empty_like(like, device="cpu")
    flat = torch.frombuffer(pages, dtype=like.dtype, count=like.numel(), offset=place)
    return torch.empty(0, dtype=like.dtype).set_(flat.untyped_storage(), 0, like.shape, like.stride())
