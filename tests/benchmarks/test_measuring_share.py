"""How much of an in-context cell is measuring: CPU seconds outside the clocks, on fake weights and on real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.benchmarks.side_by_side import show

ROWS = 150
MOST_SHARE = 0.2


def test_measuring_is_a_small_part_of_an_in_context_cell(
    benchmark: Any, fetched: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """smollm2 with 32 demonstrations. Encoding the rows counts as neither."""
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
    spent = dict.fromkeys(("clocks", "measuring"), 0.0)
    running = Clock.running

    @contextmanager
    def timed_clock(self: Clock) -> Iterator[None]:
        start = time.process_time()
        with running(self):
            yield
        spent["clocks"] += time.process_time() - start

    def timed(cls: type, name: str) -> None:
        original = getattr(cls, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return original(*args, **kwargs)
            finally:
                spent["measuring"] += time.process_time() - start

        monkeypatch.setattr(cls, name, call)

    monkeypatch.setattr(Clock, "running", timed_clock)
    timed(MemoryMeter, "measure")
    timed(Counting, "rows")
    timed(Prompts, "flops_once")
    method, session = parse("icl:k=32"), Session()
    config = RunConfig(eval_rows=ROWS, threads=1)
    cell = Cell(method, "smollm2", "sentiment/movies", resolve_recipe(method, {}), 32, config=config)
    rows: list[dict[str, object]] = []
    run_cell(replace(cell, config=RunConfig(eval_rows=2, threads=1)), session=session)  # imports, and reads the weights

    def cells() -> None:
        for weights, least in (("fake", fake_weights.LEAST_PARAMETERS), ("real", 10**12)):
            monkeypatch.setattr(fake_weights, "LEAST_PARAMETERS", least)
            monkeypatch.setattr(FlopMeter, "_known", {})
            spent.update(clocks=0.0, measuring=0.0)
            start = time.process_time()
            record, _ = run_cell(cell, session=session)
            assert record.status == "ok", record.reason
            whole = time.process_time() - start
            rows.append({"weights": weights, "CPU seconds": whole, **spent, "share": spent["measuring"] / whole})

    benchmark.pedantic(cells, rounds=1, iterations=1, warmup_rounds=0)
    show(benchmark, f"icl:k=32 on smollm2, {ROWS} rows of sentiment/movies", rows)
    assert float(str(rows[0]["share"])) < MOST_SHARE
