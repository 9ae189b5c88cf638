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
    peak_resident_bytes: int | None = None
    peak_allocated_bytes: int | None = None


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
        torch.cuda.reset_peak_memory_stats(device)
    try:
        yield peak
    finally:
        peak.peak_resident_bytes = resident_bytes("VmHWM") if resets else None
        if device.type == "cuda":
            peak.peak_allocated_bytes = torch.cuda.max_memory_allocated(device)


def resident_bytes(field: str) -> int | None:
    """`VmRSS` (now) or `VmHWM` (peak) of this process in bytes, None where /proc is absent."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), None)


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
