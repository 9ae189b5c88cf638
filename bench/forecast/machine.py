"""Seconds predicted: what the operators of a pass take alone, and what Python and autograd take around each."""

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
    """How fast this machine is: `pace` of operators, and `around`, the seconds that each dispatched operator of a phase
    takes beside its own work (modules, autograd, the dispatcher)."""

    pace: OperatorTimer
    around: Mapping[str, float]

    def seconds(self, phase: str, operations: Counter[Operation]) -> float:
        """What a phase with these operators takes."""
        alone = sum(self.pace.seconds(operation) * times for operation, times in operations.items())
        return alone + self.around[phase] * operations.total()


@functools.lru_cache(maxsize=8)
def machine(threads: int, device: str = "cpu") -> Machine:
    """This machine with so many threads, found out in a second or two: once per process."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _calibrated(torch.device(device))
    finally:
        torch.set_num_threads(before)


def _calibrated(device: torch.device) -> Machine:
    """Trains a small encoder for a few steps; what its operators do not take alone is around them."""
    pace = OperatorTimer(device)
    torch_state = torch.get_rng_state()
    model = _small_model().to(device)
    ids = torch.zeros(1, _TOKENS, dtype=torch.long, device=device)

    def forward() -> Tensor:
        found: Tensor = model(ids)
        return found.logsumexp(-1).mean()

    held: list[Tensor] = []

    def evaluate() -> None:
        with torch.no_grad():
            forward().item()

    phases: dict[str, Callable[[], object]] = {
        "forward": lambda: held.append(forward()),
        "backward": lambda: held.pop().backward(),  # type: ignore[no-untyped-call]
        "evaluation": evaluate,
    }
    spent: dict[str, list[float]] = {name: [] for name in phases}
    for _ in range(ROUNDS):
        for name, call in phases.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            spent[name].append(time.perf_counter() - start)
    operations = Operations()
    with Ledger(model, observer=operations) as ledger:
        for name, call in phases.items():
            with ledger.phase(name):
                call()
    torch.set_rng_state(torch_state)
    around, counted = {}, operations.taken()
    for name, times in spent.items():
        found = counted[name]
        alone = sum(pace.seconds(operation) * count for operation, count in found.items())
        around[name] = max(0.0, statistics.median(times) - alone) / max(1, found.total())
    # Clipping and updating are calls of functions, as a forward pass is; few, so that a small model tells nothing.
    return Machine(pace, {**around, "optimizer": around["evaluation"]})


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
