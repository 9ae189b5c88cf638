"""Peak memory of a phase: the resident peak of the process, and on CUDA that of the allocator."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class PeakMemory:
    """Bytes at the start and at the peak of a phase; None if the machine cannot measure them."""

    start_resident_bytes: int | None = None
    start_allocated_bytes: int | None = None
    peak_resident_bytes: int | None = None
    peak_allocated_bytes: int | None = None

    def at_least(self, growth: Growth) -> None:
        """Raises the peaks to include work that a cache saved this time: peaks must not depend on the cache."""
        self.peak_resident_bytes = _raised(self.peak_resident_bytes, self.start_resident_bytes, growth.resident_bytes)
        self.peak_allocated_bytes = _raised(
            self.peak_allocated_bytes, self.start_allocated_bytes, growth.allocated_bytes
        )


@dataclass(frozen=True)
class Growth:
    """Peak growth of the process and the CUDA allocator in part of a phase, in bytes; 0 if it cannot be measured."""

    resident_bytes: int = 0
    allocated_bytes: int = 0

    @classmethod
    def in_use(cls, device: torch.device) -> Growth:
        """The memory in use now, the start for `since`."""
        return cls(resident_bytes("VmRSS") or 0, torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)

    @classmethod
    def since(cls, start: Growth, device: torch.device) -> Growth:
        """The growth of the peaks over `start`; peaks count from the start of the phase."""
        allocated = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        resident = (resident_bytes("VmHWM") or 0) - start.resident_bytes
        return cls(max(0, resident), max(0, allocated - start.allocated_bytes))

    def __or__(self, other: Growth) -> Growth:
        """The larger of two."""
        return Growth(max(self.resident_bytes, other.resident_bytes), max(self.allocated_bytes, other.allocated_bytes))


NO_GROWTH = Growth()

_measuring: list[PeakMemory] = []
"""Running phases on CUDA; their allocator peak is read before an inner phase resets it."""


@contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measures the peak of the block. First returns earlier garbage to the system and resets the peak counters.

    The resident peak is that of the whole process, including libraries. On Linux it is reset by writing 5 to the
    process's own clear_refs (proc(5)); if that is not allowed, it is None.
    """
    peak = PeakMemory()
    _release()
    resets = _reset_resident_peak()
    peak.start_resident_bytes = resident_bytes("VmRSS")
    if device.type == "cuda":
        peak.start_allocated_bytes = torch.cuda.memory_allocated(device)
        _reset_allocator_peak(device)
        _measuring.append(peak)
    try:
        yield peak
    finally:
        peak.peak_resident_bytes = resident_bytes("VmHWM") if resets else None
        if device.type == "cuda":
            _read_allocator_peak(device)
            _measuring.pop()


@contextmanager
def allocator_peak(device: torch.device | None) -> Iterator[dict[str, int]]:
    """The peaks of the CUDA allocator in the block, in bytes, filled in at its end: `allocated` to tensors and
    `reserved` on the device; empty on other devices. An outer `peak_memory` keeps its own peak."""
    peak: dict[str, int] = {}
    if device is None or device.type != "cuda":
        yield peak
        return
    _reset_allocator_peak(device)
    try:
        yield peak
    finally:
        peak["allocated"] = torch.cuda.max_memory_allocated(device)
        peak["reserved"] = torch.cuda.max_memory_reserved(device)


def resident_bytes(field: str) -> int | None:
    """`VmRSS` (now) or `VmHWM` (peak) of this process in bytes, None without /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def _raised(peak: int | None, start: int | None, growth: int) -> int | None:
    return peak if peak is None or start is None else max(peak, start + growth)


def _reset_allocator_peak(device: torch.device) -> None:
    _read_allocator_peak(device)
    torch.cuda.reset_peak_memory_stats(device)


def _read_allocator_peak(device: torch.device) -> None:
    for peak in _measuring:
        peak.peak_allocated_bytes = max(peak.peak_allocated_bytes or 0, torch.cuda.max_memory_allocated(device))


def _reset_resident_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _release() -> None:
    """Returns freed memory to the system, so that garbage of an earlier cell does not raise this peak."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # not glibc
        return
