"""Variants timed in turn in one run, so that disturbances of the machine affect all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import torch

    from tunefront.bench.models.examples import EncodedExamples
    from tunefront.bench.models.pretrained import Pretrained
    from tunefront.bench.training.harness import MeasuringHarness
    from tunefront.methods.base import Recipe

LOAD_NOTE = "timed in turn in one run; a busy machine adds noise"


class SideBySide:
    """Seconds of each variant, round by round. `benchmark` is pytest-benchmark's fixture: its item is a whole round."""

    def __init__(self, benchmark: Any, variants: Mapping[str, Callable[[], object]], rounds: int, warmup: int = 1):
        self.seconds: dict[str, list[float]] = {name: [] for name in variants}

        def turn() -> None:
            for name, run in variants.items():
                start = time.perf_counter()
                run()
                self.seconds[name].append(time.perf_counter() - start)

        benchmark.pedantic(turn, rounds=rounds, iterations=1, warmup_rounds=warmup)
        self.seconds = {name: seconds[-rounds:] for name, seconds in self.seconds.items()}

    def median(self, name: str) -> float:
        """Seconds of a round."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """The median over the rounds of one variant's seconds over another's in the same round."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True))


def show(benchmark: Any, title: str, rows: list[dict[str, object]]) -> None:
    """Prints a table and saves it with the figures of the benchmark."""
    table = Table(title=title, caption=LOAD_NOTE)
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=132).print("\n", table)
    benchmark.extra_info["table"] = rows


def minilm() -> Pretrained:
    """MiniLM in its own memory: the pristine backbones of one `Pretrained` share memory."""
    import torch
    from transformers.utils import logging

    from tunefront.bench.models.pretrained import Pretrained

    logging.disable_progress_bar()
    return Pretrained("minilm", torch.device("cpu"))


def trainer(model: torch.nn.Module, recipe: Recipe, name: str, seed: int = 0) -> MeasuringHarness:
    """The harness of a cell, without a cache."""
    from tunefront.bench.training.harness import MeasuringHarness
    from tunefront.bench.training.instruments import Subject

    return MeasuringHarness(Subject(model, recipe, seed, identity=("benchmark", name)))


def random_tokens(columns: Mapping[str, object], rows: int, length: int) -> EncodedExamples:
    """Rows of random tokens of one length, with two classes; `columns` names the inputs of the model."""
    import torch

    from tunefront.bench.models.examples import EncodedExamples

    generator = torch.Generator().manual_seed(0)
    inputs = {
        "input_ids": list(torch.randint(1000, 30000, (rows, length), generator=generator)),
        "attention_mask": list(torch.ones(rows, length, dtype=torch.long)),
        "token_type_ids": list(torch.zeros(rows, length, dtype=torch.long)),
    }
    return EncodedExamples({name: inputs[name] for name in columns}, dict.fromkeys(columns, 0), torch.arange(rows) % 2)
