"""The costs of fitting a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunefront.bench.meters.memory.peak import NO_GROWTH, Growth
from tunefront.bench.meters.time import Clock, spread
from tunefront.bench.records import PhaseFlops, Spread

STEP_PHASES = ("data", "forward", "backward", "optimizer")


@dataclass
class CostLog:
    """The costs of fitting: seconds on the clock (`clocks`: per phase of a step), counted FLOPs (`flops_by_phase`: from
    every source), optimiser steps, rows through the model and their tokens, losses, the training rows that were cut
    (`cut_rows`), and the memory growth of computing features, now or in an earlier cell (`grown`)."""

    clock: Clock
    clocks: dict[str, Clock]
    flops: int = 0
    steps: int = 0
    examples: int = 0
    tokens: int = 0
    losses: list[float] = field(default_factory=list)
    cut_rows: dict[int, Tensor] = field(default_factory=dict)
    grown: Growth = NO_GROWTH
    flops_by_phase: dict[str, PhaseFlops] = field(default_factory=dict)

    @classmethod
    def on(cls, device: torch.device, now: Callable[[], float]) -> CostLog:
        """An empty log whose clocks wait for the device and read `now`."""
        return cls(Clock(device, now), {name: Clock(device, now) for name in STEP_PHASES})

    def enter(self, phases: Mapping[str, PhaseFlops]) -> None:
        """Adds FLOPs to their phases."""
        known = self.flops_by_phase
        for phase, entry in phases.items():
            known[phase] = known[phase] + entry if phase in known else entry

    @property
    def final_loss(self) -> float | None:
        """Mean loss of the last tenth of the steps, None if nothing was trained."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) if last else None

    def step_seconds(self, evaluation: Sequence[float]) -> dict[str, Spread]:
        """Seconds of each phase of a training step and of an evaluation batch; phases that never ran are omitted."""
        laps = {name: clock.laps for name, clock in self.clocks.items()} | {"evaluation": evaluation}
        return {name: distribution for name, seconds in laps.items() if (distribution := spread(seconds))}
