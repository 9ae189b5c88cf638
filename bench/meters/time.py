"""A clock that can be paused, so that it never includes evaluation and measuring, and the usual time of a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from tunefront.bench.records import Spread

MOST_WARM_UP = 5


class Clock:
    """Adds up the seconds spent inside `running()`, and the processor time of the process, over all its threads, in
    `cpu_seconds`; the seconds of each block are an entry of `laps`.

    Waits for the accelerator at both ends of a block. `now` returns the time in seconds, `cpu_now` the process's.
    """

    def __init__(
        self,
        device: torch.device,
        now: Callable[[], float] = time.perf_counter,
        cpu_now: Callable[[], float] = time.process_time,
    ):
        self.seconds = self.cpu_seconds = 0.0
        self.laps: list[float] = []
        self._device, self._read, self._read_cpu = device, now, cpu_now

    @contextmanager
    def running(self) -> Iterator[None]:
        """Runs the clock during the block."""
        start = self._now()
        cpu_start = self._read_cpu()
        try:
            yield
        finally:
            self.laps.append(self._now() - start)
            self.seconds += self.laps[-1]
            self.cpu_seconds += self._read_cpu() - cpu_start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._read()


def spread(laps: Sequence[float]) -> Spread | None:
    """Median and quartiles (as in `numpy.quantile`) of the laps after the warm-up, None if there are none.

    The warm-up, in which memory is allocated and kernels are chosen, is a tenth of the laps, at least one and at most
    five; if it would leave fewer than two laps, all count.
    """
    warm_up = min(MOST_WARM_UP, max(1, len(laps) // 10))
    counted = laps[warm_up:] if len(laps) - warm_up >= 2 else laps
    if not counted:
        return None
    low, median, high = np.quantile(counted, (0.25, 0.5, 0.75)).tolist()
    return Spread(median=median, low=low, high=high, count=len(counted))
