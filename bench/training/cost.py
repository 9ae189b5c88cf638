"""What fitting a method took."""

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
    """What fitting took: seconds on the clock (`clocks`: of each phase of a step), counted FLOPs (`flops_by_phase`:
    from every source), optimiser steps, rows through the model, losses, the rows learned from that had been cut, and by
    how much computing features grew memory, whether it was done now or earlier."""

    clock: Clock
    clocks: dict[str, Clock]
    flops: int = 0
    steps: int = 0
    examples: int = 0
    losses: list[float] = field(default_factory=list)
    cut_rows: dict[int, Tensor] = field(default_factory=dict)
    grown: Growth = NO_GROWTH
    flops_by_phase: dict[str, PhaseFlops] = field(default_factory=dict)

    @classmethod
    def on(cls, device: torch.device, now: Callable[[], float]) -> CostLog:
        """An empty one, whose clocks wait for the device and read `now`."""
        return cls(Clock(device, now), {name: Clock(device, now) for name in STEP_PHASES})

    def enter(self, phases: Mapping[str, PhaseFlops]) -> None:
        """Adds what ran to its phases."""
        known = self.flops_by_phase
        for phase, entry in phases.items():
            known[phase] = known[phase] + entry if phase in known else entry

    @property
    def final_loss(self) -> float | None:
        """Mean loss of the last tenth of the steps, None where nothing was trained."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(last) / len(last) if last else None

    def step_seconds(self, evaluation: Sequence[float]) -> dict[str, Spread]:
        """What each phase of a training step took, and a batch that was scored; phases that never ran are left out."""
        laps = {name: clock.laps for name, clock in self.clocks.items()} | {"evaluation": evaluation}
        return {name: found for name, seconds in laps.items() if (found := spread(seconds))}
