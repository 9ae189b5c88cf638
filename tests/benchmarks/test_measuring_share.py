"""How much of a cell is measuring: CPU seconds outside the clocks, on fake weights and on real ones."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.benchmarks.side_by_side import show

ROWS = 150
MOST_SHARE = 0.1
REAL = 10**12
"""A least number of parameters that no model has, so that all are measured on real weights."""
TRAINED = {"steps": 30, "optimizer": "adafactor", "learning_rate": 1e-2, "batch_size": 8, "clip_norm": 1.0}


class Timers:
    """CPU seconds by kind; what is timed within something else that is timed counts once."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.spent = dict.fromkeys(("clocks", "measuring"), 0.0)
        self._patch, self._depth = patch, 0

    @contextmanager
    def timing(self, kind: str) -> Iterator[None]:
        start, self._depth = time.process_time(), self._depth + 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.spent[kind] += time.process_time() - start

    def measuring(self, owner: type, name: str) -> None:
        """Counts the calls of a method as measuring."""
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.timing("measuring"):
                return original(*args, **kwargs)

        self._patch.setattr(owner, name, call)


def test_measuring_is_a_small_part_of_a_cell(
    benchmark: Any, fetched: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """smollm2 with 32 demonstrations, with none, and trained for 30 steps. Encoding the rows counts as neither."""
    from tunefront.bench.cells import Cell
    from tunefront.bench.execution.run_cell import run_cell
    from tunefront.bench.meters import fake_weights
    from tunefront.bench.meters.flops.counted import FlopMeter
    from tunefront.bench.meters.flops.extrapolate import Counting
    from tunefront.bench.meters.memory.phases import MemoryMeter
    from tunefront.bench.meters.time import Clock
    from tunefront.bench.models.session import Session
    from tunefront.bench.settings import RunConfig, resolve_recipe
    from tunefront.bench.training.demonstrations import Prompts
    from tunefront.methods.spelling import parse

    for name in ("sentiment", "smollm2"):
        fetched(name)
    timers, running = Timers(monkeypatch), Clock.running

    @contextmanager
    def timed_clock(self: Clock) -> Iterator[None]:
        with timers.timing("clocks"), running(self):
            yield

    monkeypatch.setattr(Clock, "running", timed_clock)
    for owner, names in {
        MemoryMeter: ("measure", "batch", "reading", "gradients"),
        Counting: ("rows", "steps", "forward_half"),
        Prompts: ("flops_once", "flops_without_reuse"),
    }.items():
        for name in names:
            timers.measuring(owner, name)
    session = Session()

    def cell(spelled: str, **recipe: Any) -> Cell:
        method = parse(spelled)
        config = RunConfig(eval_rows=ROWS, threads=1)
        return Cell(method, "smollm2", "sentiment/movies", resolve_recipe(method, recipe), 32, config=config)

    def seconds(subject: Cell, least: int) -> dict[str, float]:
        """CPU seconds of a cell without counts of earlier ones."""
        monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", least)
        monkeypatch.setattr(FlopMeter, "_known", {})
        monkeypatch.setattr(Counting, "_forward_halves", {})
        timers.spent.update(clocks=0.0, measuring=0.0)
        start = time.process_time()
        record, _ = run_cell(subject, session=session)
        assert record.status == "ok", record.reason
        return {"CPU seconds": time.process_time() - start, **timers.spent}

    rows: list[dict[str, object]] = []
    default = fake_weights.LEAST_PARAMETERS
    run_cell(replace(cell("icl:k=0"), config=RunConfig(eval_rows=2, threads=1)), session=session)  # reads the weights

    def cells() -> None:
        for title, subject, least, repeats in (
            ("icl:k=32", cell("icl:k=32"), default, 3),
            ("icl:k=32, real weights", cell("icl:k=32"), REAL, 1),
            ("icl:k=0", cell("icl:k=0"), default, 3),
            ("ia3, 30 steps", cell("ia3", **TRAINED), default, 1),
        ):
            runs = [seconds(subject, least) for _ in range(repeats)]
            medians = {kind: statistics.median(run[kind] for run in runs) for kind in runs[0]}
            share = medians["measuring"] / medians["CPU seconds"]
            rows.append({"cell": title, "runs": repeats, **medians, "share": share})

    benchmark.pedantic(cells, rounds=1, iterations=1, warmup_rounds=0)
    show(benchmark, f"cells of smollm2, {ROWS} rows of sentiment/movies; medians", rows)
    assert float(str(rows[0]["share"])) < MOST_SHARE
