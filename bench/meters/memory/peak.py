"""Peak memory of a phase: the process's resident peak, and on CUDA the allocator's own."""

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
    """Bytes at the start and at the peak of a phase; null where the machine cannot tell."""

    start_resident_bytes: int | None = None
    start_allocated_bytes: int | None = None
    peak_resident_bytes: int | None = None
    peak_allocated_bytes: int | None = None

    def at_least(self, grown: Growth) -> None:
        """Raises the peaks to those of work that a cache saved this time: a peak does not depend on what it holds."""
        self.peak_resident_bytes = _raised(self.peak_resident_bytes, self.start_resident_bytes, grown.resident_bytes)
        self.peak_allocated_bytes = _raised(
            self.peak_allocated_bytes, self.start_allocated_bytes, grown.allocated_bytes
        )


@dataclass(frozen=True)
class Growth:
    """By how many bytes a part of a phase grew the process and the CUDA allocator at most; 0 where nothing can tell."""

    resident_bytes: int = 0
    allocated_bytes: int = 0

    @classmethod
    def in_use(cls, device: torch.device) -> Growth:
        """What is in use now, from which `since` counts."""
        return cls(resident_bytes("VmRSS") or 0, torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)

    @classmethod
    def since(cls, start: Growth, device: torch.device) -> Growth:
        """The growth of the peaks over `start`; the peaks are those since the phase began."""
        allocated = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
        resident = (resident_bytes("VmHWM") or 0) - start.resident_bytes
        return cls(max(0, resident), max(0, allocated - start.allocated_bytes))

    def __or__(self, other: Growth) -> Growth:
        """The larger of two."""
        return Growth(max(self.resident_bytes, other.resident_bytes), max(self.allocated_bytes, other.allocated_bytes))


NONE = Growth()

_measuring: list[PeakMemory] = []
"""Phases under way on CUDA, whose allocator peak is read before something within them resets it."""


@contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measures the block's peak. Earlier garbage is returned to the system first and the peak counters are reset.

    The resident peak is that of the whole process, libraries included; on Linux it is reset by writing 5 to the
    process's own clear_refs (proc(5)), and null where that is not allowed.
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
    """The block's peaks of what the CUDA allocator handed out (`allocated`) and took from the device (`reserved`), in
    bytes, filled in at its end; empty on other devices. A `peak_memory` around it keeps its own."""
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
    """`VmRSS` (now) or `VmHWM` (peak) of this process in bytes, None where /proc is absent."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


def _raised(peak: int | None, start: int | None, grown: int) -> int | None:
    return peak if peak is None or start is None else max(peak, start + grown)


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
    """Gives freed memory back, so that an earlier cell's garbage is not this one's peak."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # not glibc
        return
