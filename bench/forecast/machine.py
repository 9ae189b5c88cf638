"""Predicts seconds: the time of the operators alone plus the overhead of Python and autograd around each."""

from __future__ import annotations

import functools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunefront.bench.forecast.operator_times import Operation, Operations, OperatorTimer
from tunefront.bench.meters.memory.tracker import Ledger

ROUNDS = 12
_WIDTH, _LAYERS, _TOKENS = 64, 4, 8


@dataclass(frozen=True)
class Machine:
    """The speed of this machine: `timer` of operators alone, and `overhead`, the seconds per dispatched operator of a
    phase in addition to its own work (modules, autograd, the dispatcher)."""

    timer: OperatorTimer
    overhead: Mapping[str, float]

    def seconds(self, phase: str, operations: Counter[Operation]) -> float:
        """The seconds of a phase with these operators."""
        alone = sum(self.timer.seconds(operation) * times for operation, times in operations.items())
        return alone + self.overhead[phase] * operations.total()


@functools.lru_cache(maxsize=8)
def machine(threads: int, device: str = "cpu") -> Machine:
    """Calibrates this machine with `threads` threads, in a second or two; once per process."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _calibrate(torch.device(device))
    finally:
        torch.set_num_threads(before)


def _calibrate(device: torch.device) -> Machine:
    """Trains a small encoder for a few steps; the overhead is its time minus that of its operators alone."""
    timer = OperatorTimer(device)
    torch_state = torch.get_rng_state()
    model = _small_model().to(device)
    ids = torch.zeros(1, _TOKENS, dtype=torch.long, device=device)

    def forward() -> Tensor:
        states: Tensor = model(ids)
        return states.logsumexp(-1).mean()

    losses: list[Tensor] = []

    def evaluate() -> None:
        with torch.no_grad():
            forward().item()

    phases: dict[str, Callable[[], object]] = {
        "forward": lambda: losses.append(forward()),
        "backward": lambda: losses.pop().backward(),  # type: ignore[no-untyped-call]
        "evaluation": evaluate,
    }
    laps: dict[str, list[float]] = {name: [] for name in phases}
    for _ in range(ROUNDS):
        for name, call in phases.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            laps[name].append(time.perf_counter() - start)
    operations = Operations()
    with Ledger(model, observer=operations) as ledger:
        for name, call in phases.items():
            with ledger.phase(name):
                call()
    torch.set_rng_state(torch_state)
    overhead, counted = {}, operations.drain()
    for name, times in laps.items():
        counts = counted[name]
        alone = sum(timer.seconds(operation) * count for operation, count in counts.items())
        overhead[name] = max(0.0, statistics.median(times) - alone) / max(1, counts.total())
    # Clipping and updating are function calls like a forward pass, too few in a small model to be measured.
    return Machine(timer, {**overhead, "optimizer": overhead["evaluation"]})


def _small_model() -> nn.Module:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": _WIDTH, "intermediate_size": 4 * _WIDTH, "num_hidden_layers": _LAYERS}
    config = BertConfig(vocab_size=100, num_attention_heads=2, **sizes)
    return _Pooled(BertModel(config))


class _Pooled(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        pooled: Tensor = self.model(input_ids=ids).pooler_output
        return pooled
