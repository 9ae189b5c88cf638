"""Rows of many tasks in mixed batches, against one task after another and a model per task."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import Any

import pytest

from tests.benchmarks.serving import BACKBONES, ROWS, TASKS, PeftMixed, largest_difference, serving
from tests.benchmarks.side_by_side import SideBySide, show

PAIRS = [(backbone, method) for backbone, methods in BACKBONES.items() for method in methods]


@pytest.mark.parametrize(("backbone", "method"), PAIRS)
def test_mixed_batches_against_switching_and_a_model_per_task(benchmark: Any, backbone: str, method: str) -> None:
    made = {n_tasks: serving(backbone, method, n_tasks, separate=n_tasks <= 16) for n_tasks in TASKS}
    for each in made.values():
        assert largest_difference(each) < 1e-4
    variants = {
        (n_tasks, way): partial(run, each.arrivals)
        for n_tasks, each in made.items()
        for way, run in each.runs().items()
    }
    timed = SideBySide(benchmark, {f"{n} {way}": run for (n, way), run in variants.items()}, rounds=5)
    rows = []
    for n_tasks in TASKS:
        ways = [way for number, way in variants if number == n_tasks]
        rows.append(
            {
                "tasks": n_tasks,
                **{f"rows/s {way}": ROWS / timed.median(f"{n_tasks} {way}") for way in ways},
                "mixed / switching": timed.ratio(f"{n_tasks} switching", f"{n_tasks} mixed"),
            }
        )
    show(
        benchmark,
        f"{ROWS} rows of {method} on {backbone}",
        [{key: row.get(key, "") for key in rows[0]} for row in rows],
    )
    assert rows[-1]["mixed / switching"] > 1.2  # type: ignore[operator]  # a pass for each row against a few passes


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's, about transformers
@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.parametrize("n_tasks", [8, 64])
def test_mixed_lora_against_that_of_peft(benchmark: Any, n_tasks: int) -> None:
    made = serving("minilm", "lora:rank=8", n_tasks, separate=False)
    theirs, mixed = PeftMixed(made), made.runs()["mixed"]
    timed = SideBySide(benchmark, {"ours": partial(mixed, made.arrivals), "peft": theirs.run}, rounds=7)
    ratio = timed.ratio("ours", "peft")
    show(
        benchmark,
        f"{ROWS} rows of LoRA on {n_tasks} tasks",
        [{"suite": name, "rows/s": ROWS / timed.median(name)} for name in ("ours", "peft")],
    )
    assert ratio < 1.5
